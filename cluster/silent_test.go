package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
)

// slowAgents do not answer the first questions in time.
type slowAgents struct {
	clustertest.Agents
	silent int
}

func (a *slowAgents) Status(ctx context.Context, socket string) (agent.Status, error) {
	if a.silent > 0 {
		a.silent--
		return agent.Status{}, fmt.Errorf("ask the agent behind %s: %w", socket, agent.ErrSilent)
	}
	return a.Agents.Status(ctx, socket)
}

// TestSlowAgentIsNotLost: a start does not take the network from the machine of an agent that is late, only from that of one which
// never answers.
func TestSlowAgentIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.Agents = &slowAgents{silent: 2}
	if started := w.starts(w.options()); len(started.Plan.Steps) > 0 {
		t.Errorf("late: got the plan\n%s, want none", started.Plan)
	}
	w.Agents = &slowAgents{silent: 3}
	if started := w.starts(w.options()); len(started.Plan.Steps) == 0 {
		t.Error("silent: got no plan, want a new agent")
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}
