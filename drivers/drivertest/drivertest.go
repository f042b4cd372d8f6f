// Package drivertest holds drivers to the contract of drivers.Driver and machine.Machine. Every driver runs it in its own
// tests, the fake one included.
package drivertest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

// Target is a driver with a machine that does not exist yet.
type Target struct {
	Driver drivers.Driver
	// Spec describes the machine. Its folders exist. The suite gives it other names. Where CPUs is 0, or the address is
	// none, the driver does not decide about size or address.
	Spec machine.Spec
	// Fresh returns a driver as another process would have it, which knows nothing but the files.
	Fresh func() drivers.Driver
	// Crash ends the running machine without warning and returns when it has ended.
	Crash func(ctx context.Context, m machine.Machine) error
	// Hollow says that the guest's files are no part of its memory and disk, as where both are pretended.
	Hollow bool
	// Exists says that the machine is there whatever its state for the driver, so that commands always run on it,
	// and no technology knows all such machines.
	Exists bool
}

// limit bounds each part of the suite; a guest under emulation takes most of a minute to boot on a busy host.
const limit = 5 * time.Minute

// Run runs the suite. newTarget is called for each of its parts, which run one after the other; a part with two machines
// calls it twice. Guests have the programs that Guest answers for, or answer as it does. One part starts the test binary
// again with the running test alone and kills it, so newTarget is called in that process too.
func Run(t *testing.T, newTarget func(t *testing.T) Target) {
	t.Helper()
	if file := os.Getenv(controlVariable); file != "" {
		control(t, newTarget, file)
		return
	}
	shortest := func(spec *machine.Spec) { spec.Cluster, spec.Name = "a", "0" }
	longest := func(spec *machine.Spec) {
		spec.Cluster, spec.Name = "0"+strings.Repeat("-", 61)+"z", "a"+strings.Repeat("-9", 31)
	}
	usual := func(*machine.Spec) {}
	parts := []struct {
		name  string
		names func(*machine.Spec)
		run   func(context.Context, *testing.T, Target)
	}{
		{"create and delete", usual, createAndDelete},
		{"absent", usual, absent},
		{"cancelled creation leaves nothing", usual, cancelCreate},
		{"start and stop", shortest, startAndStop},
		{"recovers after a crash", usual, crash},
		{"outlives the process that started it", usual, outlive},
		{"commands and files", longest, commands},
		{"pause", usual, pause},
		{"grow", usual, grow},
		{"suspend and resume", longest, suspend},
		{"suspend and forget", usual, forget},
		{"suspend and move", usual, move},
		{"snapshots", shortest, snapshots},
	}
	run := func(name string, part func(ctx context.Context, t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			part(ctx, t)
		})
	}
	for _, part := range parts {
		run(part.name, func(ctx context.Context, t *testing.T) {
			target := newTarget(t)
			part.names(&target.Spec)
			defer cleanUp(ctx, t, target)
			part.run(ctx, t, target)
		})
	}
	run("two machines at once", func(ctx context.Context, t *testing.T) {
		one := newTarget(t)
		other := newTarget(t)
		other.Spec.Cluster += "-2"
		defer cleanUp(ctx, t, one)
		defer cleanUp(ctx, t, other)
		together(ctx, t, one, other)
	})
}

// cleanUp ends what a part that failed has left running.
func cleanUp(ctx context.Context, t *testing.T, target Target) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := target.Fresh().Machine(target.Spec).Delete(ctx); err != nil {
		t.Errorf("clean up: %v", err)
	}
}

