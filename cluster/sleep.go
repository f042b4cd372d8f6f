package cluster

import (
	"context"
	"io"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/sleep"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
)

// Hands are the agent's on the machine of its cluster: with them it pauses a machine of which nobody asks anything, and wakes
// it. They take no lock of the cluster: a command may hold it that waits for the machine to be woken. The driver's own
// lock keeps them from a machine that is being saved, stopped or deleted.
type Hands struct {
	*Manager
	Profile string
	// Runner reaches the machine past the ports that the agent publishes; those would wait for the machine to be awake.
	Runner func(machine.SSH) Reached
}

// Reached is a Runner with a connection of its own.
type Reached interface {
	machine.Runner
	io.Closer
}

var (
	_ sleep.Machine = Hands{}
	_ agent.Loader  = Hands{}
)

// Freeze implements sleep.Machine.
func (h Hands) Freeze(ctx context.Context) (frozen bool, err error) {
	vm, pauser, err := h.pauser()
	if err != nil {
		return false, err
	}
	state, err := vm.State(ctx)
	if err != nil || state != machine.Running {
		return false, err
	}
	if err := pauser.Pause(ctx); err != nil {
		// A machine that was paused and is not known for it would hang whoever comes.
		state, unknown := vm.State(context.WithoutCancel(ctx))
		return unknown == nil && state == machine.Paused, err
	}
	return true, nil
}

// Thaw implements sleep.Machine. Where the host's clock cannot be right, the machine stays paused, as its certificates would be
// refused.
func (h Hands) Thaw(ctx context.Context) error {
	vm, pauser, err := h.pauser()
	if err != nil {
		return err
	}
	// One that goes on already is not waited for: whoever let it go on, such as to power it off, may have its lock.
	if state, err := vm.State(ctx); err == nil && state == machine.Running {
		return nil
	}
	if err := provision.CheckClock(h.Profile, h.Home.Cluster(h.Profile).PKI(), time.Now()); err != nil {
		return err
	}
	return pauser.Unpause(ctx)
}

// Settle implements sleep.Machine.
func (h Hands) Settle(ctx context.Context) error {
	c, err := h.Load(h.Profile)
	if err != nil {
		return err
	}
	spec, err := h.spec(c)
	if err != nil {
		return err
	}
	runner := h.Runner(spec.SSH)
	defer func() { _ = runner.Close() }()
	return rouse(ctx, h.Kubernetes, runner, h.target(c), func(string, int64, int64) {})
}

func (h Hands) pauser() (machine.Machine, drivers.Pauser, error) {
	c, err := h.Load(h.Profile)
	if err != nil {
		return nil, nil, err
	}
	vm, _, err := h.machine(c)
	if err != nil {
		return nil, nil, err
	}
	pauser, ok := vm.(drivers.Pauser)
	if !ok {
		return nil, nil, cannot("pause cluster "+h.Profile, pauses, pausers)
	}
	return vm, pauser, nil
}

// What a machine must be able to do, and the drivers whose machines can.
const (
	pauses  = "pause a machine"
	pausers = "qemu and libvirt"
)

// sleeps refuses --auto-pause where it cannot be had: nobody could pause the machine, or see that something is asked of it.
func sleeps(c config.Cluster, driver drivers.Driver) error {
	if c.AutoPause == 0 {
		return nil
	}
	op, next := "use --auto-pause", "skiff start -p "+c.Profile+" --auto-pause off"
	if _, able := driver.Machine(machine.Spec{Cluster: c.Profile, Name: node}).(drivers.Pauser); !able {
		return fail.New(fail.DriverCannot, op, "driver %s cannot %s", driver.Name(), pauses).
			WithHint("Clusters of the driver %s can.", pausers).WithNext("%s", next)
	}
	if c.Network != "" {
		return fail.New(fail.FlagInvalid, op, "the machine is reached in network %s too, where nobody sees that something is asked of it", c.Network).
			WithHint("Choose between --auto-pause and --network.").WithNext("%s", next)
	}
	return nil
}

// autoPause is the step by which an agent that runs learns after how long it pauses the machine.
func (s *start) autoPause() Step {
	limit := s.config.AutoPause.Duration()
	step := Step{
		ID: "auto-pause", Text: "Pause the machine after " + brief(limit) + " without a request",
		Why: "its agent pauses it after " + brief(s.seen.agent.AutoPause),
	}
	switch {
	case limit == 0:
		step.Text = "Do not pause the machine by itself any more"
	case s.seen.agent.AutoPause == 0:
		step.Why = "its agent does not pause it"
	}
	step.Do = func(ctx context.Context, _ Report) error {
		if err := s.save(s.config); err != nil {
			return err
		}
		return wrap(fail.AgentFailed, s.Agents.AutoPause(ctx, s.files.AgentSocket(), limit), "start cluster %s: tell its agent when to pause", s.config.Profile)
	}
	return step
}

// brief is a time without the units that are zero: 30m, and not 30m0s.
func brief(d time.Duration) string { return config.Duration(d).String() }

// asleep reports whether a machine that is paused is so because nobody asked anything of it, and wakes for the next who does.
// The error is that of an agent that could do so and does not answer.
func (m *Manager) asleep(ctx context.Context, c config.Cluster) (bool, error) {
	if c.AutoPause == 0 {
		return false, nil // its agent needs not be asked, who would look at what the guest does
	}
	status, err := m.Agents.Status(ctx, m.Home.Cluster(c.Profile).AgentSocket())
	return status.Asleep, err
}

// tell makes the agent, if there is one, pause the machine after limit, or let it go.
func (m *Manager) tell(ctx context.Context, c config.Cluster, limit time.Duration) error {
	socket := m.Home.Cluster(c.Profile).AgentSocket()
	if c.AutoPause == 0 {
		return nil // it does not pause it
	}
	if _, err := m.Agents.Status(ctx, socket); err != nil {
		return nil //nolint:nilerr // none answers, so none pauses or wakes it
	}
	return wrap(fail.AgentFailed, m.Agents.AutoPause(ctx, socket, limit), "tell the agent of cluster %s when to pause", c.Profile)
}
