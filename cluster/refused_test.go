package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
)

// TestRefusedResumeKeepsTheMemory: what is wrong on this host, and not with the memory, must not cost the memory.
func TestRefusedResumeKeepsTheMemory(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"kubernetes.wake", "kubernetes.wait"} {
		for _, id := range []fail.ID{fail.StateCorrupt, fail.ClockWrong} {
			t.Run(point+" "+string(id), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.starts(w.options())
				w.stops()
				before := w.commands("kubeadm")
				for range 2 {
					w.breaks(clustertest.Fault{Point: point, How: string(id)})
					w.fails(w.options(), id)
					w.suspended(true)
				}
				w.breaks()
				w.did()
				w.starts(w.options())
				if steps, warnings := w.did(); steps != "agent resume services wait" || warnings != "" || w.commands("kubeadm") != before {
					t.Errorf("after the repair start took the steps %q and warned %q, want it resumed", steps, warnings)
				}
				if got := w.status(); got != allWell {
					t.Errorf("status: got %q, want %q", got, allWell)
				}
			})
		}
	}
}

// TestRefusedWakeLeavesItPaused: a machine whose clock could not be set must not run on as if it were right.
func TestRefusedWakeLeavesItPaused(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*world) error{
		"start":   func(w *world) error { _, err := w.Start(w.t.Context(), w.options(), w.sink); return err },
		"unpause": func(w *world) error { _, err := w.Unpause(w.t.Context(), "dev", w.sink); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.pausing(time.Hour))
			w.pauses()
			w.breaks(clustertest.Fault{Point: "kubernetes.wake", How: string(fail.StateCorrupt)})
			if err := do(w); !fail.Is(err, fail.StateCorrupt) {
				t.Errorf("got error %v, want %s", err, fail.StateCorrupt)
			}
			w.wantState(machine.Paused)
			w.breaks()
			wakes := w.commands("wake")
			w.must(do(w))
			w.wantState(machine.Running)
			if got := w.commands("wake") - wakes; got != 1 {
				t.Errorf("the machine was woken %d times, want once", got)
			}
		})
	}
}

// later gives cluster dev authorities that begin a week from now: its clock is behind.
func (w *world) later() {
	w.t.Helper()
	c, err := w.Load("dev")
	w.must(err)
	_, err = provision.EnsurePKI(w.Home.Cluster("dev").PKI(), provision.NewConfig("dev", c.Address), time.Now().Add(7*24*time.Hour))
	w.must(err)
}

// TestWrongClockWakesNothing: no caller resumes the machine before the clock was looked at.
func TestWrongClockWakesNothing(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*world) error{
		"agent":   func(w *world) error { return w.hands().Thaw(w.t.Context()) },
		"start":   func(w *world) error { _, err := w.Start(w.t.Context(), w.options(), w.sink); return err },
		"unpause": func(w *world) error { _, err := w.Unpause(w.t.Context(), "dev", w.sink); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sleeps()
			w.later()
			w.driver.Failures = map[fake.Op]fake.Failure{fake.Unpause: {Error: "it was resumed"}, fake.Start: {Error: "it was resumed"}}
			if err := do(w); !fail.Is(err, fail.ClockWrong) {
				t.Errorf("got error %v, want %s", err, fail.ClockWrong)
			}
			w.wantState(machine.Paused)
		})
	}
}

// TestImpossibleClock: authorities that were made with such a clock would be over when it is right. The clock of a bubble of
// synctest says the year 2000.
func TestImpossibleClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.Start(t.Context(), w.options(), w.sink)
		known, ok := errors.AsType[*fail.Error](err)
		if !ok || known.ID != fail.ClockWrong || known.Next == "" || !strings.Contains(err.Error(), "2000-01-01") {
			t.Errorf("got error %v, want %s with the time and the command that sets it", err, fail.ClockWrong)
		}
		if got := w.status(); got != absent {
			t.Errorf("status: got %q, want %q", got, absent)
		}
	})
}

// TestClockBehindFiles: such a clock may be right, so start continues, and says so.
func TestClockBehindFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	later := time.Now().Add(48 * time.Hour)
	w.must(os.Chtimes(filepath.Join(w.Built, images.ManifestName), later, later))
	w.starts(w.options())
	_, warnings := w.did()
	if !strings.Contains(warnings, later.Format(time.DateTime)) || !strings.Contains(warnings, images.ManifestName) {
		t.Errorf("start warned %q, want both times and the file", warnings)
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}