func createAndDelete(ctx context.Context, t *testing.T, target Target) {
	before := listing(t, target.Spec)
	handle := target.Driver.Machine(target.Spec)
	wantState(ctx, t, handle, machine.Absent)
	if after := listing(t, target.Spec); !slices.Equal(before, after) {
		t.Errorf("asking for a handle and its state changed files from %q to %q", before, after)
	}
	for range 2 {
		made, err := target.Driver.Create(ctx, target.Spec)
		if err != nil {
			t.Fatalf("Create: %v", err)
		}
		if made.Name() != target.Spec.Name {
			t.Errorf("got a machine named %q, want %q", made.Name(), target.Spec.Name)
		}
		wantState(ctx, t, made, machine.Stopped)
		wantListed(ctx, t, target, machine.Stopped)
	}
	wantState(ctx, t, handle, machine.Stopped)
	wantState(ctx, t, target.Fresh().Machine(target.Spec), machine.Stopped)
	// That a machine exists already is asked of the disk, not remembered.
	if _, err := target.Fresh().Create(ctx, target.Spec); err != nil {
		t.Errorf("Create by another process: %v", err)
	}
	for range 2 {
		must(t, "Delete", handle.Delete(ctx))
		wantState(ctx, t, handle, machine.Absent)
		wantListed(ctx, t, target, machine.Absent)
	}
	if after := listing(t, target.Spec); !slices.Equal(before, after) {
		t.Errorf("before Create there were the files %q, after Delete %q", before, after)
	}
}

func absent(ctx context.Context, t *testing.T, target Target) {
	m := target.Driver.Machine(target.Spec)
	must(t, "Stop of an absent machine", m.Stop(ctx))
	must(t, "Delete of an absent machine", m.Delete(ctx))
	if err := m.Start(ctx); err == nil {
		t.Error("Start of an absent machine gave no error")
	}
	wantState(ctx, t, m, machine.Absent)
	gone := target.Spec
	gone.Dir, gone.RunDir = filepath.Join(gone.Dir, "none"), filepath.Join(gone.RunDir, "none")
	m = target.Driver.Machine(gone)
	wantState(ctx, t, m, machine.Absent)
	must(t, "Stop without folders", m.Stop(ctx))
	must(t, "Delete without folders", m.Delete(ctx))
}

func cancelCreate(ctx context.Context, t *testing.T, target Target) {
	before := listing(t, target.Spec)
	for looks := 0; ; looks += 1 + looks/8 {
		limited := endAfter(ctx, looks)
		m, err := target.Driver.Create(limited, target.Spec) //nolint:contextcheck // limited is made of ctx
		ended := limited.Context.Err() != nil
		limited.cancel()
		if err == nil {
			must(t, "Delete", m.Delete(ctx))
			if looks == 0 {
				t.Error("Create does not heed a ctx that was over before")
			}
			if !ended {
				break // it was through
			}
			continue // it was faster; that is no fault
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Create cancelled at look %d at ctx gave error %v, want one that wraps %v", looks, err, context.Canceled)
		}
		wantState(ctx, t, target.Fresh().Machine(target.Spec), machine.Absent)
		if left := listing(t, target.Spec); !slices.Equal(before, left) {
			t.Errorf("Create cancelled at look %d at ctx left the files %q, before there were %q", looks, left, before)
		}
	}
	if _, err := target.Driver.Create(ctx, target.Spec); err != nil {
		t.Errorf("Create after cancelled ones: %v", err)
	}
}

// countdown is a ctx that is cancelled when it is looked at for the last time, wherever in the driver that is.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   *atomic.Int64
}

// endAfter returns a ctx that can be looked at so often before it is cancelled.
func endAfter(ctx context.Context, looks int) countdown {
	ctx, cancel := context.WithCancel(ctx)
	c := countdown{ctx, cancel, new(atomic.Int64)}
	c.left.Store(int64(looks))
	if looks == 0 {
		cancel()
	}
	return c
}

func (c countdown) look() {
	if c.left.Add(-1) <= 0 {
		c.cancel()
	}
}

func (c countdown) Err() error {
	c.look()
	return c.Context.Err()
}

func (c countdown) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

