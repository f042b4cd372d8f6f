package drivertest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

// memoryPath is a file that a guest has in its memory alone.
const memoryPath = "/run/skiff-drivertest"

// pause holds a machine to drivers.Pauser, if it is one.
func pause(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	pauser := ability[drivers.Pauser](t, m)
	if err := pauser.Pause(ctx); err == nil {
		t.Error("Pause of a stopped machine gave no error")
	}
	if err := pauser.Unpause(ctx); err == nil {
		t.Error("Unpause of a stopped machine gave no error")
	}
	wantState(ctx, t, m, machine.Stopped)
	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	for range 2 {
		must(t, "Pause", pauser.Pause(ctx))
		wantState(ctx, t, target.Fresh().Machine(target.Spec), machine.Paused)
	}
	must(t, "Start of a paused machine", m.Start(ctx))
	wantState(ctx, t, m, machine.Running)
	must(t, "wait for the guest that was paused", machine.Wait(ctx, m))
	must(t, "Pause", pauser.Pause(ctx))
	for range 2 {
		must(t, "Unpause", pauser.Unpause(ctx))
		wantState(ctx, t, target.Fresh().Machine(target.Spec), machine.Running)
	}
	must(t, "wait for the guest that was unpaused", machine.Wait(ctx, m))
	must(t, "Pause again", pauser.Pause(ctx))
	must(t, "Delete of a paused machine", m.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
}

// grow holds a machine to drivers.Grower, if it is one.
func grow(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	larger := target.Spec
	larger.DiskBytes *= 2
	grown := target.Fresh().Machine(larger)
	if err := ability[drivers.Grower](t, grown).Grow(ctx); err == nil {
		t.Error("Grow of a stopped machine gave no error")
	}
	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	for range 2 {
		must(t, "Grow", ability[drivers.Grower](t, grown).Grow(ctx))
	}
	must(t, "Grow to less than it is", ability[drivers.Grower](t, m).Grow(ctx))
	wantState(ctx, t, m, machine.Running)
	must(t, "Delete of a machine that grew", m.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
}

// suspend holds a machine to drivers.Suspender, if it is one.
func suspend(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	suspender := ability[drivers.Suspender](t, m)
	must(t, "Suspend of a stopped machine", suspender.Suspend(ctx))
	wantSuspended(ctx, t, m, false)
	if err := suspender.Resume(ctx); err == nil {
		t.Error("Resume of a machine that was not suspended gave no error")
	}
	wantState(ctx, t, m, machine.Stopped)

	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	must(t, "Put", m.Put(ctx, memoryPath, 0o600, strings.NewReader("kept")))
	for range 2 {
		must(t, "Suspend", suspender.Suspend(ctx))
		wantSuspended(ctx, t, m, true)
	}
	other := target.Fresh().Machine(target.Spec)
	wantSuspended(ctx, t, other, true)
	must(t, "Resume by another process", other.(drivers.Suspender).Resume(ctx))
	wantState(ctx, t, m, machine.Running)
	must(t, "wait for the resumed guest", machine.Wait(ctx, other))
	wantFile(ctx, t, other, memoryPath, "kept")
	if err := suspender.Resume(ctx); err == nil {
		t.Error("Resume of a running machine gave no error")
	}
	// What was kept is used once.
	must(t, "Crash", target.Crash(ctx, m))
	wantSuspended(ctx, t, m, false)

	must(t, "Start after a crash", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	must(t, "Suspend", suspender.Suspend(ctx))
	must(t, "Start in place of Resume", m.Start(ctx))
	wantState(ctx, t, m, machine.Running)
	must(t, "Crash", target.Crash(ctx, m))
	wantSuspended(ctx, t, m, false)
}

// forget is the other half of suspend.
func forget(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	suspender := ability[drivers.Suspender](t, m)
	must(t, "Forget of nothing", suspender.Forget(ctx))
	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := suspender.Suspend(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Suspend with a ctx that has ended gave error %v, want %v", err, context.Canceled)
	}
	wantState(ctx, t, m, machine.Running)
	must(t, "Suspend", suspender.Suspend(ctx))
	for range 2 {
		must(t, "Forget", suspender.Forget(ctx))
		wantSuspended(ctx, t, m, false)
	}
	if pauser, ok := m.(drivers.Pauser); ok {
		must(t, "Start", m.Start(ctx))
		must(t, "Pause", pauser.Pause(ctx))
		must(t, "Suspend of a paused machine", suspender.Suspend(ctx))
		wantSuspended(ctx, t, m, true)
		must(t, "Resume", suspender.Resume(ctx))
		wantState(ctx, t, m, machine.Running)
	}
	must(t, "Suspend", suspender.Suspend(ctx))
	must(t, "Delete of a suspended machine", m.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
}

// move holds a machine to drivers.Movable, if it is one.
func move(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	movable := ability[drivers.Movable](t, m)
	suspender := ability[drivers.Suspender](t, m)
	if err := movable.Fits(ctx); err == nil {
		t.Error("Fits of a machine that is not suspended gave no error")
	}
	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	must(t, "Put", m.Put(ctx, memoryPath, 0o600, strings.NewReader("moved")))
	must(t, "Suspend", suspender.Suspend(ctx))
	for range 2 {
		must(t, "Fits", movable.Fits(ctx))
	}
	wantSuspended(ctx, t, m, true)

	there := target
	there.Spec.Cluster = "elsewhere"
	there.Spec.Dir = filepath.Join(t.TempDir(), "moved")
	must(t, "move its folder", os.Rename(target.Spec.Dir, there.Spec.Dir))
	must(t, "make the old folder again", os.Mkdir(target.Spec.Dir, 0o700))
	defer cleanUp(ctx, t, there)
	moved := there.Fresh().Machine(there.Spec)
	wantSuspended(ctx, t, moved, true)
	wantState(ctx, t, m, machine.Absent)
	must(t, "Fits in the new place", moved.(drivers.Movable).Fits(ctx))
	must(t, "Resume in the new place", moved.(drivers.Suspender).Resume(ctx))
	must(t, "wait for the guest that was moved", machine.Wait(ctx, moved))
	wantFile(ctx, t, moved, memoryPath, "moved")
	wantListed(ctx, t, there, machine.Running)
	wantState(ctx, t, m, machine.Absent)
}

// snapshots holds a machine to drivers.Snapshotter, if it is one.
func snapshots(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	s := ability[drivers.Snapshotter](t, m)
	wantSnapshots(ctx, t, m)
	must(t, "DeleteSnapshot of none", s.DeleteSnapshot(ctx, "none"))
	save(ctx, t, m, "new", false)
	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	for _, name := range []string{"one", "two"} {
		must(t, "Put", m.Put(ctx, memoryPath, 0o600, strings.NewReader(name)))
		must(t, "Put", m.Put(ctx, putPath, 0o600, strings.NewReader(name)))
		save(ctx, t, m, name, true)
		wantState(ctx, t, m, machine.Running)
		wantFile(ctx, t, m, memoryPath, name)
	}
	if _, err := s.SaveSnapshot(ctx, "one", nil, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("SaveSnapshot with a name that is taken gave error %v, want %v", err, fs.ErrExist)
	}
	if err := s.RestoreSnapshot(ctx, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("RestoreSnapshot of none gave error %v, want %v", err, fs.ErrNotExist)
	}
	wantState(ctx, t, m, machine.Running)
	must(t, "Put", m.Put(ctx, memoryPath, 0o600, strings.NewReader("three")))
	wantSnapshots(ctx, t, target.Fresh().Machine(target.Spec), "new", "one", "two")

	restore(ctx, t, target, "one")
	restore(ctx, t, target, "two")
	restore(ctx, t, target, "one")
	must(t, "DeleteSnapshot", s.DeleteSnapshot(ctx, "one")) // under the running machine and two
	wantState(ctx, t, m, machine.Running)
	restore(ctx, t, target, "two")
	must(t, "Stop", m.Stop(ctx))
	for range 2 {
		must(t, "DeleteSnapshot", s.DeleteSnapshot(ctx, "new"))
		wantSnapshots(ctx, t, m, "two")
	}
	restore(ctx, t, target, "two")
	must(t, "Delete of a machine with snapshots", m.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
}

// save saves, and looks at what it gives back.
func save(ctx context.Context, t *testing.T, m machine.Machine, name string, running bool) {
	t.Helper()
	quiesced, released := 0, 0
	unquiet := ""
	quiesce := func(context.Context) (release func(), reason string) {
		quiesced++
		wantState(ctx, t, m, machine.Running)
		unquiet = "told so for " + name
		return func() {
			released++
			wantState(ctx, t, m, machine.Running)
		}, unquiet
	}
	saved, err := m.(drivers.Snapshotter).SaveSnapshot(ctx, name, []byte("note of "+name), quiesce)
	must(t, "SaveSnapshot", err)
	want := 0
	if running {
		want = 1
	}
	if quiesced != want || released != want {
		t.Errorf("SaveSnapshot: quiesce was called %d times and release %d times, want %d", quiesced, released, want)
	}
	if saved.Name != name || saved.Running != running || saved.Memory != running || string(saved.Note) != "note of "+name || saved.Created.IsZero() {
		t.Errorf("SaveSnapshot gave %+v, want name %q, running %t and a note", saved, name, running)
	}
	list, err := m.(drivers.Snapshotter).Snapshots(ctx)
	must(t, "Snapshots", err)
	for _, one := range append(list, saved) {
		if one.Name == name && one.Unquiet != unquiet {
			t.Errorf("the snapshot says %q of how quiet the guest was, want %q", one.Unquiet, unquiet)
		}
	}
	t.Logf("snapshot %s: %d MiB, frozen %s", name, saved.Bytes>>20, saved.Frozen)
}

// restore goes back to a snapshot of a machine that ran, and on from there.
func restore(ctx context.Context, t *testing.T, target Target, name string) {
	t.Helper()
	m := target.Fresh().Machine(target.Spec)
	must(t, "RestoreSnapshot", m.(drivers.Snapshotter).RestoreSnapshot(ctx, name))
	wantSuspended(ctx, t, m, true)
	must(t, "Resume", m.(drivers.Suspender).Resume(ctx))
	must(t, "wait for the restored guest", machine.Wait(ctx, m))
	if !target.Hollow {
		wantFile(ctx, t, m, memoryPath, name)
		wantFile(ctx, t, m, putPath, name)
	}
	must(t, "Put", m.Put(ctx, memoryPath, 0o600, strings.NewReader("after "+name)))
}

// ability returns the machine as one that has it, or ends the part.
func ability[T any](t *testing.T, m machine.Machine) T {
	t.Helper()
	able, ok := m.(T)
	if !ok {
		t.Skip("the driver's machines cannot do that")
	}
	return able
}

func wantSuspended(ctx context.Context, t *testing.T, m machine.Machine, want bool) {
	t.Helper()
	wantState(ctx, t, m, machine.Stopped)
	if got, err := m.(drivers.Suspender).Suspended(ctx); got != want || err != nil {
		t.Fatalf("the machine is suspended: got %t (%v), want %t", got, err, want)
	}
}

func wantSnapshots(ctx context.Context, t *testing.T, m machine.Machine, want ...string) {
	t.Helper()
	list, err := m.(drivers.Snapshotter).Snapshots(ctx)
	must(t, "Snapshots", err)
	var got []string
	for _, one := range list {
		got = append(got, one.Name)
		if one.Err != nil || string(one.Note) != "note of "+one.Name {
			t.Errorf("snapshot %+v: want the note of %s and no error", one, one.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the snapshots %q, want %q", got, want)
	}
}

func wantFile(ctx context.Context, t *testing.T, m machine.Machine, path, want string) {
	t.Helper()
	if got, err := m.Run(ctx, machine.Cmd{Args: []string{"cat", path}}); err != nil || string(got.Stdout) != want {
		t.Errorf("%s holds %q (%v), want %q", path, got.Stdout, err, want)
	}
}
