package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// suspended returns a machine whose memory is kept.
func suspended(t *testing.T, d *Driver) *Machine {
	t.Helper()
	m := started(t, d)
	if err := m.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSuspended(t, m, true)
	return m
}

func wantSuspended(t *testing.T, m *Machine, want bool) {
	t.Helper()
	wantState(t, m, machine.Stopped)
	if got, err := m.Suspended(t.Context()); got != want || err != nil {
		t.Errorf("suspended: got %t (%v), want %t", got, err, want)
	}
}

// change applies a function to the content of a file.
func change(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, how(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flipped changes one bit, near the end.
func flipped(content []byte) []byte {
	content[len(content)-1-len(content)/5] ^= 4
	return content
}

// flipAt changes one bit of a large file.
func flipAt(t *testing.T, path string, at int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 4
	put(t, file, at, one)
}

// TestUnfit: a memory that is damaged or belongs to something else is refused, and the machine boots from its disk.
func TestUnfit(t *testing.T) {
	t.Parallel()
	in := func(m *Machine, name string) string { return filepath.Join(m.files.suspended(), name) }
	tests := map[string]struct {
		spoil func(t *testing.T, m *Machine)
		want  string
	}{
		"bit of the memory":   {func(t *testing.T, m *Machine) { flipAt(t, in(m, memoryName), countAt) }, "differs from what was saved"},
		"bit of the devices":  {func(t *testing.T, m *Machine) { change(t, in(m, devicesName), flipped) }, "devices"},
		"bit of the manifest": {func(t *testing.T, m *Machine) { change(t, in(m, manifestName), flipped) }, "manifest"},
		"memory cut short":    {func(t *testing.T, m *Machine) { _ = os.Truncate(in(m, memoryName), 1<<20) }, "bytes that it should have"},
		"devices cut short":   {func(t *testing.T, m *Machine) { _ = os.Truncate(in(m, devicesName), 10) }, "devices"},
		"manifest cut short":  {func(t *testing.T, m *Machine) { _ = os.Truncate(in(m, manifestName), 100) }, "manifest"},
		"empty manifest":      {func(t *testing.T, m *Machine) { _ = os.Truncate(in(m, manifestName), 0) }, "manifest"},
		"memory lost":         {func(t *testing.T, m *Machine) { _ = os.Remove(in(m, memoryName)) }, "not complete"},
		"devices lost":        {func(t *testing.T, m *Machine) { _ = os.Remove(in(m, devicesName)) }, "devices"},
		"of another machine": {func(t *testing.T, m *Machine) {
			other := suspended(t, newDriver(t, works, t.TempDir()))
			change(t, in(m, devicesName), func([]byte) []byte {
				devices, err := os.ReadFile(in(other, devicesName))
				return append(devices, fmt.Sprint(err)...)
			})
		}, "devices"},
		"newer QEMU":        {func(t *testing.T, m *Machine) { m.driver.options.QEMU = playing(t, newer) }, "QEMU is 7.2.23 Debian and was 7.2.22 Debian"},
		"QEMU of the image": {func(t *testing.T, m *Machine) { m.spec.Image.Emulator = playing(t, newer) }, "QEMU is 7.2.23 Debian"},
		"more CPUs":         {func(_ *testing.T, m *Machine) { m.spec.CPUs = 4 }, "there are 4 CPUs and were 2"},
		"more memory":       {func(_ *testing.T, m *Machine) { m.spec.MemoryMiB = 3000 }, "there are 3000 MiB of memory and were 2048"},
		"another image":     {func(_ *testing.T, m *Machine) { m.spec.Image.Digest = "x" }, "the guest image is x"},
		"another card":      {func(_ *testing.T, m *Machine) { m.spec.Network.MAC = "5a:94:ef:e4:0c:ef" }, "other devices"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := suspended(t, newDriver(t, works, t.TempDir()))
			test.spoil(t, m)
			err := m.Resume(t.Context())
			if !fail.Is(err, fail.SnapshotMismatch) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Resume: got error %v, want %s with %q", err, fail.SnapshotMismatch, test.want)
			}
			wantState(t, m, machine.Stopped)
			if err := m.Start(t.Context()); err != nil {
				t.Errorf("Start: %v", err)
			}
			if err := killed(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			wantSuspended(t, m, false)
		})
	}
}

// TestFits: what can be told of a kept memory without a guest is told, and nothing is changed by it.
func TestFits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(t *testing.T, m *Machine)
		want  string // empty: it fits
	}{
		"sound":             {func(*testing.T, *Machine) {}, ""},
		"newer QEMU":        {func(t *testing.T, m *Machine) { m.driver.options.QEMU = playing(t, newer) }, "QEMU is 7.2.23 and was 7.2.22"},
		"QEMU of the image": {func(t *testing.T, m *Machine) { m.spec.Image.Emulator = playing(t, newer) }, "QEMU is 7.2.23 and was 7.2.22"},
		"more CPUs":         {func(_ *testing.T, m *Machine) { m.spec.CPUs = 4 }, "there are 4 CPUs and were 2"},
		"another image":     {func(_ *testing.T, m *Machine) { m.spec.Image.Digest = "x" }, "the guest image is x"},
		"manifest damaged": {func(t *testing.T, m *Machine) {
			change(t, filepath.Join(m.files.suspended(), manifestName), flipped)
		}, "manifest"},
		"forgotten": {func(t *testing.T, m *Machine) {
			if err := m.Forget(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, "not complete"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := suspended(t, newDriver(t, works, t.TempDir()))
			test.spoil(t, m)
			err := m.Fits(t.Context())
			if test.want == "" && err != nil {
				t.Errorf("Fits: got error %v, want none", err)
			}
			if test.want != "" && (!fail.Is(err, fail.SnapshotMismatch) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Fits: got error %v, want %s with %q", err, fail.SnapshotMismatch, test.want)
			}
			wantState(t, m, machine.Stopped)
		})
	}
}

