package virtualbox

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strconv"

	"github.com/skiff-k8s/skiff/machine"
)

// The commands of this file are VBoxManage's as its manual has them (Oracle VirtualBox User Guide, "VBoxManage", one page for
// each command). They are argument vectors without the program.

// Keys of the notes by which skiff finds its machines again ("setextradata"); VirtualBox keeps them with the machine.
const (
	keyCluster = "skiff/cluster"
	keyName    = "skiff/name"
	keyDir     = "skiff/dir"
)

const controller = "disks"

// nameOf is the machine's name in VirtualBox. All machines of a user are in one list, so it holds a mark of the folder:
// two SKIFF_HOMEs may have a cluster of the same name.
func nameOf(spec machine.Spec) string {
	sum := sha256.Sum256([]byte(spec.Dir))
	return "skiff-" + spec.Cluster + "-" + spec.Name + "-" + hex.EncodeToString(sum[:4])
}

// files names the files of one machine. Its settings and logs are VirtualBox's own, in a folder below dir.
type files struct{ dir string }

func (f files) disk() string    { return filepath.Join(f.dir, "disk.vdi") }
func (f files) seed() string    { return filepath.Join(f.dir, "seed.iso") }
func (f files) console() string { return filepath.Join(f.dir, "console.log") }

// creation are the commands that make a machine of spec, in order. The image's disk is copied into VirtualBox's own
// format, which grows as it is written to.
func creation(spec machine.Spec) [][]string {
	name, f := nameOf(spec), files{spec.Dir}
	commands := [][]string{
		{"convertfromraw", spec.Image.Disk, f.disk(), "--format", "VDI"},
		{"modifymedium", "disk", f.disk(), "--resizebyte", strconv.FormatInt(spec.DiskBytes, 10)},
		{"createvm", "--name", name, "--ostype", "Debian_64", "--basefolder", spec.Dir, "--register"},
	}
	for _, note := range [][2]string{{keyCluster, spec.Cluster}, {keyName, spec.Name}, {keyDir, spec.Dir}} {
		commands = append(commands, []string{"setextradata", name, note[0], note[1]})
	}
	return append(commands,
		[]string{
			"modifyvm", name,
			"--cpus", strconv.Itoa(spec.CPUs), "--memory", strconv.Itoa(spec.MemoryMiB),
			"--ioapic", "on", "--rtcuseutc", "on", "--graphicscontroller", "none", "--audio-driver", "none", "--usb-ohci", "off",
			"--boot1", "disk", "--boot2", "none", "--boot3", "none", "--boot4", "none",
			"--uart1", "0x3F8", "4", "--uart-mode1", "file", f.console(),
			// A card that is plugged into nothing: VirtualBox cannot join the agent's network, see Check.
			"--nic1", "null", "--nictype1", "virtio", "--macaddress1", plainMAC(spec.Network.MAC),
		},
		[]string{"storagectl", name, "--name", controller, "--add", "virtio-scsi", "--portcount", "2", "--bootable", "on"},
		[]string{"storageattach", name, "--storagectl", controller, "--port", "0", "--device", "0", "--type", "hdd", "--medium", f.disk()},
		[]string{"storageattach", name, "--storagectl", controller, "--port", "1", "--device", "0", "--type", "dvddrive", "--medium", f.seed()},
	)
}

// plainMAC is a hardware address as VirtualBox takes it: digits alone.
func plainMAC(mac string) string {
	var plain []byte
	for _, c := range []byte(mac) {
		if c != ':' && c != '-' {
			plain = append(plain, c)
		}
	}
	return string(plain)
}

func info(name string) []string   { return []string{"showvminfo", name, "--machinereadable"} }
func boot(name string) []string   { return []string{"startvm", name, "--type", "headless"} }
func notes(name string) []string  { return []string{"getextradata", name, "enumerate"} }
func remove(name string) []string { return []string{"unregistervm", name, "--delete"} }

func control(name, verb string) []string { return []string{"controlvm", name, verb} }
