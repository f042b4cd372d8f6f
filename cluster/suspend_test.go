package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// suspended expects a stopped cluster whose memory is kept, or is not.
func (w *world) suspended(want bool) {
	w.t.Helper()
	got, err := w.vm().(drivers.Suspender).Suspended(w.t.Context())
	if err != nil || got != want {
		w.t.Errorf("suspended: got %v and error %v, want %v", got, err, want)
	}
	if status := w.status(); status != "Stopped Stopped Stopped Configured" {
		w.t.Errorf("status: got %q, want a stopped cluster", status)
	}
}

// did returns the steps that were begun since the last call, and the warnings.
func (w *world) did() (steps, warnings string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var begun, warned []string
	for _, e := range w.events {
		switch e.Kind {
		case cluster.Began:
			begun = append(begun, e.Step)
		case cluster.Warning:
			warned = append(warned, e.Text)
		}
	}
	w.events = nil
	return strings.Join(begun, " "), strings.Join(warned, "\n")
}

func TestSuspend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	before := w.commands("kubeadm")
	for range 3 {
		w.stops()
		w.suspended(true)
		again, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink)
		if err != nil || again.Changed || !again.Suspended {
			t.Errorf("a second stop: got %+v and error %v, want nothing changed and the memory kept", again, err)
		}
		w.did()
		w.starts(w.options())
		if steps, warnings := w.did(); steps != "agent resume services wait" || warnings != "" {
			t.Errorf("start took the steps %q and warned %q", steps, warnings)
		}
		if got := w.status(); got != allWell {
			t.Errorf("status: got %q, want %q", got, allWell)
		}
	}
	if after := w.commands("kubeadm"); after != before || w.commands("wake") != 3 {
		t.Errorf("the guest ran kubeadm %d times and was woken %d times, want %d and 3", after, w.commands("wake"), before)
	}
}

// TestQuiet: Kubernetes stands still while memory is kept, and goes on where that fails.
func TestQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expect := func(when string, quiesced, released int) {
		t.Helper()
		if q, r := w.commands("quiesce"), w.commands("release"); q != quiesced || r != released {
			t.Errorf("%s: it was made to stand still %d times and to go on %d times, want %d and %d", when, q, r, quiesced, released)
		}
	}
	w.starts(w.options())
	w.saves("one")
	expect("a snapshot", 1, 1)
	w.stops()
	expect("stop", 2, 1)
	w.starts(w.options())
	w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Suspend: {Error: "no luck", Times: 1}}}
	w.stops()
	expect("a failed suspension", 3, 2)
	w.driver = fake.Options{}
	w.starts(w.options())
	w.breaks(clustertest.Fault{Point: "kubernetes.quiesce", How: "PROVISION_FAILED"})
	before := w.commands("sync") // that of the snapshot, which may have been quicker than it
	w.stops()
	w.suspended(true)
	if got := w.commands("sync") - before; got != 1 {
		t.Errorf("sync ran %d times in a guest that cannot stand still, want once", got)
	}
	w.breaks()
	w.starts(w.options())
	w.pauses()
	w.stops()
	expect("stop of a paused machine", 4, 2)
}

// TestUnquietSnapshot: a snapshot for which Kubernetes could not be made to stand still says so, later too.
func TestUnquietSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.saves("quiet")
	w.breaks(clustertest.Fault{Point: "kubernetes.quiesce", How: "PROVISION_FAILED"})
	w.saves("unquiet")
	w.breaks()
	w.killAgent()
	w.saves("no-agent")
	list, err := w.Snapshots(t.Context(), "dev")
	w.must(err)
	for i, want := range []string{"", "it was told to fail", "its agent has ended"} {
		if got := list[i].Unquiet; (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("snapshot %s: got %q, want %q", list[i].Name, got, want)
		}
	}
}

// TestSaysThatItIsAwake: a machine that says so itself is not asked over SSH, unless it lacks certificates.
func TestSaysThatItIsAwake(t *testing.T) {
	t.Parallel()
	for says, wakes := range map[string]int{"current": 0, "stale": 1, "": 1} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.AwakeGrace, w.Kubernetes = 100*time.Millisecond, clustertest.Kubernetes{Says: says}
			w.starts(w.options())
			w.stops()
			w.starts(w.options())
			if got := w.status(); got != allWell || w.commands("wake") != wakes {
				t.Errorf("got status %q and %d calls over SSH, want %q and %d", got, w.commands("wake"), allWell, wakes)
			}
		})
	}
}

