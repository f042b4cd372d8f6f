package cluster

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/skiff-k8s/skiff/cluster/spare"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// spareWait bounds the wait until a spare is usable. Nobody waits for it, and at the lowest priority it may take long.
const spareWait = 20 * time.Minute

// SpareOptions says which clusters a spare is to serve.
type SpareOptions struct {
	Wanted Wanted
	Force  bool // what the host lacks is no reason to refuse
	Asked  bool // by a user, who wants it kept for longer
	DryRun bool // plan and do nothing
}

// SpareBuilt is what BuildSpare did.
type SpareBuilt struct {
	Plan  Plan
	Name  string
	Built bool // false: there was one already
}

// BuildSpare makes a warm spare, unless one is there that serves: a cluster with an address, keys and tokens of its own, which
// is brought up to where it is usable and suspended there. When that fails or ctx ends, nothing of it stays; what a build
// leaves that is killed, the next command removes. There is one build at a time.
func (m *Manager) BuildSpare(ctx context.Context, o SpareOptions, sink Sink) (SpareBuilt, error) {
	name, err := spareName()
	if err != nil {
		return SpareBuilt{}, err
	}
	spares := m.spares()
	c, _, err := spares.settle(ctx, StartOptions{Profile: name, Wanted: o.Wanted, Force: o.Force})
	if err == nil {
		err = spares.canMove(ctx, c)
	}
	if err != nil {
		return SpareBuilt{}, ofSpare(err, name)
	}
	// Until a cluster has it, for whom it begins anew.
	c.AutoPause, c.HostAccess, c.InsecureRegistries = 0, config.HostAccess{}, nil
	run := &start{
		Manager: spares, options: StartOptions{Profile: name, WaitTimeout: spareWait}, config: c, files: spares.Home.Cluster(name), sink: sink,
	}
	if run.seen, err = spares.observe(ctx, c, false); err != nil {
		return SpareBuilt{}, ofSpare(err, name)
	}
	built := SpareBuilt{Plan: run.sparePlan(o.Asked), Name: name, Built: true}
	if o.DryRun {
		return built, nil
	}
	release, err := m.lockBuild()
	if held, ok := errors.AsType[*store.HeldError](err); ok {
		return SpareBuilt{}, busy(held)
	}
	if err != nil {
		return SpareBuilt{}, err
	}
	defer release()
	m.sweepSpares(ctx, sink)
	spares.sweepLocks()
	found, unlock, err := m.reserve(ctx, c, false, sink)
	if err != nil {
		return SpareBuilt{}, err
	}
	unlock()
	if found != nil {
		return SpareBuilt{Plan: Plan{Profile: found.name}, Name: found.name}, nil
	}
	return built, ofSpare(run.build(ctx, built.Plan), name)
}

// build does the plan under the spare's lock.
func (s *start) build(ctx context.Context, plan Plan) error {
	unlock, err := s.lock(plan.Profile)
	if err != nil {
		return err
	}
	defer unlock()
	err = Apply(ctx, plan, func(error) bool { return false }, s.sink)
	if _, gone := os.Lstat(s.files.Dir); gone != nil {
		err = errors.Join(err, s.forgetLock(plan.Profile))
	}
	return err
}

// canMove refuses a driver whose machines cannot be kept with their memory and moved.
func (m *Manager) canMove(ctx context.Context, c config.Cluster) error {
	vm, _, err := m.machine(c)
	if err != nil || moves(ctx, vm) {
		return err
	}
	return fail.New(fail.DriverCannot, "prepare a warm spare", "the machines of driver %s cannot be kept with their memory and moved", c.Driver).
		WithHint("Clusters of the driver qemu can, on Linux.")
}

// moves reports whether a machine can be kept with its memory on this host, and moved then.
func moves(ctx context.Context, vm machine.Machine) bool {
	_, suspends := vm.(drivers.Suspender)
	movable, moves := vm.(drivers.Movable)
	return suspends && moves && !errors.Is(movable.Fits(ctx), errors.ErrUnsupported)
}

// sparePlan makes a cluster from the beginning, as start does, and keeps it for later. It knows no Services and no context in
// the user's kubeconfig: nobody uses it yet.
func (s *start) sparePlan(asked bool) Plan {
	plan := Plan{Profile: s.config.Profile}
	plan.add(!s.seen.image, s.image())
	create := s.create()
	create.Undo = func(ctx context.Context) error { return s.discard(ctx, s.config.Profile) }
	plan.Steps = append(plan.Steps, create, s.agent(), s.boot(false, false))
	plan.add(s.large(), s.grow())
	plan.Steps = append(plan.Steps, s.kubernetes(), s.wait())
	for _, addon := range s.config.Addons {
		plan.Steps = append(plan.Steps, s.addon(addon))
	}
	plan.Steps = append(plan.Steps, s.keepSpare(asked))
	return plan
}

// keepSpare suspends the spare. The note that it is one comes last.
func (s *start) keepSpare(asked bool) Step {
	return Step{
		ID: "suspend", Text: "Suspend machine " + s.config.Profile, Why: "it waits until a start takes it",
		Do: func(ctx context.Context, _ Report) error {
			vm, suspender, err := s.suspender()
			if err != nil {
				return err
			}
			if err := s.suspendQuiet(ctx, vm, suspender, s.target(s.config)); err != nil {
				return wrap(fail.MachineFailed, err, "suspend warm spare %s", s.config.Profile)
			}
			if err := s.Agents.Stop(ctx, s.files.AgentSocket(), s.files.AgentConfig()); err != nil {
				return wrap(fail.AgentFailed, err, "end the agent of warm spare %s", s.config.Profile)
			}
			if err := os.RemoveAll(s.files.Run); err != nil {
				return err
			}
			note, err := spare.Note{Skiff: s.Version, Created: time.Now().UTC().Truncate(time.Second), Asked: asked}.Marshal()
			if err != nil {
				return err
			}
			return store.Write(s.files.Spare(), note, 0o600)
		},
	}
}
