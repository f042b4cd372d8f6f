package cluster

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

// Words of a Status, minikube's where it has them.
const (
	Running       = "Running"
	Stopped       = "Stopped"
	Paused        = "Paused"
	Nonexistent   = "Nonexistent"
	Configured    = "Configured"
	Misconfigured = "Misconfigured"
)

// Status is the state of one node of a cluster.
type Status struct {
	Name       string
	Host       string // Running, Stopped, Paused, Nonexistent
	Kubelet    string // Running, Stopped, Paused
	APIServer  string // Running, Stopped, Paused
	Kubeconfig string // Configured, Misconfigured
	Worker     bool
	HostAccess string `json:",omitempty"` // what pods reach of this computer's 127.0.0.1: ports as in 5432,8080, or all; empty: nothing
	Note       string `json:",omitempty"` // what is wrong and what to do about it, when something is
}

// Status tells how a cluster is. It needs no lock and asks nothing that takes long; a cluster that does not exist is an
// answer and no error.
func (m *Manager) Status(ctx context.Context, profile string) (Status, error) {
	status := Status{Name: profile, Host: Nonexistent, Kubelet: Nonexistent, APIServer: Nonexistent, Kubeconfig: Nonexistent}
	c, err := m.Load(profile)
	if fail.Is(err, fail.ClusterNotFound) {
		return status, nil
	}
	if err != nil {
		return status, err
	}
	status.Kubelet, status.APIServer, status.Kubeconfig = Stopped, Stopped, Misconfigured
	status.HostAccess = allowed(c.HostAccess)
	vm, spec, err := m.machine(c)
	if err != nil {
		return status, err
	}
	// The hypervisor and the agent, which asks the guest, each take most of the time that this takes.
	files := m.Home.Cluster(profile)
	var answer agent.Status
	var agentErr error
	var asking sync.WaitGroup
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	asking.Go(func() { answer, agentErr = m.Agents.Status(limited, files.AgentSocket()) })
	state, err := vm.State(ctx)
	if state != machine.Running && (state != machine.Paused || c.AutoPause == 0) {
		cancel()
	}
	asking.Wait()
	if err == nil {
		if err := m.keyless(c, spec, state); err != nil {
			return status, err
		}
	} else {
		status.Note = err.Error()
	}
	if errors.Is(err, machine.ErrUncontrolled) {
		status.Note += "; `skiff start -p " + profile + "` restarts it"
	}
	if state == machine.Running && agentErr == nil && answer.Asleep { // it was paused between the two answers
		state = machine.Paused
	}
	status.Host = map[machine.State]string{
		machine.Running: Running, machine.Paused: Paused, machine.Stopped: Stopped, machine.Broken: "Error",
	}[state]
	if status.Host == "" {
		status.Host = Nonexistent
	}
	own, err := os.ReadFile(files.Kubeconfig())
	if err == nil {
		seen, err := kubeconfig.Look(m.Kubeconfig, profile, own)
		if err == nil && seen.Configured {
			status.Kubeconfig = Configured
		}
	}
	if state == machine.Paused {
		status.Kubelet, status.APIServer = Paused, Paused
		status.Note = pausedNote(profile, c, answer, agentErr)
	}
	if state != machine.Running {
		return status, nil
	}
	if agentErr != nil {
		status.Note = lostAgent(profile)
		return status, nil
	}
	status.HostAccess = allowed(config.HostAccess(answer.HostAccess))
	if answer.Health.Kubelet == "" {
		status.Kubelet = Running
	}
	if answer.Health.APIServer == "" {
		status.APIServer = Running
	}
	if answer.Health.Disk != "" {
		status.Note = fullNote(answer.Health.Disk, vm, c)
	}
	if answer.Trouble != "" {
		status.Note = troubled(profile, answer.Trouble)
	}
	for _, published := range answer.Published {
		if published.Error != "" {
			status.Note = published.Error
		}
	}
	return status, nil
}

// allowed is empty for none.
func allowed(access config.HostAccess) string {
	if access.None() {
		return ""
	}
	return access.String()
}

func lostAgent(profile string) string {
	return "its agent has ended; `skiff start -p " + profile + "` starts it again"
}

// Listed is one cluster of a list.
type Listed struct {
	Config config.Cluster
	Status Status
	Err    error // why the cluster cannot be used; Config then holds the profile alone
}

// List returns all clusters, sorted by name. A broken one is listed with its error. Without live nothing but files is
// looked at.
func (m *Manager) List(ctx context.Context, live bool) ([]Listed, error) {
	profiles, err := m.Home.Profiles()
	if err != nil {
		return nil, err
	}
	list := make([]Listed, 0, len(profiles))
	for _, profile := range profiles {
		c, err := m.Load(profile)
		if err != nil {
			list = append(list, Listed{Config: config.Cluster{Profile: profile}, Err: err})
			continue
		}
		one := Listed{Config: c}
		if live {
			one.Status, one.Err = m.Status(ctx, profile)
		}
		list = append(list, one)
	}
	return list, nil
}

// running returns a cluster whose machine runs and whose agent answers, or fail.ClusterNotRunning. A machine that is asleep
// is woken.
func (m *Manager) running(ctx context.Context, profile string) (config.Cluster, machine.Machine, error) {
	c, err := m.Load(profile)
	if err != nil {
		return c, nil, err
	}
	vm, err := m.runningOf(ctx, c)
	return c, vm, err
}