// commands returns how often a command was run in the guest.
func (w *world) commands(name string) int {
	w.t.Helper()
	commands, err := w.vm().(*fake.Machine).Runner().Commands()
	w.must(err)
	count := 0
	for _, args := range commands {
		if args[0] == name {
			count++
		}
	}
	return count
}

// TestSuspendFails: what cannot be suspended is powered off, with a word.
func TestSuspendFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Suspend: {ID: fail.HostDiskFull, Error: "full"}}}
	w.did()
	stopped, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink)
	if err != nil || !stopped.Changed || stopped.Suspended {
		t.Errorf("stop: got %+v and error %v, want it powered off", stopped, err)
	}
	if _, warnings := w.did(); !strings.Contains(warnings, "cannot be kept") || !strings.Contains(warnings, "full") {
		t.Errorf("stop warned %q, want the reason", warnings)
	}
	w.suspended(false)
	w.starts(w.options())
}

// TestMoveFails: a machine that cannot be suspended to get into a new network boots again, and one line says why.
func TestMoveFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.killAgent()
	w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Suspend: {Error: "no\nluck"}}}
	w.did()
	w.starts(w.options())
	steps, warnings := w.did()
	if steps != "suspend agent resume services wait" || strings.Count(warnings, "\n") != 0 || !strings.Contains(warnings, "no; luck), so it boots again") {
		t.Errorf("start took the steps %q and warned %q, want one line", steps, warnings)
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// TestShutdown: no memory is saved, nor is one that was kept before.
func TestShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := cluster.StopOptions{Profile: "dev", Shutdown: true}
	w.starts(w.options())
	w.powersOffBy(o)
	w.suspended(false)
	w.starts(w.options())
	w.stops()
	w.suspended(true)
	w.powersOffBy(o)
	w.suspended(false)
	if again, err := w.Stop(t.Context(), o, w.sink); err != nil || again != (cluster.StopResult{}) {
		t.Errorf("a second stop: got %+v and error %v, want nothing done", again, err)
	}
	w.starts(w.options())
}

func TestSuspendInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Suspend: {Hang: true}}}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.Stop(ctx, cluster.StopOptions{Profile: "dev"}, func(e cluster.Event) {
		if e.Kind == cluster.Began && e.Step == "suspend" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stop: got error %v, want %v", err, context.Canceled)
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// TestColdInstead: a memory that is of no use costs a boot and a line, and nothing else.
func TestColdInstead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		driver fake.Options
		fault  string
	}{
		"does not fit":     {driver: fake.Options{Failures: map[fake.Op]fake.Failure{fake.Resume: {ID: fail.SnapshotMismatch, Error: "no luck"}}}},
		"does not answer":  {driver: fake.Options{Failures: map[fake.Op]fake.Failure{fake.Wait: {Error: "no luck", Times: 1}}}},
		"is not woken":     {fault: "kubernetes.wake"},
		"is lost half way": {driver: fake.Options{Failures: map[fake.Op]fake.Failure{fake.Resume: {Error: "no luck", When: fake.After}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.options())
			w.stops()
			driver := fake.New(test.driver) // one for the whole start, so that it counts failures
			w.Drivers = func(string) (drivers.Driver, error) { return driver, nil }
			if test.fault != "" {
				w.breaks(clustertest.Fault{Point: test.fault, How: "PROVISION_FAILED"})
			}
			w.did()
			w.starts(w.options())
			_, warnings := w.did()
			if strings.Count(warnings, "\n") != 0 || !strings.Contains(warnings, "boots from its disk") {
				t.Errorf("start warned %q, want one line that says that it boots", warnings)
			}
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
			if w.commands("kubeadm") != 2 {
				t.Errorf("Kubernetes was brought up %d times, want 2", w.commands("kubeadm"))
			}
		})
	}
}

// dying is a Kubernetes whose machine ends, for the first times, when something is waited for, and of which nothing comes then.
type dying struct {
	clustertest.Kubernetes
	vm    func() machine.Machine
	times *atomic.Int32
}

