package vfkit

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// testSpec describes a machine whose image is a few small files.
func testSpec(t *testing.T) machine.Spec {
	t.Helper()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", CPUs: 2, MemoryMiB: 2048, DiskBytes: 8 << 20,
		Dir: t.TempDir(), RunDir: shortDir(t),
		Image: machine.Image{Cmdline: "console=hvc0 root=/dev/vda"},
		Network: machine.Network{
			MAC:     "5a:94:ef:e4:0c:ee",
			Address: netip.MustParsePrefix("192.168.127.2/24"), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
		Identity: identity.Machine(),
		SSH:      machine.SSH{User: "root", PrivateKey: identity.UserKey, HostKey: identity.HostPublicKey},
	}
	spec.Network.Socket = filepath.Join(spec.RunDir, "net.sock")
	base := t.TempDir()
	for name, path := range map[string]*string{"disk.raw": &spec.Image.Disk, "vmlinuz": &spec.Image.Kernel, "initrd": &spec.Image.Initrd} {
		*path = filepath.Join(base, name)
		if err := os.WriteFile(*path, []byte(name), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

// shortDir is for sockets, whose paths are limited to 107 bytes; t.TempDir's hold the test's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "skiff-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newDriver returns a driver whose vfkit behaves so, and whose guests are fakes that keep their files in guest.
func newDriver(t *testing.T, how behaviour, guest string) *Driver {
	t.Helper()
	d := New(Options{
		Vfkit: playing(t, how), StopTimeout: 10 * time.Second,
		Runner: func(machine.SSH) machine.Runner {
			return fake.NewRunner(guest, fake.Responses{
				{Prefix: []string{"sh", "-c", "exit 3"}, ExitCode: 3},
				{Prefix: []string{"sleep"}, Hang: true},
			})
		},
	})
	// One that will not answer is not waited for long; any other has the time that a busy host needs.
	d.limits = limits{start: time.Minute, answer: 5 * time.Second, end: time.Second}
	if how == mute {
		d.limits.answer = time.Second
	}
	return d
}

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		spec, guest := testSpec(t), t.TempDir()
		d := newDriver(t, works, guest)
		d.options.Runner = func(machine.SSH) machine.Runner {
			return drivertest.Reached(func() (machine.Runner, error) { return guestOf(filesOf(spec), guest, spec) })
		}
		fresh := New(d.options)
		fresh.limits = d.limits
		return drivertest.Target{
			Driver: d,
			Spec:   spec,
			Fresh:  func() drivers.Driver { return fresh },
			Crash: func(ctx context.Context, m machine.Machine) error {
				vm := m.(*Machine)
				l, err := vm.files.look()
				if err != nil || !l.lives {
					t.Fatalf("there is no process: %+v, %v", l, err)
				}
				if err := syscall.Kill(l.pid, syscall.SIGKILL); err != nil {
					return err
				}
				_, err = vm.waitFor(ctx, time.Minute)
				return err
			},
		}
	})
}

func TestArgs(t *testing.T) {
	t.Parallel()
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", Dir: "/state/clusters/dev/nodes/skiff", RunDir: "/run/dev/skiff", CPUs: 2, MemoryMiB: 2048,
		Image:   machine.Image{Kernel: "/base/vmlinuz", Initrd: "/base/initrd", Cmdline: "console=hvc0 root=/dev/vda tsc=reliable ro"}, // of an older image,
		Network: machine.Network{Socket: "/run/dev/net.sock", MAC: "5a:94:ef:e4:0c:ee"},
	}
	golden.Compare(t, "testdata/args.golden", []byte(title(spec)+"\n"+strings.Join(args(spec), "\n")+"\n"))
	if got := unquotable(spec); got != "" {
		t.Errorf("unquotable: got %q, want none", got)
	}
	spec.Image.Initrd = "/base/a,b"
	if got := unquotable(spec); got != spec.Image.Initrd {
		t.Errorf("unquotable: got %q, want %q", got, spec.Image.Initrd)
	}
}

