package virtualbox

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

func testSpec(t *testing.T) machine.Spec {
	t.Helper()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(image, []byte("a disk"), 0o400); err != nil {
		t.Fatal(err)
	}
	return machine.Spec{
		Cluster: "dev", Name: "skiff", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30, Dir: t.TempDir(), RunDir: t.TempDir(),
		Image: machine.Image{Disk: image, Cmdline: "root=/dev/sda"},
		Network: machine.Network{
			MAC:     "5a:94:ef:e4:0c:ee",
			Address: netip.MustParsePrefix("192.168.127.2/24"), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
		Identity: identity.Machine(),
		SSH:      machine.SSH{User: "root", PrivateKey: identity.UserKey, HostKey: identity.HostPublicKey},
	}
}

// newDriver returns a driver of that VBoxManage, whose guests are fakes that keep their files in guest.
func newDriver(program, guest string) *Driver {
	return New(Options{
		VBoxManage: program, StopTimeout: 10 * time.Second,
		Runner: func(machine.SSH) machine.Runner {
			return fake.NewRunner(guest, fake.Responses{
				{Prefix: []string{"sh", "-c", "exit 3"}, ExitCode: 3},
				{Prefix: []string{"sleep"}, Hang: true},
			})
		},
	})
}

// registryVariable hands the folder of VirtualBox on to the process that the suite starts.
const registryVariable = "SKIFF_TEST_VIRTUALBOX"

func TestConformance(t *testing.T) {
	if os.Getenv(registryVariable) == "" {
		t.Setenv(registryVariable, t.TempDir())
	}
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		spec, guest, registry := testSpec(t), t.TempDir(), os.Getenv(registryVariable)
		d := newDriver(playingIn(t, registry, works), guest)
		d.options.Runner = func(machine.SSH) machine.Runner {
			return drivertest.Reached(func() (machine.Runner, error) {
				boxes, err := known(registry)
				at := slices.IndexFunc(boxes, func(one *box) bool { return one.Notes[keyDir] == spec.Dir })
				if err != nil || at < 0 {
					return nil, errors.Join(errors.New("no route to host"), err)
				}
				return boxes[at].guest(guest, spec)
			})
		}
		return drivertest.Target{
			Driver: d,
			Spec:   spec,
			Fresh:  func() drivers.Driver { return New(d.options) },
			Crash: func(ctx context.Context, m machine.Machine) error {
				vm := m.(*Machine)
				_, err := vm.driver.manage(ctx, control(vm.name, "test-abort"))
				return err
			},
		}
	})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", Dir: "/state/clusters/dev/nodes/skiff", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30,
		Image:   machine.Image{Disk: "/base/disk.raw"},
		Network: machine.Network{MAC: "5a:94:ef:e4:0c:ee"},
	}
	name := nameOf(spec)
	commands := append(creation(spec), boot(name), control(name, "acpipowerbutton"), control(name, "poweroff"), control(name, "resume"),
		info(name), notes(name), remove(name))
	var text strings.Builder
	for _, command := range commands {
		text.WriteString(machine.Cmd{Args: append([]string{"VBoxManage"}, command...)}.String() + "\n")
	}
	golden.Compare(t, "testdata/commands.golden", []byte(text.String()))
	other := spec
	other.Dir = "/other" + spec.Dir
	if nameOf(other) == name {
		t.Errorf("two folders have the machine %s, want two names", name)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	out := "name=\"skiff-dev\"\r\nVMState=\"paused\"\ncpus=2\n\"GUI/Odd\"=\"a\\\\b\"\nwhat\n"
	want := map[string]string{"name": "skiff-dev", "VMState": "paused", "cpus": "2", "GUI/Odd": `a\b`}
	if diff := cmp.Diff(want, parseInfo([]byte(out))); diff != "" {
		t.Errorf("parseInfo (-want +got):\n%s", diff)
	}
	out = "\"skiff-dev-skiff-0a0b\" {0d2a3e1c-1111-4222-8333-944455556666}\n\"mine\" {0d2a3e1c-1111-4222-8333-944455556667}\n<inaccessible> {x}\n"
	want = map[string]string{"skiff-dev-skiff-0a0b": "0d2a3e1c-1111-4222-8333-944455556666"}
	if diff := cmp.Diff(want, parseList([]byte(out))); diff != "" {
		t.Errorf("parseList (-want +got):\n%s", diff)
	}
	out = "Key: skiff/dir, Value: /a, Value: b\nKey: GUI/X, Value: \nNo value set!\n"
	want = map[string]string{"skiff/dir": "/a, Value: b", "GUI/X": ""}
	if diff := cmp.Diff(want, parseNotes([]byte(out))); diff != "" {
		t.Errorf("parseNotes (-want +got):\n%s", diff)
	}
	for state, want := range map[string]machine.State{
		"running": machine.Running, "paused": machine.Paused, "poweroff": machine.Stopped, "aborted": machine.Stopped,
		"saved": machine.Stopped, "gurumeditation": machine.Broken, "": machine.Broken,
	} {
		if got, err := parseState(state); got != want || (err == nil) != (want != machine.Broken) {
			t.Errorf("parseState(%q): got %s and error %v, want %s", state, got, err, want)
		}
	}
}

