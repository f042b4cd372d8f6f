package qemu

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/tuning"
)

// accelerator is what executes the guest's instructions.
type accelerator string

// The accelerators, by QEMU's names.
const (
	kvm accelerator = "kvm"
	hvf accelerator = "hvf"
	tcg accelerator = "tcg" // software emulation
)

// tuning is what a guest that it executes is given.
func (a accelerator) tuning() tuning.Plan {
	if a == tcg {
		return tuning.Emulation()
	}
	return tuning.Hardware()
}

// listens makes QEMU wait for connections on the socket named before it, while the guest runs.
const listens = ",server=on,wait=off"

// args returns the arguments of the QEMU process that is the machine (QEMU documentation, "Invocation"). layers are the
// files of its disk, the topmost last. Its memory is the first file that it inherits.
func args(spec machine.Spec, accel accelerator, layers []string) []string {
	f := filesOf(spec)
	list := []string{
		"-name", guestName + escape(spec.Cluster+" "+spec.Name), // Machines finds it by this
		"-pidfile", f.pid(),
		"-qmp", "unix:" + escape(f.monitor()) + listens,
		"-chardev", "file,id=console,append=on,path=" + escape(f.console()),
		"-serial", "chardev:console",
	}
	if own := emulator(spec.Image, accel); own != "" {
		list = append(list, "-L", filepath.Dir(own)) // its firmware
	}
	list = append(list, board(accel, memoryOption)...)
	list = append(list, memoryArgs(spec.MemoryMiB)...)
	list = append(list,
		// Its clock follows the host's, so that a guest that slept can read there what time it is.
		"-rtc", "base=utc,clock=host",
		// QEMU starts no programs and gains no rights, so a guest that breaks out of it finds less.
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-smp", strconv.Itoa(spec.CPUs),
		"-m", strconv.Itoa(spec.MemoryMiB)+"M",
		"-kernel", spec.Image.Kernel,
		"-initrd", spec.Image.Initrd,
		"-append", accel.tuning().Cmdline(spec.Image.Cmdline),
	)
	list = append(list, disks(spec.Image.Disk, f, layers)...)
	return append(list,
		"-netdev", "stream,id=net0,server=off,addr.type=unix,addr.path="+escape(spec.Network.Socket),
		"-device", "virtio-net-pci,netdev=net0,romfile=,mac="+spec.Network.MAC,
		"-device", "virtio-rng-pci",
	)
}

// emulator returns the image's own QEMU if it is to be used, and else nothing: it is made for software emulation alone.
func emulator(image machine.Image, accel accelerator) string {
	if accel == tcg {
		return image.Emulator
	}
	return ""
}

// program returns the QEMU that runs guests of the image with that accelerator.
func (d *Driver) program(image machine.Image, accel accelerator) string {
	return cmp.Or(emulator(image, accel), d.options.QEMU)
}

// options are those of a block device.
type options map[string]any

// disks attaches the machine's disk as /dev/vda and the seed disk as /dev/vdb. What lies below the machine's disk is
// named here, and not read from the disk's file, which the guest could have written to.
func disks(base string, f files, layers []string) []string {
	file := func(path string) options { return options{"driver": "file", "filename": path} }
	list := []string{
		"-blockdev", encode(options{"node-name": "base", "driver": "raw", "read-only": true, "file": file(base)}),
	}
	below := "base"
	for i, layer := range layers {
		opened := layerOptions(f, layer, below)
		opened["read-only"] = i < len(layers)-1 // snapshots stand on the lower ones
		list = append(list, "-blockdev", encode(opened))
		below = nodeName(layer)
	}
	return append(list,
		"-blockdev", encode(options{"node-name": "seed", "driver": "raw", "read-only": true, "file": file(f.seed())}),
		"-device", "virtio-blk-pci,drive="+below,
		"-device", "virtio-blk-pci,drive=seed",
	)
}

// layerOptions open one layer of the machine's disk; below is the node under it, nil for one that is put over another
// by a command of its own.
func layerOptions(f files, layer string, below any) options {
	return options{
		"node-name": nodeName(layer), "driver": "qcow2", "discard": "unmap", "backing": below,
		"file": options{"driver": "file", "filename": f.layer(layer), "discard": "unmap"},
	}
}

// board is the part that the probe shares with machines: what the accelerator must cope with. more goes on with the
// options of the machine.
func board(accel accelerator, more string) []string {
	list := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,graphics=off,usb=off,vmport=off" + more,
	}
	if accel == tcg {
		// The cache of translated code (MiB) holds all of Kubernetes, which is otherwise translated again and again.
		// A guest that is told that its processor moves strings quickly byte by byte (ERMS) does so, and QEMU takes a turn for
		// each byte; without, it moves words.
		return append(list, "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,-erms,-fsrm")
	}
	return append(list, "-accel", string(accel), "-cpu", "host")
}

// probeArgs boot the image's kernel with nothing but memory and a console on the standard output. The initrd answers to
// skiff.probe=1 by printing probeMarker and powering off, before it looks for a disk.
func probeArgs(image machine.Image, accel accelerator) []string {
	return append(board(accel, ""),
		"-chardev", "stdio,id=console,signal=off",
		"-serial", "chardev:console",
		"-no-reboot",
		"-smp", "2", // a second processor is started in another way than the first
		"-m", "512M",
		"-kernel", image.Kernel,
		"-initrd", image.Initrd,
		"-append", accel.tuning().Cmdline(image.Cmdline)+" skiff.probe=1",
	)
}

// escape keeps commas in a value of QEMU's key=value lists.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// encode cannot fail on maps of strings and truth values.
func encode(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}
