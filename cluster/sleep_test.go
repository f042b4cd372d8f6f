package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// pausing are options with --auto-pause.
func (w *world) pausing(limit time.Duration) cluster.StartOptions {
	o := w.options()
	o.Wanted.AutoPause = &limit
	return o
}

// sleeps starts a cluster and pauses it as its agent does. What wakes it is the agent, as a real one.
func (w *world) sleeps() {
	w.t.Helper()
	w.Agents = clustertest.Agents{Woken: w.hands().Thaw}
	w.starts(w.pausing(30 * time.Minute))
	frozen, err := w.hands().Freeze(w.t.Context())
	if err != nil || !frozen {
		w.t.Fatalf("freeze: got %v and error %v, want true", frozen, err)
	}
	w.must(clustertest.Agents{}.Sleep(w.t.Context(), w.Home.Cluster("dev").AgentSocket()))
}

func (w *world) hands() cluster.Hands {
	runner := fake.NewRunner(w.t.TempDir(), nil)
	return cluster.Hands{Manager: w.Manager, Profile: "dev", Runner: func(machine.SSH) cluster.Reached { return open{runner} }}
}

// open is a Runner that needs no closing.
type open struct{ *fake.Runner }

func (open) Close() error { return nil }

func (w *world) wantState(want machine.State) {
	w.t.Helper()
	if got, err := w.vm().State(w.t.Context()); err != nil || got != want {
		w.t.Errorf("the machine is %s (%v), want %s", got, err, want)
	}
}

func TestHands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	runner := fake.NewRunner(t.TempDir(), nil)
	h := w.hands()
	h.Runner = func(machine.SSH) cluster.Reached { return open{runner} }
	if frozen, err := h.Freeze(t.Context()); err != nil || !frozen {
		t.Errorf("Freeze: got %v and error %v, want true", frozen, err)
	}
	w.wantState(machine.Paused)
	if frozen, err := h.Freeze(t.Context()); err != nil || frozen {
		t.Errorf("Freeze of a machine that is paused: got %v and error %v, want false: it is not ours to wake", frozen, err)
	}
	for range 2 {
		w.must(h.Thaw(t.Context()))
		w.wantState(machine.Running)
	}
	w.must(h.Settle(t.Context()))
	if commands, err := runner.Commands(); err != nil || len(commands) != 2 || commands[1][0] != "wake" {
		t.Errorf("Settle ran %v (%v), want it to look whether the guest answers and to wake it", commands, err)
	}
	w.stops()
	if err := h.Thaw(t.Context()); err == nil {
		t.Error("Thaw of a stopped machine gave no error")
	}
	w.suspended(true) // and it was not booted
	if frozen, err := h.Freeze(t.Context()); err != nil || frozen {
		t.Errorf("Freeze of a stopped machine: got %v and error %v, want false", frozen, err)
	}
}

// TestFreezeThatIsCutOff: a machine that is paused nevertheless is known for it, else it would hang whoever comes.
func TestFreezeThatIsCutOff(t *testing.T) {
	t.Parallel()
	for when, want := range map[fake.When]bool{fake.Before: false, fake.After: true} {
		w := newWorld(t)
		w.starts(w.options())
		w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Pause: {When: when, Error: "cut off"}}}
		if frozen, err := w.hands().Freeze(t.Context()); err == nil || frozen != want {
			t.Errorf("Freeze that fails %q: got %v and error %v, want %v and an error", when, frozen, err, want)
		}
	}
}

func TestAsleep(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	asleep := map[string]func(w *world) error{ // what leaves it asleep
		"status": func(w *world) error {
			status, err := w.Status(ctx, "dev")
			if status.Host != "Paused" || status.APIServer != "Paused" || !strings.Contains(status.Note, "for 30m, so it is paused") {
				err = errors.Join(err, errors.New(status.Note))
			}
			return err
		},
		"ip":           func(w *world) error { _, err := w.Address(ctx, "dev"); return err },
		"profile list": func(w *world) error { _, err := w.List(ctx, true); return err },
		"addons list":  func(w *world) error { _, err := w.Addons(ctx, "dev"); return err },
		"tunnel":       func(w *world) error { _, err := w.Published(ctx, "dev"); return err },
		"snapshot save": func(w *world) error {
			_, err := w.SaveSnapshot(ctx, cluster.SaveOptions{Profile: "dev", Name: "x"}, w.sink)
			return err
		},
		"a plan": func(w *world) error {
			o := w.options()
			o.DryRun = true
			_, err := w.Start(ctx, o, w.sink)
			return err
		},
	}
	awake := map[string]func(w *world) error{ // what wakes it
		"ssh":           func(w *world) error { _, err := w.SSH(ctx, "dev"); return err },
		"a command":     func(w *world) error { _, err := w.Machine(ctx, "dev"); return err },
		"kubectl":       func(w *world) error { _, _, err := w.Kubectl(ctx, "dev"); return err },
		"logs":          func(w *world) error { _, _, err := w.Logs(ctx, "dev"); return err },
		"addons enable": func(w *world) error { return w.EnableAddon(ctx, "dev", "ingress", w.sink) },
		"unpause":       func(w *world) error { _, err := w.Unpause(ctx, "dev", w.sink); return err },
		"start":         func(w *world) error { _, err := w.Start(ctx, w.options(), w.sink); return err },
	}
	for want, all := range map[machine.State]map[string]func(*world) error{machine.Paused: asleep, machine.Running: awake} {
		for name, do := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.sleeps()
				if err := do(w); err != nil {
					t.Errorf("got error %v, want none", err)
				}
				w.wantState(want)
			})
		}
	}
}