// TestKeptMemoryMoves: a memory can be used under another name and in other folders.
func TestKeptMemoryMoves(t *testing.T) {
	t.Parallel()
	m := suspended(t, newDriver(t, works, t.TempDir()))
	spec := m.spec
	spec.Cluster, spec.Dir, spec.RunDir = "other", filepath.Join(t.TempDir(), "moved"), shortDir(t)
	spec.Network.Socket = filepath.Join(spec.RunDir, "net.sock")
	if err := os.Rename(m.spec.Dir, spec.Dir); err != nil {
		t.Fatal(err)
	}
	moved := m.driver.machine(spec)
	if err := moved.Resume(t.Context()); err != nil {
		t.Errorf("Resume elsewhere: %v", err)
	}
	wantState(t, moved, machine.Running)
	if err := moved.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSuspendFails(t *testing.T) {
	t.Parallel()
	for how, want := range map[behaviour]machine.State{noSave: machine.Running, diesSave: machine.Stopped} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, how, t.TempDir())
			m := started(t, d)
			if err := m.Suspend(t.Context()); err == nil {
				t.Error("Suspend gave no error")
			}
			wantState(t, m, want)
			if _, err := m.SaveSnapshot(t.Context(), "x", nil, nil); want == machine.Running && err == nil {
				t.Error("SaveSnapshot gave no error")
			}
			wantState(t, m, want)
			for _, path := range []string{m.files.suspended(), part(m.files.suspended()), m.files.snapshot("x"), part(m.files.snapshot("x"))} {
				if want == machine.Running && hostfiles.Exists(path) {
					t.Errorf("%s is left", path)
				}
			}
			d.options.QEMU = playing(t, works)
			if err := m.Start(t.Context()); err != nil {
				t.Errorf("Start: %v", err)
			}
		})
	}
}

