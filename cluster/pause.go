package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
)

// Pause halts the cluster's machine, which keeps its memory and uses no processor then. It reports whether it ran before.
// Nothing but Unpause and Start lets it go on: one that its agent has paused is not woken any more.
func (m *Manager) Pause(ctx context.Context, profile string, sink Sink) (paused bool, err error) {
	return m.halting(ctx, profile, machine.Running, Event{Step: "pause", Text: "Pause machine " + profile}, sink,
		func(vm machine.Machine, c Target) error {
			pauser, ok := vm.(drivers.Pauser)
			if !ok {
				return cannot("pause cluster "+profile, pauses, pausers)
			}
			err := pauser.Pause(ctx)
			if err == nil {
				return nil
			}
			back := m.tell(context.WithoutCancel(ctx), c.Config, c.Config.AutoPause.Duration())
			return wrap(fail.MachineFailed, errors.Join(err, back), "pause cluster %s", profile)
		})
}

// Unpause lets a paused machine go on, with its clock right. It reports whether it was paused.
func (m *Manager) Unpause(ctx context.Context, profile string, sink Sink) (unpaused bool, err error) {
	step := Event{Step: "unpause", Text: "Resume machine " + profile}
	return m.halting(ctx, profile, machine.Paused, step, sink, func(vm machine.Machine, c Target) error {
		if err := provision.CheckClock(profile, c.Files.PKI(), time.Now()); err != nil {
			return err
		}
		if err := wrap(fail.MachineFailed, vm.Start(ctx), "resume cluster %s", profile); err != nil {
			return err
		}
		err := rouse(ctx, m.Kubernetes, vm, c, func(string, int64, int64) {})
		if pauser, ok := vm.(drivers.Pauser); ok && (fail.Is(err, fail.ClockWrong) || fail.Is(err, fail.StateCorrupt)) {
			return errors.Join(err, m.tell(ctx, c.Config, 0), pauser.Pause(ctx)) // so that unpause sets its clock, once what is wrong on this host is right
		}
		if err != nil {
			return wrap(fail.MachineFailed, err, "set the clock of cluster %s", profile)
		}
		return m.tell(ctx, c.Config, c.Config.AutoPause.Duration())
	})
}

// halting does do, as one step, with a machine in state from. One that is paused and should be, or runs and should, is
// left as it is.
func (m *Manager) halting(ctx context.Context, profile string, from machine.State, step Event, sink Sink, do func(machine.Machine, Target) error) (done bool, err error) {
	c, release, err := m.hold(profile)
	if err != nil {
		return false, err
	}
	defer release()
	if from == machine.Running { // the agent lets the machine go before it is looked at: it might be about to wake it
		if err := m.tell(ctx, c, 0); err != nil {
			return false, err
		}
	}
	vm, _, err := m.machine(c)
	if err != nil {
		return false, err
	}
	state, err := vm.State(ctx)
	switch {
	case err != nil:
		return false, wrap(fail.MachineFailed, err, "look at the machine of cluster %s", profile)
	case state != from && (state == machine.Running || state == machine.Paused):
		return false, nil
	case state != from:
		return false, notRunning(profile, state)
	}
	step.Profile, step.Index, step.Steps = profile, 1, 1
	return true, inStep(step, sink, func() error { return do(vm, m.target(c)) })
}

// inStep does one thing and tells of its beginning and its end.
func inStep(step Event, sink Sink, do func() error) error {
	emit(sink, step, Began)
	if err := do(); err != nil {
		step.Err = err
		emit(sink, step, Failed)
		return err
	}
	emit(sink, step, Ended)
	return nil
}

// cannot is the error of a cluster whose driver lacks an ability; able names those that have it.
func cannot(op, what, able string) error {
	return fail.New(fail.DriverCannot, op, "its driver cannot %s", what).WithHint("Clusters of the driver %s can.", able)
}