func TestSpecOf(t *testing.T) {
	t.Parallel()
	spec := machine.Spec{Cluster: "dev-1", Name: "skiff-m02", Dir: "/state/a b", RunDir: "/run/x"}
	ours := append([]string{title(spec)}, args(spec)...)
	for name, test := range map[string]struct {
		words []string
		want  bool
	}{
		"ours":                   {ours, true},
		"words as ps tells them": {strings.Fields(strings.Join(ours, " ")), true},
		"of another":             {append([]string{"vfkit"}, ours[1:]...), false},
		"with three parts":       {append([]string{title(spec) + "/x"}, ours[1:]...), false},
		"cut off":                {ours[:8], false},
		"nothing":                {nil, false},
	} {
		got, ok := specOf(test.words)
		if ok != test.want || ok && (got.Cluster != spec.Cluster || got.Name != spec.Name || got.Dir != spec.Dir || got.RunDir != spec.RunDir) {
			t.Errorf("%s: got %+v and %t, want %t", name, got, ok, test.want)
		}
	}
}

func TestParseState(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]machine.State{
		`{"state":"VirtualMachineStateRunning"}`:                                                     machine.Running,
		`{"state":"VirtualMachineStatePaused","canStart":false,"canResume":true,"canHardStop":true}`: machine.Paused,
		`{"state":"VirtualMachineStateStopped"}`:                                                     machine.Stopped,
		`{"state":"VirtualMachineStateError"}`:                                                       machine.Broken,
		`{"state":"VirtualMachineStateStarting"}`:                                                    machine.Running,
		`what`: machine.Broken,
	} {
		if got, err := parseState([]byte(answer)); got != want || (err == nil) != (want != machine.Broken && !strings.Contains(answer, "Starting")) {
			t.Errorf("parseState(%s): got %s and error %v, want %s", answer, got, err, want)
		}
	}
}

// TestStop: a guest that does not listen is ended all the same.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, how := range []behaviour{works, deaf, stubborn, paused} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, how, t.TempDir())
			d.options.StopTimeout = 300 * time.Millisecond
			m := started(t, d)
			if how == paused {
				if err := m.Start(t.Context()); err != nil {
					t.Errorf("Start of a paused machine: %v", err)
				}
			}
			if state, err := m.State(t.Context()); state != machine.Running || err != nil {
				t.Errorf("got state %s (%v), want %s", state, err, machine.Running)
			}
			if err := m.Stop(t.Context()); err != nil || m.files.alive() {
				t.Errorf("Stop: got error %v and a process that lives: %t; want neither", err, m.files.alive())
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	for how, want := range map[behaviour]string{dies: "A storage device attachment is invalid", mute: "does not answer"} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, how, t.TempDir())
			if how == mute {
				d.limits.start = 300 * time.Millisecond
			}
			m, err := d.Create(t.Context(), testSpec(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Start: got error %v, want one with %q", err, want)
			}
			if m.(*Machine).files.alive() {
				t.Error("a process is left")
			}
		})
	}
}

