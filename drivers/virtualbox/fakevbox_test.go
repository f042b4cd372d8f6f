package virtualbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/machine"
)

// behaviour is how the test binary behaves when it plays VBoxManage.
type behaviour string

const (
	works  behaviour = "works"
	deaf   behaviour = "deaf"   // guests do not react to the power button
	broken behaviour = "broken" // warns of missing kernel modules and starts nothing
	guru   behaviour = "guru"   // guests crash VirtualBox as they start
	paused behaviour = "paused" // guests pause as they start
	slow   behaviour = "slow"   // each command takes some milliseconds
)

const played = "play-vboxmanage-"

// playing returns the path of a program that behaves so. What it makes is listed in its folder.
func playing(t *testing.T, how behaviour) string {
	t.Helper()
	return playingIn(t, t.TempDir(), how)
}

// playingIn is playing with the folder dir, in which the program may be already.
func playingIn(t *testing.T, dir string, how behaviour) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, played+string(how))
	if err := os.Link(self, path); err == nil || errors.Is(err, fs.ErrExist) {
		return path
	}
	binary, err := os.ReadFile(self) // another file system
	if err == nil {
		err = os.WriteFile(path, binary, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	if self, err := os.Executable(); err == nil {
		if how, ok := strings.CutPrefix(filepath.Base(self), played); ok {
			if err := play(filepath.Dir(self), behaviour(how), os.Args[1:], os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, "VBoxManage: error:", err)
				os.Exit(1) //nolint:forbidigo // in TestMain, as VBoxManage
			}
			os.Exit(0) //nolint:forbidigo // in TestMain, as VBoxManage
		}
	}
	m.Run()
}

// box is a machine as the stand-in keeps it.
type box struct {
	Name, UUID, State, Folder string
	Notes                     map[string]string
	Media                     []string // disks, in order
	CPUs, MemoryMiB           int
}