func TestAsleepEnds(t *testing.T) {
	t.Parallel()
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sleeps()
		w.stops()
		w.suspended(true)
		w.starts(w.options())
		w.wantState(machine.Running)
	})
	t.Run("stop --shutdown", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sleeps()
		w.powersOff()
		w.suspended(false)
	})
	t.Run("delete", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sleeps()
		w.deletes()
		w.gone()
	})
	t.Run("kill -9 of the agent", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sleeps()
		w.killAgent()
		if _, err := w.Machine(t.Context(), "dev"); !fail.Is(err, fail.ClusterNotRunning) {
			t.Errorf("a command: got error %v, want %s", err, fail.ClusterNotRunning)
		}
		w.starts(w.options())
		if got := w.status(); got != allWell {
			t.Errorf("status: got %q, want %q", got, allWell)
		}
		if got := w.told(); got != 30*time.Minute {
			t.Errorf("the new agent pauses after %s, want 30m", got)
		}
	})
}

// told is after how long the agent pauses the machine.
func (w *world) told() time.Duration {
	w.t.Helper()
	status, err := w.Agents.Status(w.t.Context(), w.Home.Cluster("dev").AgentSocket())
	w.must(err)
	return status.AutoPause
}

// TestTroubleOfAWakingIsTold: what an agent met while it resumed the machine by itself, such as a wrong clock, is not in its log alone.
func TestTroubleOfAWakingIsTold(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*world){
		"asleep":  (*world).sleeps,
		"running": func(w *world) { w.starts(w.pausing(30 * time.Minute)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before(w)
			w.must(clustertest.Agents{}.Trouble(t.Context(), w.Home.Cluster("dev").AgentSocket(), "the clock is wrong"))
			status, err := w.Status(t.Context(), "dev")
			if err != nil || !strings.Contains(status.Note, "the clock is wrong") || !strings.Contains(status.Note, "skiff start -p dev") {
				t.Errorf("status says %q (%v), want the trouble and the next command", status.Note, err)
			}
		})
	}
}

// TestPauseByHand: who asks for a pause gets one that lasts until it is taken back.
func TestPauseByHand(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*world){
		"running": func(w *world) { w.starts(w.pausing(30 * time.Minute)) },
		"asleep":  (*world).sleeps,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before(w)
			if _, err := w.Pause(t.Context(), "dev", w.sink); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Machine(t.Context(), "dev"); !fail.Is(err, fail.ClusterNotRunning) || !strings.Contains(err.Error(), "paused") {
				t.Errorf("a command: got error %v, want %s", err, fail.ClusterNotRunning)
			}
			w.wantState(machine.Paused)
			if status, _ := w.Status(t.Context(), "dev"); !strings.Contains(status.Note, "skiff unpause") {
				t.Errorf("status says %q, want how it goes on", status.Note)
			}
			if got := w.told(); got != 0 {
				t.Errorf("its agent pauses it after %s, want never", got)
			}
			if _, err := w.Unpause(t.Context(), "dev", w.sink); err != nil {
				t.Fatal(err)
			}
			w.wantState(machine.Running)
			if got := w.told(); got != 30*time.Minute {
				t.Errorf("after unpause its agent pauses it after %s, want 30m", got)
			}
		})
	}
}

// TestPauseFails: a machine that could not be paused by hand is still paused when nobody asks anything.
func TestPauseFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.pausing(30 * time.Minute))
	w.driver = failing(fake.Pause)
	if _, err := w.Pause(t.Context(), "dev", w.sink); !fail.Is(err, fail.MachineFailed) {
		t.Errorf("pause: got error %v, want %s", err, fail.MachineFailed)
	}
	if got := w.told(); got != 30*time.Minute {
		t.Errorf("its agent pauses it after %s, want 30m", got)
	}
}

func TestAutoPauseIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	for _, limit := range []time.Duration{time.Hour, 2 * time.Hour, 0} {
		w.did()
		w.starts(w.pausing(limit))
		if steps, _ := w.did(); steps != "auto-pause" || w.told() != limit {
			t.Errorf("start took the steps %q, and the agent pauses after %s; want auto-pause and %s", steps, w.told(), limit)
		}
		w.starts(w.options()) // it is remembered
		if steps, _ := w.did(); steps != "" {
			t.Errorf("another start took the steps %q, want none", steps)
		}
	}
	w.stops()
	w.starts(w.pausing(time.Hour))
	if got := w.told(); got != time.Hour {
		t.Errorf("a new agent pauses after %s, want 1h", got)
	}
}

func TestAutoPauseIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver.Plain = true
	w.fails(w.pausing(time.Hour), fail.DriverCannot)
	if got := w.status(); got != absent {
		t.Errorf("status: got %q, want %q", got, absent)
	}
	w = newWorld(t)
	w.Drivers = func(string) (drivers.Driver, error) { return joining{fake.New(w.driver)}, nil }
	o := w.pausing(time.Hour)
	o.Wanted.Network = new("lab")
	w.fails(o, fail.FlagInvalid)
}

// joining is a driver whose machines join networks.
type joining struct{ *fake.Driver }

func (j joining) With(drivers.Settings) (drivers.Driver, error) { return j, nil }

var _ drivers.Configurable = joining{}

// TestWakeFails: the reason is told, and the cluster is as it was.
func TestWakeFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sleeps()
	w.Agents = clustertest.Agents{Woken: func(context.Context) error { return errors.New("no bed") }}
	if _, err := w.Machine(t.Context(), "dev"); !fail.Is(err, fail.MachineFailed) || !strings.Contains(err.Error(), "no bed") {
		t.Errorf("a command: got error %v, want %s with the reason", err, fail.MachineFailed)
	}
	w.wantState(machine.Paused)
}
