package cluster

import (
	"context"
	"errors"
	"strings"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
)

// reachesHost refuses --host-access for a machine that exists already: it is in no network of the agent, and what its pods send
// to host.skiff.internal does not come here.
func reachesHost(c config.Cluster, driver drivers.Driver) error {
	if c.HostAccess.None() || c.SSH == nil {
		return nil
	}
	return fail.New(fail.DriverCannot, "use --host-access", "driver %s takes a machine over that exists, and its pods do not reach this computer", driver.Name()).
		WithHint("Clusters whose machine skiff makes can. For this one, `ssh -R` forwards a port of the machine to this computer.").
		WithNext("skiff start -p %s --host-access none", c.Profile)
}

// hostAccess is the step by which an agent that runs learns which services of this computer the machine may reach.
func (s *start) hostAccess() Step {
	wanted := s.config.HostAccess
	step := Step{
		ID: "host-access", Text: "Let pods reach " + ports(wanted) + " of this computer's 127.0.0.1",
		Why: "its agent lets them reach " + ports(s.toldAccess()),
	}
	step.Do = func(ctx context.Context, _ Report) error {
		if err := s.save(s.config); err != nil {
			return err
		}
		return s.untold(s.Agents.HostAccess(ctx, s.files.AgentSocket(), wanted), "what pods reach of this computer")
	}
	return step
}

// insecureRegistries is the step by which an agent that runs learns which registries may be asked without TLS.
func (s *start) insecureRegistries() Step {
	wanted := s.config.InsecureRegistries
	step := Step{
		ID: "insecure-registry", Text: "Ask " + strings.Join(wanted, ", ") + " without TLS too",
		Why: "its agent asks no registry so",
	}
	if len(wanted) == 0 {
		step.Text = "Ask no registry without TLS"
	}
	if told := s.seen.agent.InsecureRegistries; len(told) > 0 {
		step.Why = "its agent asks " + strings.Join(told, ", ") + " so"
	}
	step.Do = func(ctx context.Context, _ Report) error {
		if err := s.save(s.config); err != nil {
			return err
		}
		return s.untold(s.Agents.InsecureRegistries(ctx, s.files.AgentSocket(), wanted), "which registries to ask without TLS")
	}
	return step
}

// untold is the error of an agent that was to learn something while it runs; nil stays nil.
func (s *start) untold(err error, what string) error {
	op := "tell the agent of cluster " + s.config.Profile + " " + what
	if errors.Is(err, agent.ErrUnknown) {
		return fail.New(fail.AgentFailed, op, "another version of skiff has started it: %w", err).
			WithHint("The next start after a stop starts another agent, which knows; `skiff stop` keeps everything.").WithNext("skiff stop -p %s", s.config.Profile)
	}
	return wrap(fail.AgentFailed, err, "%s", op)
}

// ports is what pods reach, as a part of a sentence.
func ports(access config.HostAccess) string {
	switch {
	case access.None():
		return "nothing"
	case access.All:
		return "all ports"
	case len(access.Ports) == 1:
		return "port " + access.String()
	}
	return "ports " + access.String()
}

// toldAccess is what the agent that was seen lets the machine reach of this computer.
func (s *start) toldAccess() config.HostAccess {
	return config.HostAccess(s.seen.agent.HostAccess)
}