func (d dying) die(ctx context.Context) error {
	if err := d.vm().(*fake.Machine).Crash(); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (d dying) Wait(ctx context.Context, m machine.Runner, c cluster.Target, report cluster.Report) error {
	if d.times.Add(-1) >= 0 {
		return d.die(ctx)
	}
	return d.Kubernetes.Wait(ctx, m, c, report)
}

func (d dying) Wake(ctx context.Context, m machine.Runner, c cluster.Target, report cluster.Report) error {
	if d.times.Add(-1) >= 0 {
		return d.die(ctx)
	}
	return d.Kubernetes.Wake(ctx, m, c, report)
}

// TestEndsWhileItIsWaitedFor: of a machine that has ended nothing is waited for; one that was resumed boots, twice if need be.
func TestEndsWhileItIsWaitedFor(t *testing.T) {
	t.Parallel()
	for times := range 3 {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.options())
			w.stops()
			dies := new(atomic.Int32)
			dies.Store(int32(times))
			w.Kubernetes = dying{Kubernetes: clustertest.Kubernetes{}, vm: w.vm, times: dies}
			w.did()
			_, err := w.Start(t.Context(), w.options(), w.sink)
			_, warnings := w.did()
			if boots := strings.Contains(warnings, "its machine has ended), so it boots from its disk"); boots != (times > 0) {
				t.Errorf("start warned %q, want that it boots: %t", warnings, times > 0)
			}
			if times > 1 {
				failed, ok := errors.AsType[*fail.Error](err)
				if !ok || failed.ID != fail.MachineFailed || failed.Next != "skiff start -p dev" {
					t.Fatalf("got error %+v, want %s and what mends it", err, fail.MachineFailed)
				}
				_, err = w.Start(t.Context(), w.options(), w.sink)
			}
			if err != nil {
				t.Errorf("start: %v", err)
			}
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
		})
	}
}

// lonely is a Kubernetes whose agent ends when the cluster is waited for.
type lonely struct {
	clustertest.Kubernetes
	agent string
}

func (l lonely) Wait(ctx context.Context, _ machine.Runner, _ cluster.Target, _ cluster.Report) error {
	if err := os.Remove(l.agent); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestAgentEndsWhileItIsWaitedFor: the memory is kept again, and nothing boots.
func TestAgentEndsWhileItIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.stops()
	w.Kubernetes = lonely{agent: w.Home.Cluster("dev").AgentSocket()}
	_, err := w.Start(t.Context(), w.options(), w.sink)
	failed, ok := errors.AsType[*fail.Error](err)
	if !ok || failed.ID != fail.AgentFailed || failed.Next != "skiff start -p dev" {
		t.Errorf("got error %+v, want %s and what mends it", err, fail.AgentFailed)
	}
	w.suspended(true)
	w.Kubernetes = clustertest.Kubernetes{}
	w.did()
	w.starts(w.options())
	if _, warnings := w.did(); strings.Contains(warnings, "boots") {
		t.Errorf("start warned %q, want that it goes on", warnings)
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// TestResizedWhileSuspended: a machine of another size cannot go on from its memory.
func TestResizedWhileSuspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.stops()
	o := w.options()
	o.Wanted.CPUs = new(4)
	w.did()
	w.starts(o)
	if steps, _ := w.did(); !strings.Contains(steps, "boot") || strings.Contains(steps, "resume") {
		t.Errorf("start took the steps %q, want a boot", steps)
	}
}

// TestResumeInterrupted: the memory is kept again.
func TestResumeInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.stops()
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := w.Start(ctx, w.options(), func(e cluster.Event) {
		if e.Kind == cluster.Ended && e.Step == "resume" {
			cancel(errors.New("told to"))
		}
	})
	if !fail.Is(err, fail.Interrupted) {
		t.Errorf("start: got error %v, want %s", err, fail.Interrupted)
	}
	w.suspended(true)
	w.starts(w.options())
}

func TestPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.Pause(t.Context(), "dev", w.sink); !fail.Is(err, fail.ClusterNotFound) {
		t.Errorf("pause without a cluster: got error %v, want %s", err, fail.ClusterNotFound)
	}
	w.starts(w.options())
	if changed, err := w.Unpause(t.Context(), "dev", w.sink); changed || err != nil {
		t.Errorf("unpause of a running cluster: got %v and error %v, want false", changed, err)
	}
	w.pauses()
	if got := w.status(); got != "Paused Paused Paused Configured" {
		t.Errorf("status: got %q, want a paused cluster", got)
	}
	if changed, err := w.Pause(t.Context(), "dev", w.sink); changed || err != nil {
		t.Errorf("a second pause: got %v and error %v, want false", changed, err)
	}
	if _, err := w.Machine(t.Context(), "dev"); !fail.Is(err, fail.ClusterNotRunning) || !strings.Contains(err.Error(), "paused") {
		t.Errorf("use of a paused cluster: got error %v, want one that says so", err)
	}
	if changed, err := w.Unpause(t.Context(), "dev", w.sink); !changed || err != nil || w.status() != allWell {
		t.Errorf("unpause: got %v and error %v, status %q", changed, err, w.status())
	}
	if w.commands("wake") != 1 {
		t.Errorf("the machine was woken %d times, want once", w.commands("wake"))
	}
	w.pauses()
	w.stops()
	w.suspended(true)
	if _, err := w.Unpause(t.Context(), "dev", w.sink); !fail.Is(err, fail.ClusterNotRunning) {
		t.Errorf("unpause of a stopped cluster: got error %v, want %s", err, fail.ClusterNotRunning)
	}
	w.starts(w.options())
}

func TestPlainDriver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver.Plain = true
	w.starts(w.options())
	for name, do := range map[string]func() error{
		"pause": func() error { _, err := w.Pause(t.Context(), "dev", w.sink); return err },
		"save": func() error {
			_, err := w.SaveSnapshot(t.Context(), cluster.SaveOptions{Profile: "dev"}, w.sink)
			return err
		},
		"list": func() error { _, err := w.Snapshots(t.Context(), "dev"); return err },
	} {
		if err := do(); !fail.Is(err, fail.DriverCannot) {
			t.Errorf("%s: got error %v, want %s", name, err, fail.DriverCannot)
		}
	}
	w.powersOffBy(cluster.StopOptions{Profile: "dev"})
	w.starts(w.options())
}

// powersOffBy stops, and expects that no memory is saved.
func (w *world) powersOffBy(o cluster.StopOptions) {
	w.t.Helper()
	stopped, err := w.Stop(w.t.Context(), o, w.sink)
	if err != nil || !stopped.Changed || stopped.Suspended {
		w.t.Errorf("stop: got %+v and error %v, want it powered off", stopped, err)
	}
}

func (w *world) saves(name string) cluster.Snapshot {
	w.t.Helper()
	saved, err := w.SaveSnapshot(w.t.Context(), cluster.SaveOptions{Profile: "dev", Name: name, Description: "about " + name}, w.sink)
	if err != nil {
		w.t.Fatalf("save %s: %v", name, err)
	}
	return saved
}

