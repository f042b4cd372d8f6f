package cluster_test

import (
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// losesControl removes, as it were, the control socket of the machine while that runs.
func (w *world) losesControl() {
	w.t.Helper()
	w.must(w.vm().(*fake.Machine).LoseControl())
}

// console returns what was done to the machine's power, oldest first.
func (w *world) console() string {
	w.t.Helper()
	log, err := os.ReadFile(w.vm().(*fake.Machine).ConsoleLog())
	w.must(err)
	return strings.ReplaceAll(strings.TrimSpace(string(log)), "machine is ", "")
}

// TestUncontrolledIsSaid: a machine that obeys nothing any more is told of, with the command that restarts it, and nobody takes it for
// one that can be used.
func TestUncontrolledIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.losesControl()
	status, err := w.Status(t.Context(), "dev")
	if err != nil || status.Host != "Error" || !strings.Contains(status.Note, "control socket") || !strings.Contains(status.Note, "skiff start -p dev") {
		t.Errorf("Status: got %+v and %v, want the reason and the command", status, err)
	}
	if _, err := w.Machine(t.Context(), "dev"); !fail.Is(err, fail.ClusterNotRunning) || advised(err) == "" || !strings.Contains(advised(err), "skiff start -p dev") {
		t.Errorf("Machine: got error %v with advice %q, want %s with the command", err, advised(err), fail.ClusterNotRunning)
	}
	if got := w.console(); got != "Running" {
		t.Errorf("the machine was %q, want it left alone", got)
	}
}

// TestStartOfUncontrolled: it is powered off, while the agent is there through which the guest is asked, and boots.
func TestStartOfUncontrolled(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]func(*world){
		"machine": func(*world) {}, "machine and agent": (*world).killAgent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.starts(w.options()).Config
			lost(w)
			w.losesControl()
			w.did()
			started := w.starts(w.options())
			steps, warnings := w.did()
			if !strings.HasPrefix(steps, "poweroff ") || !strings.Contains(steps, "boot") || warnings != "" {
				t.Errorf("the steps were %q with warnings %q, want poweroff first, then boot, and none", steps, warnings)
			}
			if got, want := w.console(), "Running\nStopped\nRunning"; got != want {
				t.Errorf("the machine was %q, want %q", got, want)
			}
			if started.Config.Address != before.Address || w.status() != allWell {
				t.Errorf("got address %s and status %q, want %s and %q", started.Config.Address, w.status(), before.Address, allWell)
			}
		})
	}
}

// TestStopOfUncontrolled: its memory cannot be kept, so it is powered off, and starts again.
func TestStopOfUncontrolled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.losesControl()
	w.did()
	result, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink)
	if err != nil || !result.Changed || result.Suspended {
		t.Errorf("Stop: got %+v and %v, want it powered off", result, err)
	}
	if _, warnings := w.did(); !strings.Contains(warnings, machine.ErrUncontrolled.Error()) {
		t.Errorf("it warned %q, want why the memory is not kept", warnings)
	}
	w.suspended(false)
	w.starts(w.options())
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// TestDeleteOfUncontrolled: nothing of it is left.
func TestDeleteOfUncontrolled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.losesControl()
	w.deletes()
	w.gone()
}