// TestCutOff: a command that was killed while QEMU ran and the memory was kept leaves both. Whatever is done then, the
// memory is never used with a disk that is not its own.
func TestCutOff(t *testing.T) {
	t.Parallel()
	cuts := map[string]func(ctx context.Context, t *testing.T, m *Machine) error{
		"suspend": func(ctx context.Context, t *testing.T, m *Machine) error { // QEMU should have ended
			p, err := m.process(ctx)
			if err != nil || p == nil {
				t.Fatalf("got the process %v and error %v, want one", p, err)
			}
			return m.keep(ctx, &frozen{process: p})
		},
		"resume": func(ctx context.Context, t *testing.T, m *Machine) error { // the guest should have gone on
			if err := m.Suspend(ctx); err != nil {
				return err
			}
			kept, err := m.files.readManifest(m.files.suspended())
			if err != nil {
				return err
			}
			devices, err := readDevices(m.files.suspended(), kept.Memory.Devices)
			if err != nil {
				return err
			}
			memory, err := newMemory(kept.Memory.Bytes)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = memory.Close() })
			if err := loadKept(ctx, memory, m.files.suspended(), kept.Memory); err != nil {
				return err
			}
			if err := m.prepare(); err != nil {
				return err
			}
			more := []string{standStill, "-incoming", "defer"}
			return m.launch(ctx, tcg, memory, more, func(ctx context.Context, qemu *monitor) error { return qemu.loadDevices(ctx, devices) })
		},
	}
	ops := map[string]func(context.Context, *Machine) error{
		"stop":    func(ctx context.Context, m *Machine) error { return m.Stop(ctx) },
		"pause":   func(ctx context.Context, m *Machine) error { return m.Pause(ctx) },
		"unpause": func(ctx context.Context, m *Machine) error { return m.Unpause(ctx) },
		"suspend": func(ctx context.Context, m *Machine) error { return m.Suspend(ctx) },
		"save":    func(ctx context.Context, m *Machine) error { _, err := m.SaveSnapshot(ctx, "x", nil, nil); return err },
		"start":   func(ctx context.Context, m *Machine) error { return m.Start(ctx) },
	}
	for cut, cutOff := range cuts {
		for op, do := range ops {
			t.Run(cut+", then "+op, func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				m := started(t, newDriver(t, works, t.TempDir()))
				if err := cutOff(ctx, t, m); err != nil {
					t.Fatal(err)
				}
				wantState(t, m, machine.Paused)
				begun := time.Now()
				if err := do(ctx, m); err != nil {
					t.Errorf("%s: %v", op, err)
				}
				if op == "stop" {
					wantSuspended(t, m, false)
					if took := time.Since(begun); took > m.driver.options.StopTimeout {
						t.Errorf("the guest was not asked to power off: it took %s", took)
					}
				}
				if state, err := m.State(ctx); err != nil || state != machine.Stopped {
					if err := killed(ctx, m); err != nil {
						t.Error(err)
					}
				}
				goesOn(t, m, op)
				notStale(t, m, op)
			})
		}
	}
}

func TestResumeFails(t *testing.T) {
	t.Parallel()
	for _, how := range []behaviour{noLoad, dies} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, works, t.TempDir())
			m := suspended(t, d)
			d.options.QEMU = playing(t, how)
			if err := m.Resume(t.Context()); err == nil {
				t.Error("Resume gave no error")
			}
			wantSuspended(t, m, true)
			d.options.QEMU = playing(t, works)
			if err := m.Resume(t.Context()); err != nil {
				t.Errorf("Resume with a QEMU that works: %v", err)
			}
			wantState(t, m, machine.Running)
		})
	}
}

// TestForeignQEMU: of a QEMU that was started in another way nobody knows where the memory is.
func TestForeignQEMU(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	m.spec.MemoryMiB++
	if err := m.Suspend(t.Context()); err == nil || !strings.Contains(err.Error(), "started its QEMU") {
		t.Errorf("Suspend: got error %v, want a refusal", err)
	}
	if _, err := m.SaveSnapshot(t.Context(), "x", nil, nil); err == nil {
		t.Error("SaveSnapshot gave no error")
	}
	wantState(t, m, machine.Running)
}

