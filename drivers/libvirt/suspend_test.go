package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// suspendedMachine returns one that was suspended.
func suspendedMachine(t *testing.T, libvirt *standIn) *Machine {
	t.Helper()
	m := created(t, newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
	if err := errors.Join(m.Start(t.Context()), m.Suspend(t.Context())); err != nil {
		t.Fatal(err)
	}
	wantKept(t, m, true)
	return m
}

func wantKept(t *testing.T, m *Machine, want bool) {
	t.Helper()
	_ = wantState(t, m, machine.Stopped)
	if got, err := m.Suspended(t.Context()); got != want || err != nil {
		t.Errorf("the memory is kept: got %t (%v), want %t", got, err, want)
	}
}

// Memory that is of no use is told apart, is still there, and does not keep the machine from booting.
func TestResumeMismatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(*testing.T, *standIn, *Machine)
		want  string
	}{
		"libvirt cannot use it": {func(_ *testing.T, libvirt *standIn, _ *Machine) {
			libvirt.fail = map[string]error{"Restore": fmt.Errorf("%w: image magic is incorrect", errNotRestored)}
		}, "magic is incorrect"},
		"of another QEMU": {func(_ *testing.T, libvirt *standIn, _ *Machine) { libvirt.version = "libvirt 10 with QEMU 8" }, "QEMU 8"},
		"of another size": {func(_ *testing.T, _ *standIn, m *Machine) { m.spec.CPUs = 4 }, "CPUs is 4 and was 2"},
		"of another image": {func(_ *testing.T, _ *standIn, m *Machine) {
			m.spec.Image.Digest = "another"
		}, "image is another"},
		"with a damaged note": {func(t *testing.T, _ *standIn, m *Machine) {
			if err := os.WriteFile(m.note, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
	} {
		libvirt := &standIn{}
		m := suspendedMachine(t, libvirt)
		test.spoil(t, libvirt, m)
		err := m.Resume(t.Context())
		if !fail.Is(err, fail.SnapshotMismatch) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Resume gave error %v, want %s with %q", name, err, fail.SnapshotMismatch, test.want)
		}
		wantKept(t, m, true)
		if err := m.Start(t.Context()); err != nil {
			t.Errorf("%s: Start: %v", name, err)
		}
		_ = wantState(t, m, machine.Running)
	}
}

// A guest that is restored and does not get to run has its memory kept, as before.
func TestResumeFailsLate(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	m := suspendedMachine(t, libvirt)
	libvirt.fail = map[string]error{"Resume": errors.New("no luck")}
	if err := m.Resume(t.Context()); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("Resume gave error %v, want the reason", err)
	}
	wantKept(t, m, true)
	libvirt.fail["Save"] = errors.New("no luck either") // then there is nothing left to keep, but no guest may be left over
	if err := m.Resume(t.Context()); err == nil || !strings.Contains(err.Error(), "either") {
		t.Errorf("Resume gave error %v, want both reasons", err)
	}
	wantKept(t, m, false)
	libvirt.fail = nil
	if err := m.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

// Memory that libvirt keeps without a note of skiff's may be older than the disk, and is never used.
func TestMemoryWithoutNote(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	m := suspendedMachine(t, libvirt)
	if err := m.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	set(t, libvirt, m, crashed)
	if err := libvirt.keep("", m.domain, true); err != nil { // the power was lost, and the file is back
		t.Fatal(err)
	}
	wantKept(t, m, false)
	if err := m.Resume(t.Context()); !fail.Is(err, fail.SnapshotMismatch) {
		t.Errorf("Resume gave error %v, want %s", err, fail.SnapshotMismatch)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if saved, err := libvirt.Saved(m.domain); saved || err != nil {
		t.Errorf("after Start the memory is kept: %t (%v)", saved, err)
	}
}

// A note without memory, as where somebody started the domain with virsh, is none.
func TestNoteWithoutMemory(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	m := suspendedMachine(t, libvirt)
	if err := libvirt.Forget(m.domain); err != nil {
		t.Fatal(err)
	}
	wantKept(t, m, false)
	if err := m.Resume(t.Context()); !fail.Is(err, fail.SnapshotMismatch) {
		t.Errorf("Resume gave error %v, want %s", err, fail.SnapshotMismatch)
	}
}

// A Suspend that is cut off leaves the machine as it was, also when libvirt was faster.
func TestSuspendCancelled(t *testing.T) {
	t.Parallel()
	for name, paused := range map[string]bool{"running": false, "paused": true} {
		libvirt := &standIn{}
		m := created(t, newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := machine.Running
		if paused {
			want = machine.Paused
			if err := m.Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := cancelling{standIn: libvirt, cancel: cancel}
		m.driver.connect = func(string) (connection, error) { return c, nil }
		if err := m.Suspend(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Suspend gave error %v, want %v", name, err, context.Canceled)
		}
		_ = wantState(t, m, want)
	}
}

// cancelling is a libvirt during whose Save the command is cut off.
type cancelling struct {
	*standIn
	cancel func()
}

func (c cancelling) Save(name string) error {
	c.cancel()
	return c.standIn.Save(name)
}

// A Save that takes long is aborted when ctx ends, and also by the next command when skiff was killed meanwhile.
func TestSaveAborted(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{save: make(chan struct{})}
	m := created(t, newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-libvirt.save
		cancel()
	}()
	if err := m.Suspend(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Suspend gave error %v, want %v", err, context.Canceled)
	}
	_ = wantState(t, m, machine.Running)

	for _, do := range []func(context.Context) error{m.Start, m.Stop} {
		set(t, libvirt, m, saving)
		if err := m.write(libvirt); err != nil {
			t.Fatal(err)
		}
		if err := do(t.Context()); err != nil {
			t.Errorf("while a save that nobody waits for is in progress: %v", err)
		}
	}
	wantKept(t, m, false)
}

// When the memory cannot be saved the machine runs on, and nothing is kept.
func TestSaveFails(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	m := created(t, newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	libvirt.fail = map[string]error{"Save": errors.New("no luck")}
	if err := m.Suspend(t.Context()); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("Suspend gave error %v, want the reason", err)
	}
	_ = wantState(t, m, machine.Running)
	if left, err := os.Stat(m.note); err == nil {
		t.Errorf("it left %s", left.Name())
	}
}
