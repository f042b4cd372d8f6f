package qemu

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/logfile"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// testSpec describes a machine whose image is a few empty files.
func testSpec(t *testing.T) machine.Spec {
	t.Helper()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30,
		Dir: t.TempDir(), RunDir: shortDir(t),
		Image: machine.Image{Cmdline: "console=ttyS0"},
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
		if err := os.WriteFile(*path, nil, 0o600); err != nil {
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

// newDriver returns a driver whose QEMU behaves so, and whose guests are fakes that keep their files in guest.
func newDriver(t *testing.T, how behaviour, guest string) *Driver {
	t.Helper()
	d := New(Options{
		QEMU: playing(t, how), QEMUImg: playing(t, image), StopTimeout: 10 * time.Second,
		Runner: func(machine.SSH) machine.Runner {
			return fake.NewRunner(guest, drivertest.Guest(machine.Spec{}))
		},
	})
	d.kvm, d.cpuinfo = filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "none")
	// One that will not answer is not waited for long; any other has the time that a busy host needs.
	d.limits = limits{start: time.Minute, answer: 5 * time.Second, probe: time.Minute, end: time.Second, boot: time.Minute, named: time.Minute}
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
			return &reachable{Runner: fake.NewRunner(guest, drivertest.Guest(spec)), machine: filesOf(spec)}
		}
		fresh := New(d.options)
		fresh.kvm, fresh.limits = d.kvm, d.limits
		return drivertest.Target{Driver: d, Spec: spec, Fresh: func() drivers.Driver { return fresh }, Crash: killed, Hollow: true}
	})
}

// reachable answers while the machine's process runs.
type reachable struct {
	*fake.Runner
	machine files
}

func (r *reachable) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	if p, err := find(r.machine.pid()); p == nil && !r.moved(ctx) {
		return machine.Result{}, errors.Join(errors.New("connection refused"), err)
	}
	return r.Runner.Run(ctx, cmd)
}

// moved reports whether the machine runs in another folder: the one of its socket stays.
func (r *reachable) moved(ctx context.Context) bool {
	all, err := processes.List(ctx)
	for _, words := range all {
		if spec, ok := specOf(words); ok && spec.RunDir == r.machine.run {
			return true
		}
	}
	return err != nil
}

// killed ends the machine's process as the kernel's out-of-memory killer does.
func killed(ctx context.Context, m machine.Machine) error {
	p, err := find(m.(*Machine).files.pid())
	if err != nil || p == nil {
		return errors.Join(errors.New("there is no process"), err)
	}
	defer p.release()
	return errors.Join(p.handle.Signal(syscall.SIGKILL), p.wait(ctx))
}

func created(t *testing.T, d *Driver, spec machine.Spec) *Machine {
	t.Helper()
	m, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return m.(*Machine)
}

func started(t *testing.T, d *Driver) *Machine {
	t.Helper()
	m := created(t, d, testSpec(t))
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func wantState(t *testing.T, m *Machine, want machine.State) error {
	t.Helper()
	got, err := m.State(t.Context())
	if got != want || (err != nil) != (want == machine.Broken) {
		t.Errorf("got state %s (%v), want %s", got, err, want)
	}
	return err
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Driver, *machine.Spec)
		want   string
	}{
		"qemu-img fails":   {func(d *Driver, _ *machine.Spec) { d.options.QEMUImg = playing(t, fullDisk) }, "No space left on device"},
		"no image":         {func(_ *Driver, s *machine.Spec) { s.Image.Disk = "/none/disk.raw" }, `"/none/disk.raw" is not there`},
		"no keys":          {func(_ *Driver, s *machine.Spec) { s.Identity = machine.Identity{} }, "SSH host key"},
		"no qemu-img":      {func(d *Driver, _ *machine.Spec) { d.options.QEMUImg = "/none/qemu-img" }, "make its disk"},
		"no folder for it": {func(_ *Driver, s *machine.Spec) { s.Dir += "/none" }, "no such file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, spec := newDriver(t, works, t.TempDir()), testSpec(t)
			test.change(d, &spec)
			if _, err := d.Create(t.Context(), spec); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
			if left, _ := filepath.Glob(spec.Dir + "/*"); len(left) != 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	m := created(t, newDriver(t, dies, t.TempDir()), testSpec(t))
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot reach anything") {
		t.Errorf("got error %v, want what QEMU printed", err)
	}
	wantState(t, m, machine.Stopped)
}

func TestStartCancelled(t *testing.T) {
	t.Parallel()
	m := created(t, newDriver(t, mute, t.TempDir()), testSpec(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := m.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	wantState(t, m, machine.Stopped) // in particular, no process
}

func TestPaused(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := created(t, d, testSpec(t))
	d.options.QEMU = playing(t, paused)
	// Starting ends when the guest is found paused, so the process is started by hand.
	launchOnly(t, m)
	wantState(t, m, machine.Paused)
	if err := m.Start(t.Context()); err != nil {
		t.Errorf("Start: %v", err)
	}
	wantState(t, m, machine.Running)
}

// launchOnly starts QEMU and waits until it listens, without looking at the guest.
func launchOnly(t *testing.T, m *Machine) {
	t.Helper()
	process, err := os.StartProcess(m.driver.options.QEMU, append([]string{"qemu"}, args(m.spec, tcg, []string{firstLayer})...), &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = process.Wait() }()
	qemu, err := m.reach(t.Context(), 10*time.Second, func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	qemu.close()
}

func TestHostDiskFullWhileRunning(t *testing.T) {
	t.Parallel()
	d := newDriver(t, full, t.TempDir())
	m := created(t, d, testSpec(t))
	launchOnly(t, m)
	if err := wantState(t, m, machine.Broken); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got error %v, want one that asks for the host's disk", err)
	}
}

func TestStopOfGuestsThatDoNotListen(t *testing.T) {
	t.Parallel()
	for _, how := range []behaviour{deaf, stubborn, mute} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, how, t.TempDir())
			d.options.StopTimeout = 200 * time.Millisecond
			var m *Machine
			if how == mute { // Start would not return
				m = created(t, d, testSpec(t))
				process, err := os.StartProcess(d.options.QEMU, append([]string{"qemu"}, args(m.spec, tcg, []string{firstLayer})...), &os.ProcAttr{})
				if err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = process.Wait() }()
				awaitFile(t, m.files.pid())
				wantState(t, m, machine.Broken)
			} else {
				m = started(t, d)
			}
			if err := m.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			wantState(t, m, machine.Stopped)
		})
	}
}

