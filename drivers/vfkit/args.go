package vfkit

import (
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/tuning"
)

// marker begins the name under which the process of a machine runs, before "/CLUSTER/NAME": vfkit has no option for a name
// of the machine, and what a program is called in its argument 0 is up to whoever starts it.
const marker = "skiff-vfkit"

// title is argument 0 of the machine's process.
func title(spec machine.Spec) string { return marker + "/" + spec.Cluster + "/" + spec.Name }

// args returns the arguments of the vfkit process that is the machine (vfkit, doc/usage.md). The values of a device are
// separated by commas, and vfkit has no way to quote one; paths of skiff's have none unless the user's home folder has.
func args(spec machine.Spec) []string {
	f := filesOf(spec)
	cmdline := tuning.Hardware().Cmdline(spec.Image.Cmdline) // vfkit emulates nothing
	return []string{
		"--cpus", strconv.Itoa(spec.CPUs),
		"--memory", strconv.Itoa(spec.MemoryMiB),
		// The command line is in quotes of its own: vfkit takes them off.
		"--bootloader", "linux,kernel=" + spec.Image.Kernel + ",initrd=" + spec.Image.Initrd + `,cmdline="` + cmdline + `"`,
		"--device", "virtio-blk,path=" + f.disk(),
		"--device", "virtio-blk,path=" + f.seed(),
		"--device", "virtio-net,unixSocketPath=" + spec.Network.Socket + ",mac=" + spec.Network.MAC,
		"--device", "virtio-serial,logFilePath=" + f.console(),
		"--device", "virtio-rng",
		"--restful-uri", "unix://" + f.api(),
	}
}

// unquotable reports which of a machine's paths vfkit's command line cannot carry; empty for none.
func unquotable(spec machine.Spec) string {
	f := filesOf(spec)
	for _, path := range []string{spec.Image.Kernel, spec.Image.Initrd, f.disk(), f.seed(), f.console(), spec.Network.Socket} {
		if strings.ContainsAny(path, `,"`) {
			return path
		}
	}
	return ""
}

// specOf reads from the arguments of a process which machine it is; only names and folders are filled in. Other programs
// give false.
func specOf(words []string) (machine.Spec, bool) {
	if len(words) == 0 {
		return machine.Spec{}, false
	}
	name, ours := strings.CutPrefix(words[0], marker+"/")
	cluster, node, two := strings.Cut(name, "/")
	if !ours || !two || cluster == "" || node == "" || strings.Contains(node, "/") {
		return machine.Spec{}, false
	}
	spec := machine.Spec{Cluster: cluster, Name: node}
	// Not every system tells words from blanks within them, so the options are looked for in the whole.
	line := " " + strings.Join(words[1:], " ") + " "
	disk, found := between(line, " --device virtio-blk,path=", "/"+diskName+" ")
	api, answers := between(line, " --restful-uri unix://", "/"+apiName+" ")
	spec.Dir, spec.RunDir = disk, api
	return spec, found && answers
}

// between returns what lies between two words.
func between(text, before, after string) (string, bool) {
	_, rest, found := strings.Cut(text, before)
	middle, _, ends := strings.Cut(rest, after)
	return middle, found && ends
}