func startAndStop(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	must(t, "Stop of a stopped machine", m.Stop(ctx))
	for range 2 {
		must(t, "Start", m.Start(ctx))
		wantState(ctx, t, m, machine.Running)
		wantListed(ctx, t, target, machine.Running)
	}
	other := target.Fresh().Machine(target.Spec)
	wantState(ctx, t, other, machine.Running)
	must(t, "Start of a running machine by another process", other.Start(ctx))
	for range 2 {
		must(t, "Stop by another process", other.Stop(ctx))
		wantState(ctx, t, m, machine.Stopped)
		wantListed(ctx, t, target, machine.Stopped)
	}
	must(t, "Start after Stop", m.Start(ctx))
	wantState(ctx, t, other, machine.Running)
	must(t, "Delete of a running machine by another process", other.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
	wantListed(ctx, t, target, machine.Absent)
}

func crash(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	must(t, "Start", m.Start(ctx))
	must(t, "Crash", target.Crash(ctx, m))
	wantState(ctx, t, m, machine.Stopped)
	wantListed(ctx, t, target, machine.Stopped)
	wantState(ctx, t, target.Fresh().Machine(target.Spec), machine.Stopped)
	must(t, "Stop after a crash", m.Stop(ctx))
	must(t, "Start after a crash", m.Start(ctx))
	wantState(ctx, t, m, machine.Running)
	must(t, "Crash", target.Crash(ctx, m))
	must(t, "Delete after a crash", m.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
}

// together brings two machines of two clusters up and down at the same time. Neither waits for its guest.
func together(ctx context.Context, t *testing.T, one, other Target) {
	targets := []Target{one, other}
	both := func(what string, do func(Target) error) {
		t.Helper()
		var group sync.WaitGroup
		problems := make([]error, len(targets))
		for i, target := range targets {
			group.Go(func() { problems[i] = do(target) })
		}
		group.Wait()
		must(t, what, errors.Join(problems...))
	}
	both("create two machines", func(target Target) error {
		_, err := target.Driver.Create(ctx, target.Spec)
		return err
	})
	both("start two machines", func(target Target) error { return target.Driver.Machine(target.Spec).Start(ctx) })
	for _, target := range targets {
		wantState(ctx, t, target.Driver.Machine(target.Spec), machine.Running)
		wantListed(ctx, t, target, machine.Running)
	}
	must(t, "Delete of the one", one.Driver.Machine(one.Spec).Delete(ctx))
	wantListed(ctx, t, one, machine.Absent)
	wantState(ctx, t, other.Driver.Machine(other.Spec), machine.Running)
	wantListed(ctx, t, other, machine.Running)
}

// create makes the machine that a part is about.
func create(ctx context.Context, t *testing.T, target Target) machine.Machine {
	t.Helper()
	m, err := target.Driver.Create(ctx, target.Spec)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return m
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func wantState(ctx context.Context, t *testing.T, m machine.Machine, want machine.State) {
	t.Helper()
	if got, err := m.State(ctx); got != want || err != nil {
		t.Fatalf("got state %s (%v), want %s", got, err, want)
	}
}

// wantListed looks how another process finds the machine without being told of it. One that does not run may be missing.
func wantListed(ctx context.Context, t *testing.T, target Target, want machine.State) {
	t.Helper()
	all, err := target.Fresh().Machines(ctx)
	must(t, "Machines", err)
	spec := target.Spec
	got := machine.Absent
	for _, one := range all {
		if one.Dir != spec.Dir {
			continue // of another test
		}
		if one.Cluster != spec.Cluster || one.Name != spec.Name || got != machine.Absent {
			t.Errorf("the machine %q of cluster %q is listed as %+v, among %+v", spec.Name, spec.Cluster, one, all)
		}
		got = one.State
	}
	if unlisted := got == machine.Absent && (want == machine.Stopped || target.Exists); got != want && !unlisted {
		t.Errorf("the machine is listed as %s, want %s", got, want)
	}
}

// listing returns the files in the machine's folders.
func listing(t *testing.T, spec machine.Spec) []string {
	t.Helper()
	var files []string
	for _, dir := range []string{spec.Dir, spec.RunDir} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			files = append(files, path)
			return err
		})
		must(t, "list files", err)
	}
	return files
}