// TestRestoredMemoryIsUsedAgain: a guest that is put back while it runs gets the memory that it had, with the content of then.
func TestRestoredMemoryIsUsedAgain(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	memory := func() os.FileInfo {
		p, err := m.process(t.Context())
		if err != nil || p == nil {
			t.Fatalf("no QEMU runs, error %v", err)
		}
		defer p.release()
		file, err := openMemory(p)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	for _, do := range []func() error{
		func() error { _, err := m.SaveSnapshot(t.Context(), "a", nil, nil); return err },
		func() error { return m.Suspend(t.Context()) },
		func() error { return m.Resume(t.Context()) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	before := memory()
	if err := errors.Join(m.RestoreSnapshot(t.Context(), "a"), m.Resume(t.Context())); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, memory()) {
		t.Error("a new memory was filled")
	}
	notStale(t, m, "the restore")
	m.spec.MemoryMiB++ // nobody knows any more what QEMU has open there
	if err := m.RestoreSnapshot(t.Context(), "a"); err != nil || m.left != nil {
		t.Errorf("RestoreSnapshot of a foreign QEMU: error %v, memory %v; want neither", err, m.left)
	}
}

// TestDamagedSnapshot: one that cannot be read is listed, does no harm to others, and can be deleted.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	for _, name := range []string{"a", "b"} {
		if _, err := m.SaveSnapshot(t.Context(), name, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	change(t, filepath.Join(m.files.snapshot("a"), manifestName), flipped)
	list, err := m.Snapshots(t.Context())
	if err != nil || len(list) != 2 || !fail.Is(errors.Join(list[0].Err, list[1].Err), fail.SnapshotMismatch) {
		t.Errorf("Snapshots: got %+v (%v), want two, one of them damaged", list, err)
	}
	if err := m.RestoreSnapshot(t.Context(), "a"); !fail.Is(err, fail.SnapshotMismatch) {
		t.Errorf("RestoreSnapshot: got error %v, want %s", err, fail.SnapshotMismatch)
	}
	wantState(t, m, machine.Running)
	for _, do := range []func() error{
		func() error { return m.RestoreSnapshot(t.Context(), "b") },
		func() error { return m.Resume(t.Context()) },
		func() error { return m.DeleteSnapshot(t.Context(), "a") },
		func() error { return m.RestoreSnapshot(t.Context(), "b") },
		func() error { return m.Resume(t.Context()) },
	} {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	if hostfiles.Exists(staleMark(m.files)) {
		t.Error("the guest went on with a memory that is not of its disk")
	}
}

// driveVariable says what a process that is going to be killed does, and to what.
const driveVariable = "SKIFF_TEST_DRIVES"

// driven is the work of a process that is going to be killed.
type driven struct {
	Spec          machine.Spec
	QEMU, QEMUImg string // stand-ins; empty: the real ones
	Memory        string // what is remembered of the real accelerator
	Op            string
}

func (o driven) machine() *Machine {
	if o.QEMU == "" {
		return realDriver(o.Memory).machine(o.Spec)
	}
	d := New(Options{
		QEMU: o.QEMU, QEMUImg: o.QEMUImg, StopTimeout: time.Second,
		Runner: func(machine.SSH) machine.Runner { return fake.NewRunner(o.Spec.Dir+"-guest", nil) },
	})
	d.kvm = "/none"
	d.limits.end = 2 * time.Second
	return d.machine(o.Spec)
}

func (o driven) run(ctx context.Context) error {
	m := o.machine()
	switch op, name, _ := strings.Cut(o.Op, " "); op {
	case "suspend":
		return m.Suspend(ctx)
	case "resume":
		return m.Resume(ctx)
	case "start":
		return m.Start(ctx)
	case "save":
		_, err := m.SaveSnapshot(ctx, name, []byte(name), nil)
		return err
	case "restore":
		return m.RestoreSnapshot(ctx, name)
	case "delete":
		return m.DeleteSnapshot(ctx, name)
	}
	return errors.New("unknown operation " + o.Op)
}

// drive is the main function of such a process.
func drive(text string) error {
	var o driven
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	return o.run(context.Background())
}

// killing kills skiff, and QEMU too, at random points of what it does to a machine.
type killing struct {
	driven
	m       *Machine
	longest time.Duration                 // about how long the longest operation takes, so that some kills come too late
	mark    func(t *testing.T, n int)     // has the guest, which runs, keep a number in memory and on its disk
	whole   func(t *testing.T, op string) // looks that the guest, which runs after that operation, has a memory that is of its disk
}

// TestKilled looks that the machine can be used after each kill, that every finished snapshot can, and that no guest ever goes
// on with a memory that is not of its disk.
func TestKilled(t *testing.T) {
	t.Parallel()
	rounds, random := drivertest.Kills(t, 100)
	spec := testSpec(t)
	spec.MemoryMiB = 256
	o := driven{Spec: spec, QEMU: playing(t, works), QEMUImg: playing(t, image)}
	k := killing{
		driven: o, m: o.machine(), longest: 400 * time.Millisecond,
		mark: func(*testing.T, int) {}, // the stand-in does so by itself
	}
	k.whole = func(t *testing.T, op string) {
		t.Helper()
		notStale(t, k.m, op)
	}
	k.run(t, rounds, random)
}

// TestRealKilled does the same to a real guest. Its memory and its disk have a number each.
func TestRealKilled(t *testing.T) {
	rounds, random := drivertest.Kills(t, 0)
	drivertest.Image(t)
	spec := realSpec(t)
	o := driven{Spec: spec, Memory: filepath.Join(t.TempDir(), "accelerator.json")}
	k := killing{driven: o, m: o.machine(), longest: 1500 * time.Millisecond}
	asked := func(t *testing.T, line string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		// A connection of before may lead to a guest that is no more.
		runner := ssh.New(spec.SSH)
		defer func() { _ = runner.Close() }()
		if err := runner.Wait(ctx); err != nil {
			t.Fatalf("%v; console: %s", err, hostfiles.Tail(k.m.ConsoleLog()))
		}
		got, err := runner.Run(ctx, machine.Cmd{Args: []string{"sh", "-c", line}})
		if err != nil {
			t.Fatal(err)
		}
		return string(got.Stdout)
	}
	k.mark = func(t *testing.T, n int) {
		t.Helper()
		asked(t, fmt.Sprintf("echo %d >/var/number && sync && echo %d >/run/number", n, n))
	}
	k.whole = func(t *testing.T, op string) {
		t.Helper()
		numbers := strings.Fields(asked(t, "cat /var/number; cat /run/number 2>/dev/null; dmesg | grep -i 'ext4.*error'; true"))
		t.Logf("after it the guest has the numbers %s", numbers)
		booted, wentOn := len(numbers) == 1, len(numbers) == 2 && numbers[0] == numbers[1]
		if !booted && !wentOn {
			t.Errorf("after %q was killed, the guest has on its disk and in memory %q", op, numbers)
		}
	}
	k.run(t, rounds, random)
}

// run kills so often.
func (k killing) run(t *testing.T, rounds int, random *rand.Rand) {
	t.Helper()
	created(t, k.m.driver, k.Spec)
	k.ready(t, 0, false)
	if _, err := k.m.SaveSnapshot(t.Context(), "base", []byte("base"), nil); err != nil {
		t.Fatal(err)
	}
	ops := []string{"suspend", "suspend", "resume", "resume", "start", "save", "save", "restore", "restore", "delete"}
	for round := range rounds {
		k.Op = ops[random.IntN(len(ops))]
		known := snapshotNames(t, k.m)
		switch k.Op {
		case "save":
			k.Op += fmt.Sprintf(" s%d", round)
		case "restore":
			k.Op += " " + known[random.IntN(len(known))]
		case "delete":
			name := known[random.IntN(len(known))]
			if name == "base" { // one is always there
				continue
			}
			k.Op += " " + name
		}
		k.ready(t, round+1, strings.HasPrefix(k.Op, "resume"))
		k.kill(t, time.Duration(random.IntN(int(k.longest))))
		if random.IntN(4) == 0 { // the host loses QEMU as well
			_ = killed(t.Context(), k.m)
		}
		if t.Failed() {
			return
		}
		k.usable(t, k.Op)
		for _, name := range known {
			if k.Op != "delete "+name && !slices.Contains(snapshotNames(t, k.m), name) {
				t.Errorf("after %q was killed, snapshot %s is gone", k.Op, name)
			}
		}
	}
	for _, name := range snapshotNames(t, k.m) {
		if err := k.m.RestoreSnapshot(t.Context(), name); err != nil {
			t.Errorf("restore %s in the end: %v", name, err)
		}
		k.usable(t, "restore "+name)
	}
}

// ready brings the machine into the state in which an operation has something to do.
func (k killing) ready(t *testing.T, number int, asleep bool) {
	t.Helper()
	if err := k.m.Start(t.Context()); err != nil {
		t.Fatalf("make ready: %v", err)
	}
	k.mark(t, number)
	if !asleep {
		return
	}
	if err := k.m.Suspend(t.Context()); err != nil {
		t.Fatalf("make ready: %v", err)
	}
}

// kill runs the operation in another process and kills that after a time.
func (k killing) kill(t *testing.T, after time.Duration) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(k.driven)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), driveVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait()
	t.Logf("%s, killed after %s: %v", k.Op, after, cmd.ProcessState)
}

func (k killing) usable(t *testing.T, after string) {
	t.Helper()
	goesOn(t, k.m, after)
	k.whole(t, after)
}

// goesOn expects that the machine goes on, from its memory if that is kept, and else from its disk.
func goesOn(t *testing.T, m *Machine, after string) {
	t.Helper()
	state, err := m.State(t.Context())
	if err != nil {
		t.Fatalf("after %q was killed, the machine is %s: %v", after, state, err)
	}
	suspended, err := m.Suspended(t.Context())
	if err != nil {
		t.Fatalf("after %q was killed: %v", after, err)
	}
	if suspended {
		err = m.Resume(t.Context())
	} else {
		err = m.Start(t.Context())
	}
	if err != nil {
		t.Errorf("after %q was killed, the machine was %s (suspended: %t): %v", after, state, suspended, err)
	}
	wantState(t, m, machine.Running)
}

// notStale looks that the stand-in for QEMU never had to say that a memory is not of its disk.
func notStale(t *testing.T, m *Machine, after string) {
	t.Helper()
	if content, err := os.ReadFile(staleMark(m.files)); err == nil {
		t.Errorf("after %q was killed, the guest went on with a memory that is not of its disk: %s", after, content)
	}
}

func snapshotNames(t *testing.T, m *Machine) []string {
	t.Helper()
	list, err := m.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range list {
		if one.Err != nil {
			t.Errorf("snapshot %s: %v", one.Name, one.Err)
		}
		names = append(names, one.Name)
	}
	return names
}