func (w *world) restores(name string) {
	w.t.Helper()
	if _, err := w.RestoreSnapshot(w.t.Context(), cluster.RestoreOptions{Profile: "dev", Name: name}, w.sink); err != nil {
		w.t.Fatalf("restore %s: %v", name, err)
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	one := w.saves("one")
	if one.Name != "one" || !one.Running || one.Size == 0 || one.KubernetesVersion != cluster.KubernetesVersion || one.Description != "about one" {
		t.Errorf("save: got %+v", one)
	}
	if unnamed, err := w.SaveSnapshot(t.Context(), cluster.SaveOptions{Profile: "dev"}, w.sink); err != nil || cluster.ValidateSnapshot(unnamed.Name) != nil {
		t.Errorf("save without a name: got %+v and error %v", unnamed, err)
	}
	o := w.options()
	o.Wanted.CPUs, o.Wanted.Addons = new(4), []string{"ingress"}
	w.starts(o)
	w.stops()
	w.saves("two")
	w.did()
	w.restores("one")
	if steps, warnings := w.did(); steps != "restore agent resume services wait" || warnings != "" {
		t.Errorf("restore took the steps %q and warned %q", steps, warnings)
	}
	if c, err := w.Load("dev"); err != nil || c.CPUs == 4 || slices.Contains(c.Addons, "ingress") || w.status() != allWell {
		t.Errorf("after the restore: got %+v (%v) and status %q, want the cluster of then", c, err, w.status())
	}
	w.restores("two") // it did not run then
	w.suspended(true)
	if c, err := w.Load("dev"); err != nil || c.CPUs != 4 || !slices.Contains(c.Addons, "ingress") {
		t.Errorf("after the second restore: got %+v (%v), want the cluster of then", c, err)
	}
	w.starts(w.options())
	w.must(w.DeleteSnapshot(t.Context(), "dev", "one", w.sink))
	list, err := w.Snapshots(t.Context(), "dev")
	if err != nil || len(list) != 2 || list[1].Name != "two" || list[1].Running {
		t.Errorf("list: got %+v and error %v, want two", list, err)
	}
}

func TestSnapshotRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.saves("one")
	save := func(name string) error {
		_, err := w.SaveSnapshot(t.Context(), cluster.SaveOptions{Profile: "dev", Name: name}, w.sink)
		return err
	}
	restore := func(name string) error {
		_, err := w.RestoreSnapshot(t.Context(), cluster.RestoreOptions{Profile: "dev", Name: name}, w.sink)
		return err
	}
	for _, test := range []struct {
		name string
		err  error
		id   fail.ID
	}{
		{"taken", save("one"), fail.SnapshotExists},
		{"a path", save("../x"), fail.FlagInvalid},
		{"a part", save("x.part"), fail.FlagInvalid},
		{"an option", save("-x"), fail.FlagInvalid},
		{"restore of none", restore("two"), fail.SnapshotNotFound},
		{"delete of none", w.DeleteSnapshot(t.Context(), "dev", "two", w.sink), fail.SnapshotNotFound},
	} {
		if !fail.Is(test.err, test.id) {
			t.Errorf("%s: got error %v, want %s", test.name, test.err, test.id)
		}
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// mortal is a Kubernetes whose machine ends when it is to stand still.
type mortal struct{ clustertest.Kubernetes }

func (mortal) Quiesce(_ context.Context, m machine.Runner, _ cluster.Target) (release func(), err error) {
	return func() {}, m.(*fake.Machine).Crash()
}

func TestMachineEndsInSave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.Kubernetes, w.driver = mortal{}, fake.Options{Failures: map[fake.Op]fake.Failure{fake.SaveSnapshot: {}}}
	_, err := w.SaveSnapshot(t.Context(), cluster.SaveOptions{Profile: "dev", Name: "one"}, w.sink)
	failed, ok := errors.AsType[*fail.Error](err)
	if !ok || failed.ID != fail.MachineFailed || failed.Next != "skiff start -p dev" {
		t.Errorf("got error %+v, want %s and the command that mends it", failed, fail.MachineFailed)
	}
	w.Kubernetes = clustertest.Kubernetes{}
	_, err = w.SaveSnapshot(t.Context(), cluster.SaveOptions{Profile: "dev", Name: "one"}, w.sink)
	if failed, ok := errors.AsType[*fail.Error](err); !ok || failed.Next != "" {
		t.Errorf("of a machine that was stopped before: got error %+v, want no word of its end", failed)
	}
	w.driver = fake.Options{}
	w.starts(w.options())
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// TestRestoreHalfWay: what a restore leaves that was cut off can be used.
func TestRestoreHalfWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.saves("one")
	w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.RestoreSnapshot: {When: fake.Half}}}
	if _, err := w.RestoreSnapshot(t.Context(), cluster.RestoreOptions{Profile: "dev", Name: "one"}, w.sink); err == nil {
		t.Error("restore gave no error")
	}
	w.driver = fake.Options{}
	w.starts(w.options())
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
	w.restores("one")
}

// TestRunFolderLost: the folder of sockets does not outlive a reboot of the host; a kept memory does.
func TestRunFolderLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.stops()
	w.must(os.RemoveAll(w.Home.Run))
	w.did()
	w.starts(w.options())
	if steps, _ := w.did(); !strings.Contains(steps, "resume") {
		t.Errorf("start took the steps %q, want a resume", steps)
	}
}