// TestFilesRemoved: a machine whose files were removed while it ran is found, and ended.
func TestFilesRemoved(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := started(t, d)
	if err := os.RemoveAll(m.spec.Dir); err != nil {
		t.Fatal(err)
	}
	listed := func() bool {
		found, err := d.Machines(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(found, drivers.Found{Cluster: "dev", Name: "skiff", Dir: m.spec.Dir, State: machine.Running})
	}
	if !listed() {
		t.Error("Machines: the machine is not among them")
	}
	if err := m.Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
	for ctx := t.Context(); lives(t, m.spec) && ctx.Err() == nil; {
		time.Sleep(tick)
	}
	if listed() {
		t.Error("Machines: the machine is still there after Delete")
	}
}

// TestSocketGone: the folder of sockets is removed while the machine runs. Nobody can control the process any more, and it holds the
// disk.
func TestSocketGone(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Machine) error{
		"start":  func(m *Machine) error { return m.Start(t.Context()) },
		"stop":   func(m *Machine) error { return m.Stop(t.Context()) },
		"delete": func(m *Machine) error { return m.Delete(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := started(t, newDriver(t, works, t.TempDir()))
			m.driver.options.StopTimeout = 100 * time.Millisecond
			before, err := m.files.look()
			if err != nil || before.pid == 0 {
				t.Fatalf("got the process %+v (%v), want one", before, err)
			}
			if err := os.RemoveAll(m.spec.RunDir); err != nil {
				t.Fatal(err)
			}
			long := time.Now().Add(-3 * m.driver.limits.start) // the process is not one that has yet to make its socket
			if err := os.Chtimes(m.files.life(), long, long); err != nil {
				t.Fatal(err)
			}
			if state, err := m.State(t.Context()); state != machine.Broken || !errors.Is(err, machine.ErrUncontrolled) {
				t.Errorf("State: got %s (%v), want %s and ErrUncontrolled", state, err, machine.Broken)
			}
			if err := os.MkdirAll(m.spec.RunDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := end(m); err != nil {
				t.Fatal(err)
			}
			if now, err := m.files.look(); err != nil || now.pid == before.pid || now.lives != (name == "start") {
				t.Errorf("afterwards: got the process %+v (%v), want %d ended", now, err, before.pid)
			}
			want := map[string]machine.State{"start": machine.Running, "stop": machine.Stopped, "delete": machine.Absent}[name]
			if state, err := m.State(t.Context()); state != want || err != nil {
				t.Errorf("State: got %s (%v), want %s", state, err, want)
			}
		})
	}
}

// TestSocketElsewhere: a machine that an earlier skiff started has its socket in the folder that this one had.
func TestSocketElsewhere(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	spec := m.spec
	spec.RunDir = shortDir(t)
	moved := m.driver.machine(spec)
	if state, err := moved.State(t.Context()); state != machine.Running || err != nil {
		t.Errorf("State: got %s (%v), want %s", state, err, machine.Running)
	}
	if err := moved.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, err := m.State(t.Context()); state != machine.Stopped || err != nil {
		t.Errorf("State after Stop: got %s (%v), want %s", state, err, machine.Stopped)
	}
}

func lives(t *testing.T, spec machine.Spec) bool {
	t.Helper()
	all, err := processes.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range all {
		if got, ok := specOf(words); ok && got.Dir == spec.Dir {
			return true
		}
	}
	return false
}

func started(t *testing.T, d *Driver) *Machine {
	t.Helper()
	m, err := d.Create(t.Context(), testSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m.(*Machine)
}

func TestDisk(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	content := append(bytes.Repeat([]byte{0}, 3<<20), "the end"...)
	if err := os.Chmod(spec.Image.Disk, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spec.Image.Disk, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newDriver(t, works, t.TempDir()).Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filesOf(spec).disk())
	if err != nil || int64(len(got)) != spec.DiskBytes || !bytes.Equal(got[:len(content)], content) {
		t.Errorf("the disk has %d bytes (%v), want the image's content and %d bytes in all", len(got), err, spec.DiskBytes)
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(filesOf(spec).disk(), &stat); err != nil || stat.Blocks*512 > 2<<20 {
		t.Errorf("the disk takes %d bytes (%v), want holes where the image has zeros", stat.Blocks*512, err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	gone := New(Options{Vfkit: "/none/vfkit"})
	for name, test := range map[string]struct {
		findings []drivers.Finding
		want     string
	}{
		"linux":     {d.check(t.Context(), "linux", "amd64"), "fail untested, fail system"},
		"mac":       {d.check(t.Context(), "darwin", "amd64"), "fail untested, pass vfkit, fail network"},
		"apple":     {d.check(t.Context(), "darwin", "arm64"), "fail untested, pass vfkit, fail image, fail network"},
		"no vfkit":  {gone.check(t.Context(), "darwin", "amd64"), "fail untested, fail vfkit, fail network"},
		"bad vfkit": {newDriver(t, dies, t.TempDir()).check(t.Context(), "darwin", "amd64"), "fail untested, pass vfkit, fail network"},
	} {
		var got []string
		for _, one := range test.findings {
			got = append(got, string(one.Level)+" "+one.Name)
			if one.Level == drivers.Failure && one.Remedy == "" {
				t.Errorf("%s: got %+v, want a command", name, one)
			}
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: got %v, want %s", name, got, test.want)
		}
		if first := test.findings[0]; !strings.Contains(first.Text, "has not been run on real hardware") || first.Remedy != "skiff start --driver qemu" {
			t.Errorf("%s: got %+v, want it to say first that the driver makes no clusters", name, first)
		}
	}
}