// obedient is a guest that powers off when it is told to by a command.
type obedient struct {
	machine.Runner
	machine files
}

func (r *obedient) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	p, err := find(r.machine.pid())
	if err != nil || p == nil || cmd.String() != "systemctl --no-block poweroff" {
		return machine.Result{}, errors.Join(errors.New("unexpected command "+cmd.String()), err)
	}
	defer p.release()
	return machine.Result{}, p.handle.Signal(syscall.SIGTERM)
}

func TestStopByCommand(t *testing.T) {
	t.Parallel()
	d := newDriver(t, deaf, t.TempDir())
	d.options.StopTimeout = time.Hour // so that only the command can have worked
	m := started(t, d)
	m.Runner = &obedient{machine: m.files}
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	wantState(t, m, machine.Stopped)
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	for range time.Tick(10 * time.Millisecond) {
		if content, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(content), "\n") {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("there is no %s", path)
		}
	}
}

func TestStopCancelled(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, deaf, t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	wantState(t, m, machine.Running)
}

// A process that got the number of a QEMU that died is not ours to end.
func TestStrangerIsLeftAlone(t *testing.T) {
	t.Parallel()
	m := created(t, newDriver(t, works, t.TempDir()), testSpec(t))
	stranger, err := os.StartProcess("/bin/sleep", []string{"sleep", "60"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Kill()
		_, _ = stranger.Wait()
	}()
	for _, content := range []string{strconv.Itoa(stranger.Pid) + "\n", "1\n", "-1\n", "", "nonsense"} {
		if err := os.WriteFile(m.files.pid(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		wantState(t, m, machine.Stopped)
		if err := m.Stop(t.Context()); err != nil {
			t.Errorf("Stop with %q in the pid file: %v", content, err)
		}
	}
	if err := m.Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := stranger.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was ended: %v", err)
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(*Machine) error
		want  string
		id    fail.ID
	}{
		"disk is no qcow2": {func(m *Machine) error { return os.WriteFile(m.files.disk(), []byte("what?"), 0o600) }, "no qcow2 file", fail.StateCorrupt},
		"disk is empty":    {func(m *Machine) error { return os.Truncate(m.files.disk(), 0) }, "no qcow2 file", fail.StateCorrupt},
		"layers are none":  {func(m *Machine) error { return os.WriteFile(m.files.chain(), []byte("what?"), 0o600) }, "disk.json cannot be used", fail.StateCorrupt},
		"image is gone":    {func(m *Machine) error { return os.Remove(m.spec.Image.Disk) }, "disk of its image", fail.ImageMissing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := created(t, newDriver(t, works, t.TempDir()), testSpec(t))
			if err := test.spoil(m); err != nil {
				t.Fatal(err)
			}
			if err := wantState(t, m, machine.Broken); !fail.Is(err, test.id) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %s with %q", err, test.id, test.want)
			}
			if err := m.Start(t.Context()); !fail.Is(err, test.id) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start gave error %v, want %s with %q", err, test.id, test.want)
			}
			if err := m.Delete(t.Context()); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

func TestSocketsCleared(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	if err := os.Remove(m.files.monitor()); err != nil {
		t.Fatal(err)
	}
	wantState(t, m, machine.Broken)
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	wantState(t, m, machine.Stopped)
}

func TestConsoleIsRotated(t *testing.T) {
	t.Parallel()
	m := created(t, newDriver(t, works, t.TempDir()), testSpec(t))
	for _, size := range []int64{100, 9 << 20} {
		if err := os.WriteFile(m.ConsoleLog(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(m.ConsoleLog(), size); err != nil {
			t.Fatal(err)
		}
		if err := hostfiles.Rotate(m.files.console()); err != nil {
			t.Fatal(err)
		}
		if got, want := hostfiles.Exists(logfile.Older(m.ConsoleLog())), size > 1<<20; got != want {
			t.Errorf("a log of %d bytes was moved aside: %t, want %t", size, got, want)
		}
	}
}

// A command may be killed after it has started QEMU and before it has written down which process that is.
func TestLostProcessIsTheMachine(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	first, err := find(m.files.pid())
	if err != nil || first == nil {
		t.Fatalf("there is no process (%v)", err)
	}
	defer first.release()
	if err := os.Remove(m.files.pid()); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Errorf("Start: %v", err)
	}
	if p, err := find(m.files.pid()); err != nil || p != nil {
		t.Errorf("a second process was started (%v)", err)
	}
	if err := m.Stop(t.Context()); err != nil || first.alive() {
		t.Errorf("after Stop (%v) the process lives: %t", err, first.alive())
	}
}