// play is the main function of a stand-in for VBoxManage.
func play(dir string, how behaviour, args []string, out io.Writer) error {
	lock := flock.New(filepath.Join(dir, "lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	if how == slow {
		time.Sleep(5 * time.Millisecond)
	}
	boxes, err := known(dir)
	if err != nil {
		return err
	}
	boxes, err = carryOut(boxes, how, args, out)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(boxes)
	if err != nil {
		return err
	}
	return renameio.WriteFile(list(dir), raw, 0o600) // whole, also when the process is killed: a caller that gives up kills it
}

func list(dir string) string { return filepath.Join(dir, "machines.json") }

// known returns the machines that the stand-in in a folder has.
func known(dir string) ([]*box, error) {
	boxes := []*box{}
	raw, err := os.ReadFile(list(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return boxes, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &boxes)
	}
	return boxes, err
}

// carryOut does one command to the list of machines.
func carryOut(boxes []*box, how behaviour, args []string, out io.Writer) ([]*box, error) {
	switch args[0] {
	case "--version":
		if how == broken {
			fmt.Fprintln(out, "WARNING: The character device /dev/vboxdrv does not exist.")
			return boxes, nil
		}
		_, err := fmt.Fprintln(out, "7.0.20_Debianr163906")
		return boxes, err
	case "list":
		for _, one := range boxes {
			fmt.Fprintf(out, "%q {%s}\n", one.Name, one.UUID)
		}
		return boxes, nil
	case "convertfromraw":
		content, err := os.ReadFile(args[1])
		if err == nil {
			err = os.WriteFile(args[2], content, 0o600)
		}
		return boxes, err
	case "modifymedium":
		_, err := os.Stat(args[2])
		return boxes, err
	case "createvm":
		return create(boxes, args, out)
	}
	at := slices.IndexFunc(boxes, func(one *box) bool { return one.Name == args[1] || one.UUID == args[1] })
	if at < 0 {
		return boxes, fmt.Errorf("Could not find a registered machine named '%s'\nVBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap", args[1])
	}
	one := boxes[at]
	switch args[0] {
	case "unregistervm":
		if one.State == "running" || one.State == "paused" {
			return boxes, errors.New("Cannot unregister the machine while it is locked")
		}
		for _, path := range append(one.Media, one.Folder) {
			if err := os.RemoveAll(path); err != nil {
				return boxes, err
			}
		}
		return slices.Delete(boxes, at, at+1), nil
	default:
		return boxes, one.do(how, args, out)
	}
}

func create(boxes []*box, args []string, out io.Writer) ([]*box, error) {
	one := &box{Name: value(args, "--name"), State: "poweroff", Notes: map[string]string{}}
	one.UUID = fmt.Sprintf("%08x-0000-4000-8000-%012x", len(boxes), time.Now().UnixNano()&0xffffffffffff)
	one.Folder = filepath.Join(value(args, "--basefolder"), one.Name)
	if slices.ContainsFunc(boxes, func(other *box) bool { return other.Name == one.Name }) {
		return boxes, fmt.Errorf("Machine with name '%s' already exists", one.Name)
	}
	if err := os.MkdirAll(filepath.Join(one.Folder, "Logs"), 0o700); err != nil {
		return boxes, err
	}
	if err := os.WriteFile(one.settings(), nil, 0o600); err != nil {
		return boxes, err
	}
	fmt.Fprintf(out, "Virtual machine '%s' is created and registered.\nUUID: %s\n", one.Name, one.UUID)
	return append(boxes, one), nil
}

func (b *box) settings() string { return filepath.Join(b.Folder, b.Name+".vbox") }

// value returns what follows an option.
func value(args []string, option string) string {
	if at := slices.Index(args, option); at >= 0 && at+1 < len(args) {
		return args[at+1]
	}
	return ""
}

// do does one command to a machine.
func (b *box) do(how behaviour, args []string, out io.Writer) error {
	switch args[0] {
	case "showvminfo":
		fmt.Fprintf(out, "name=%q\nostype=\"Debian (64-bit)\"\nUUID=%q\nCfgFile=%q\nmemory=%d\ncpus=%d\nVMState=%q\nVMStateChangeTime=\"2026-11-24T12:00:00.000000000\"\n", b.Name, b.UUID, b.settings(), b.MemoryMiB, b.CPUs, b.State)
	case "getextradata":
		for key, text := range b.Notes {
			fmt.Fprintf(out, "Key: %s, Value: %s\n", key, text)
		}
	case "setextradata":
		b.Notes[args[2]] = args[3]
	case "storageattach":
		if _, err := os.Stat(value(args, "--medium")); err != nil {
			return err
		}
		if value(args, "--type") == "hdd" {
			b.Media = append(b.Media, value(args, "--medium"))
		}
	case "modifyvm":
		return b.resize(args)
	case "storagectl":
	case "startvm":
		if b.State == "running" {
			return fmt.Errorf("The machine '%s' is already locked by a session", b.Name)
		}
		if len(b.Media) == 0 {
			return errors.New("No bootable medium found")
		}
		if err := drivertest.Boot(b.Media[0]); err != nil {
			return err
		}
		b.State = map[behaviour]string{guru: "gurumeditation", paused: "paused"}[how]
		if b.State == "" {
			b.State = "running"
		}
		if how == broken {
			b.State = "poweroff"
			return errors.New("The virtual machine has terminated unexpectedly during startup")
		}
	case "controlvm":
		return b.control(how, args[2])
	default:
		return fmt.Errorf("Invalid command '%s'.", args[0])
	}
	return nil
}

func (b *box) resize(args []string) error {
	for option, size := range map[string]*int{"--cpus": &b.CPUs, "--memory": &b.MemoryMiB} {
		text := value(args, option)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		*size = n
	}
	return nil
}

// guest returns a played guest that is what the machine was made to be, with files on the machine's disk. There is none
// while the machine does not run.
func (b *box) guest(below string, spec machine.Spec) (machine.Runner, error) {
	if b.State != "running" {
		return nil, errors.New("connection refused")
	}
	spec.CPUs, spec.MemoryMiB = b.CPUs, b.MemoryMiB
	return drivertest.Booted(below, b.Media[0], spec)
}

func (b *box) control(how behaviour, verb string) error {
	switch {
	case b.State == "poweroff" || b.State == "aborted":
		return fmt.Errorf("Machine '%s' is not currently running.", b.Name)
	case verb == "acpipowerbutton" && b.State != "running":
		return errors.New("Invalid machine state")
	case verb == "acpipowerbutton" && how == deaf:
	case verb == "acpipowerbutton", verb == "poweroff":
		b.State = "poweroff"
	case verb == "resume":
		b.State = "running"
	case verb == "test-abort": // what the end of the machine's process does
		b.State = "aborted"
	default:
		return fmt.Errorf("Invalid parameter '%s'", verb)
	}
	return nil
}