// TestStop: a guest that does not listen is ended all the same.
func TestStop(t *testing.T) {
	t.Parallel()
	for how, want := range map[behaviour]machine.State{works: machine.Running, slow: machine.Running, deaf: machine.Running, paused: machine.Paused, guru: machine.Broken} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(playing(t, how), t.TempDir())
			d.options.StopTimeout = 300 * time.Millisecond
			m, err := d.Create(t.Context(), testSpec(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if state, err := m.State(t.Context()); state != want || (err == nil) != (want != machine.Broken) {
				t.Errorf("got state %s (%v), want %s", state, err, want)
			}
			if how == paused {
				if err := m.Start(t.Context()); err != nil {
					t.Errorf("Start of a paused machine: %v", err)
				}
			}
			if err := m.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if state, err := m.State(t.Context()); state != machine.Stopped || err != nil {
				t.Errorf("after Stop: got state %s (%v), want %s", state, err, machine.Stopped)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	m, err := newDriver(playing(t, broken), t.TempDir()).Create(t.Context(), testSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	const want = "The virtual machine has terminated unexpectedly during startup"
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Start: got error %v, want one with %q", err, want)
	}
}

// TestMachines: machines of others are not taken for skiff's, whatever their names; one whose folder is gone is found and
// removed.
func TestMachines(t *testing.T) {
	t.Parallel()
	d, spec := newDriver(playing(t, works), t.TempDir()), testSpec(t)
	if _, err := d.manage(t.Context(), []string{"createvm", "--name", "skiff-of-others", "--basefolder", t.TempDir(), "--register"}); err != nil {
		t.Fatal(err)
	}
	m, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(spec.Dir); err != nil {
		t.Fatal(err)
	}
	want := []drivers.Found{{Cluster: "dev", Name: "skiff", Dir: spec.Dir, State: machine.Stopped}}
	found, err := d.Machines(t.Context())
	if diff := cmp.Diff(want, found); diff != "" || err != nil {
		t.Errorf("Machines: error %v (-want +got):\n%s", err, diff)
	}
	if err := m.Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if found, err := d.Machines(t.Context()); len(found) > 0 || err != nil {
		t.Errorf("Machines after Delete: got %+v (%v), want none", found, err)
	}
}

// TestForeignMachine: a machine of exactly the name that is somebody else's is never touched.
func TestForeignMachine(t *testing.T) {
	t.Parallel()
	for what, marks := range map[string]map[string]string{
		"without notes":                 {},
		"with other notes":              {"GUI/LastCloseAction": "PowerOff"},
		"with the notes of another one": {keyCluster: "other", keyName: "skiff", keyDir: "/other"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir, spec := t.TempDir(), testSpec(t)
			d := newDriver(playingIn(t, dir, works), t.TempDir())
			name, theirs := nameOf(spec), t.TempDir()
			disk := filepath.Join(theirs, "their.vdi")
			if err := os.WriteFile(disk, []byte("their data"), 0o600); err != nil {
				t.Fatal(err)
			}
			commands := [][]string{
				{"createvm", "--name", name, "--basefolder", theirs, "--register"},
				{"storageattach", name, "--type", "hdd", "--medium", disk},
				boot(name),
			}
			for key, text := range marks {
				commands = append(commands, []string{"setextradata", name, key, text})
			}
			carriedOut(t, d, commands)
			before, err := known(dir)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(disk)
			if err != nil {
				t.Fatal(err)
			}

			m := d.Machine(spec)
			wantState(t, m, machine.Absent, "")
			_, err = d.Create(t.Context(), spec)
			wantForeign(t, "Create", err)
			wantForeign(t, "Start", m.Start(t.Context()))
			wantForeign(t, "Stop", m.Stop(t.Context()))
			if err := m.Delete(t.Context()); err != nil { // of the machine there is nothing
				t.Errorf("Delete: %v", err)
			}
			// Where the machine has a disk, somebody may have taken the notes away, and the other may use the disk.
			ours := files{spec.Dir}.disk()
			if err := os.WriteFile(ours, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			wantState(t, m, machine.Broken, fail.DomainForeign)
			wantForeign(t, "Delete", m.Delete(t.Context()))
			if err := os.Remove(ours); err != nil {
				t.Errorf("the machine's disk is gone: %v", err)
			}

			after, err := known(dir)
			if diff := cmp.Diff(before, after); diff != "" || err != nil {
				t.Errorf("VirtualBox's machines: error %v (-before +after):\n%s", err, diff)
			}
			if content, err := os.ReadFile(disk); err != nil || !bytes.Equal(content, data) {
				t.Errorf("the foreign machine's disk holds %q (%v), want it as it was", content, err)
			}
		})
	}
}

// TestCutOff: what a process that was killed while it made the machine has left is made anew or removed, although it was not
// noted yet whose it is.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for _, registered := range []int{3, 4, 5} { // convertfromraw, modifymedium, createvm, and some of the notes
		dir, spec := t.TempDir(), testSpec(t)
		d := newDriver(playingIn(t, dir, works), t.TempDir())
		m := d.Machine(spec)
		carriedOut(t, d, creation(spec)[:registered])
		wantState(t, m, machine.Absent, "")
		if err := m.Stop(t.Context()); err != nil {
			t.Errorf("Stop after %d commands: %v", registered, err)
		}
		if err := m.Start(t.Context()); !errors.Is(err, errUnfinished) {
			t.Errorf("Start after %d commands: got error %v, want %v", registered, err, errUnfinished)
		}
		if _, err := d.Create(t.Context(), spec); err != nil {
			t.Errorf("Create after %d commands: %v", registered, err)
		}
		wantState(t, m, machine.Stopped, "")
		if all, err := known(dir); err != nil || len(all) != 1 || len(all[0].Media) != 1 {
			t.Errorf("after %d commands and Create: got %+v (%v), want one machine with a disk", registered, all, err)
		}
		if err := m.Delete(t.Context()); err != nil {
			t.Errorf("Delete: %v", err)
		}
		carriedOut(t, d, creation(spec)[:registered])
		if err := m.Delete(t.Context()); err != nil {
			t.Errorf("Delete after %d commands: %v", registered, err)
		}
		left, err := os.ReadDir(spec.Dir)
		if all, knownErr := known(dir); err != nil || knownErr != nil || len(all)+len(left) > 0 {
			t.Errorf("after %d commands and Delete: got %+v and files %v (%v), want none", registered, all, left, errors.Join(err, knownErr))
		}
	}
}

func carriedOut(t *testing.T, d *Driver, commands [][]string) {
	t.Helper()
	for _, command := range commands {
		if _, err := d.manage(t.Context(), command); err != nil {
			t.Fatalf("%q: %v", command, err)
		}
	}
}

func wantState(t *testing.T, m machine.Machine, want machine.State, id fail.ID) {
	t.Helper()
	if got, err := m.State(t.Context()); got != want || (err != nil) != (id != "") || err != nil && !fail.Is(err, id) {
		t.Errorf("got state %s (%v), want %s and ID %q", got, err, want, id)
	}
}

func wantForeign(t *testing.T, what string, err error) {
	t.Helper()
	var failed *fail.Error
	if !errors.As(err, &failed) || failed.ID != fail.DomainForeign || failed.Err == nil || failed.Next == "" {
		t.Errorf("%s: got error %v, want %s with a cause and a next command", what, err, fail.DomainForeign)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ program, want string }{
		"there":      {playing(t, works), "pass"},
		"no modules": {playing(t, broken), "fail"},
		"not there":  {"/none/VBoxManage", "fail missing"},
	} {
		findings := newDriver(test.program, t.TempDir()).Check(t.Context())
		if len(findings) != 4 || findings[2].Level != drivers.Failure || findings[3].Level != drivers.Failure {
			t.Fatalf("%s: got %+v, want it to say what skiff lacks", name, findings)
		}
		if first := findings[0]; first.Level != drivers.Failure || !strings.Contains(first.Text, "has not been run on real hardware") {
			t.Errorf("%s: got %+v, want it to say first that the driver makes no clusters", name, first)
		}
		got := string(findings[1].Level)
		if findings[1].Missing {
			got += " missing"
		}
		if got != test.want || findings[1].Text == "" {
			t.Errorf("%s: got %+v, want %s", name, findings[1], test.want)
		}
		for _, one := range findings {
			if one.Level == drivers.Failure && one.Remedy != "skiff start --driver qemu" {
				t.Errorf("%s: got %+v, want the command that takes another driver", name, one)
			}
		}
	}
}
