package cluster

import (
	"context"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/config"
)

// LiveAgents are real agents: processes of the skiff binary.
type LiveAgents struct {
	Executable string // path of skiff
}

var _ Agents = LiveAgents{}

// Start implements Agents.
func (l LiveAgents) Start(ctx context.Context, configFile string, c agent.Config) error {
	_, err := agent.Spawn(ctx, l.Executable, configFile, c)
	return err
}

// Status implements Agents.
func (LiveAgents) Status(ctx context.Context, socket string) (agent.Status, error) {
	return agent.Dial(socket).Status(ctx)
}

// Gone implements Agents.
func (LiveAgents) Gone(ctx context.Context, socket string) bool { return agent.Dial(socket).Gone(ctx) }

// Runs implements Agents.
func (LiveAgents) Runs(ctx context.Context, configFile string) (bool, error) {
	return agent.Runs(ctx, configFile)
}

// Watch implements Agents.
func (LiveAgents) Watch(ctx context.Context, socket string, kubeconfig []byte) error {
	return agent.Dial(socket).WatchKubernetes(ctx, kubeconfig)
}

// Published implements Agents.
func (LiveAgents) Published(ctx context.Context, socket string) error {
	return agent.Dial(socket).Published(ctx)
}

// AutoPause implements Agents.
func (LiveAgents) AutoPause(ctx context.Context, socket string, limit time.Duration) error {
	return agent.Dial(socket).AutoPause(ctx, limit)
}

// HostAccess implements Agents.
func (LiveAgents) HostAccess(ctx context.Context, socket string, access config.HostAccess) error {
	return agent.Dial(socket).HostAccess(ctx, network.Access(access))
}

// InsecureRegistries implements Agents.
func (LiveAgents) InsecureRegistries(ctx context.Context, socket string, registries []string) error {
	return agent.Dial(socket).InsecureRegistries(ctx, registries)
}

// Wake implements Agents.
func (LiveAgents) Wake(ctx context.Context, socket string) error {
	return agent.Dial(socket).Wake(ctx)
}

// Stop implements Agents.
func (LiveAgents) Stop(ctx context.Context, socket, configFile string) error {
	return agent.Stop(ctx, socket, configFile)
}