// runningOf is running for a cluster that has been read.
func (m *Manager) runningOf(ctx context.Context, c config.Cluster) (machine.Machine, error) {
	vm, asleep, err := m.thereOf(ctx, c)
	if err != nil || !asleep {
		return vm, err
	}
	err = m.Agents.Wake(ctx, m.Home.Cluster(c.Profile).AgentSocket())
	return vm, wrap(fail.MachineFailed, err, "wake cluster %s", c.Profile)
}

// there returns a cluster whose machine runs, or is asleep, and whose agent answers, or fail.ClusterNotRunning.
func (m *Manager) there(ctx context.Context, profile string) (config.Cluster, error) {
	c, err := m.Load(profile)
	if err == nil {
		_, _, err = m.thereOf(ctx, c)
	}
	return c, err
}

// thereOf is there for a cluster that has been read.
func (m *Manager) thereOf(ctx context.Context, c config.Cluster) (vm machine.Machine, asleep bool, err error) {
	profile := c.Profile
	vm, spec, err := m.machine(c)
	if err != nil {
		return nil, false, err
	}
	state, err := vm.State(ctx)
	if errors.Is(err, machine.ErrUncontrolled) {
		return nil, false, fail.New(fail.ClusterNotRunning, "use cluster "+profile, "%w", err).WithNext("skiff start -p %s", profile)
	}
	if err == nil {
		err = m.keyless(c, spec, state)
	}
	if err != nil {
		return nil, false, wrap(fail.MachineFailed, err, "use cluster %s", profile)
	}
	switch state {
	case machine.Running:
		_, err = m.Agents.Status(ctx, m.Home.Cluster(profile).AgentSocket())
	case machine.Paused:
		if asleep, err = m.asleep(ctx, c); err == nil && !asleep {
			return nil, false, notRunning(profile, state)
		}
	default:
		return nil, false, notRunning(profile, state)
	}
	if err != nil {
		return nil, false, fail.New(fail.ClusterNotRunning, "use cluster "+profile, "its machine is there without its agent, which has ended").
			WithNext("skiff start -p %s", profile)
	}
	return vm, asleep, nil
}

// notRunning is the error of a cluster whose machine is in another state than running.
func notRunning(profile string, state machine.State) error {
	if state == machine.Paused {
		return fail.New(fail.ClusterNotRunning, "use cluster "+profile, "it is paused").
			WithHint("Resume it.").WithNext("skiff unpause -p %s", profile)
	}
	return fail.New(fail.ClusterNotRunning, "use cluster "+profile, "it is stopped").WithNext("skiff start -p %s", profile)
}

// Machine returns the machine of a running cluster, or fail.ClusterNotRunning.
func (m *Manager) Machine(ctx context.Context, profile string) (machine.Machine, error) {
	_, vm, err := m.running(ctx, profile)
	return vm, err
}

// SSH says how the machine of a running cluster is reached, for what a machine.Runner cannot do, such as a terminal.
func (m *Manager) SSH(ctx context.Context, profile string) (machine.SSH, error) {
	c, _, err := m.running(ctx, profile)
	if err != nil {
		return machine.SSH{}, err
	}
	spec, err := m.spec(c)
	return spec.SSH, err
}

// Kubectl returns what is needed to run kubectl against a cluster that runs: the host's tool of the cluster's version and
// a kubeconfig with that cluster alone.
func (m *Manager) Kubectl(ctx context.Context, profile string) (tool, kubeconfig string, err error) {
	c, _, err := m.running(ctx, profile)
	if err != nil {
		return "", "", err
	}
	return m.tool(c.Image), m.Home.Cluster(profile).Kubeconfig(), nil
}

// Address returns the address, as of config.Cluster.IP, at which a cluster answers: one that runs, or that is asleep, which it
// stays.
func (m *Manager) Address(ctx context.Context, profile string) (netip.Addr, error) {
	c, err := m.there(ctx, profile)
	return c.IP(), err
}

// Published tells what of a running cluster answers on its address, and what should and does not.
func (m *Manager) Published(ctx context.Context, profile string) ([]agent.Published, error) {
	if _, err := m.there(ctx, profile); err != nil { // to list them is to ask nothing of the machine
		return nil, err
	}
	status, err := m.Agents.Status(ctx, m.Home.Cluster(profile).AgentSocket())
	return status.Published, wrap(fail.AgentFailed, err, "ask the agent of cluster %s", profile)
}

// troubled is said of a machine that was paused by itself and that the last request could not resume as it should.
func troubled(profile, why string) string {
	return "the last request could not resume it as it should: " + why + "; `skiff start -p " + profile + "` repairs what it can"
}

// pausedNote says why a machine is paused and what resumes it. answer is that of its agent, unless agentErr is set.
func pausedNote(profile string, c config.Cluster, answer agent.Status, agentErr error) string {
	switch {
	case c.AutoPause > 0 && agentErr != nil:
		return lostAgent(profile)
	case c.AutoPause > 0 && answer.Asleep && answer.Trouble != "":
		return troubled(profile, answer.Trouble)
	case c.AutoPause > 0 && answer.Asleep:
		return "nobody asked anything of it for " + brief(answer.AutoPause) + ", so it is paused; the next request resumes it"
	}
	return "it is paused; `skiff unpause -p " + profile + "` resumes it"
}
