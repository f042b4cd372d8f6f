package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

// Agents are agents without processes: one runs when there is a file in the place of its socket.
type Agents struct {
	Faults Faults
	// Health is what every agent says of its guest.
	Health agent.Health
	// Lost are the configuration files of agents that run and whose sockets are gone.
	Lost []string
	// Woken, when not nil, is what an agent does to wake its machine.
	Woken func(ctx context.Context) error
}

var _ cluster.Agents = Agents{}

// Start implements cluster.Agents. A port of the agent on which something answers makes it fail as a real one does.
func (a Agents) Start(ctx context.Context, configFile string, c agent.Config) error {
	if _, err := a.Status(ctx, c.APISocket); err == nil {
		return nil
	}
	return a.Faults.do(ctx, "agents.start",
		func() error { return c.Save(configFile) },
		func() error {
			if err := portsFree(ctx, c); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(c.APISocket), 0o700); err != nil {
				return err
			}
			return a.write(c.APISocket, agent.Status{PID: os.Getpid(), Profile: c.Profile, Address: c.Address, LogFile: c.LogFile, Health: a.Health, AutoPause: c.AutoPause, HostAccess: c.HostAccess, InsecureRegistries: c.Insecure})
		})
}

// portsFree fails with fail.PortInUse when something answers on one of the ports. It does not bind them: tests that run
// side by side would then be in each other's way.
func portsFree(ctx context.Context, c agent.Config) error {
	for _, port := range c.Ports {
		at := net.JoinHostPort(c.Address.String(), strconv.Itoa(int(port.Host)))
		dialer := net.Dialer{Timeout: time.Second}
		if conn, err := dialer.DialContext(ctx, "tcp", at); err == nil {
			_ = conn.Close()
			return fail.New(fail.PortInUse, "start the agent", "%s is in use", at)
		}
	}
	return nil
}

func (a Agents) write(socket string, status agent.Status) error {
	content, err := json.Marshal(status)
	if err != nil {
		return err
	}
	return os.WriteFile(socket, content, 0o600)
}

// Gone implements cluster.Agents.
func (a Agents) Gone(_ context.Context, socket string) bool {
	_, err := os.Stat(socket)
	return errors.Is(err, fs.ErrNotExist)
}

// Runs implements cluster.Agents.
func (a Agents) Runs(_ context.Context, configFile string) (bool, error) {
	return slices.Contains(a.Lost, configFile), nil
}

// Status implements cluster.Agents.
func (a Agents) Status(_ context.Context, socket string) (agent.Status, error) {
	var status agent.Status
	content, err := os.ReadFile(socket)
	if err == nil {
		err = json.Unmarshal(content, &status)
	}
	if err != nil {
		return agent.Status{}, fmt.Errorf("ask the agent: %w", err)
	}
	return status, nil
}

// Watch implements cluster.Agents. From then on the agent says that it publishes a Service.
func (a Agents) Watch(ctx context.Context, socket string, kubeconfig []byte) error {
	return a.Faults.do(ctx, "agents.watch", func() error {
		if len(kubeconfig) == 0 {
			return errors.New("the kubeconfig is empty")
		}
		status, err := a.Status(ctx, socket)
		if err != nil {
			return err
		}
		status.Watching = true
		status.Published = []agent.Published{{
			Name: "http", Namespace: "default", Service: "web", Protocol: "tcp", Host: netip.AddrPortFrom(status.Address, 80),
		}}
		return a.write(socket, status)
	})
}

// Published implements cluster.Agents.
func (a Agents) Published(ctx context.Context, socket string) error {
	return a.Faults.do(ctx, "agents.published", func() error {
		_, err := a.Status(ctx, socket)
		return err
	})
}

// AutoPause implements cluster.Agents.
func (a Agents) AutoPause(ctx context.Context, socket string, limit time.Duration) error {
	return a.Faults.do(ctx, "agents.autopause", func() error {
		return a.change(ctx, socket, func(status *agent.Status) {
			status.AutoPause, status.Asleep = limit, status.Asleep && limit > 0
		})
	})
}

// HostAccess implements cluster.Agents.
func (a Agents) HostAccess(ctx context.Context, socket string, access config.HostAccess) error {
	return a.Faults.do(ctx, "agents.hostaccess", func() error {
		return a.change(ctx, socket, func(status *agent.Status) { status.HostAccess = network.Access(access) })
	})
}

// InsecureRegistries implements cluster.Agents.
func (a Agents) InsecureRegistries(ctx context.Context, socket string, registries []string) error {
	return a.Faults.do(ctx, "agents.insecureregistries", func() error {
		return a.change(ctx, socket, func(status *agent.Status) { status.InsecureRegistries = registries })
	})
}

// Sleep makes the agent say that its machine is asleep; the machine itself is the caller's.
func (a Agents) Sleep(ctx context.Context, socket string) error {
	return a.change(ctx, socket, func(status *agent.Status) { status.Asleep = true })
}

// Trouble makes the agent say why the last request could not resume its machine.
func (a Agents) Trouble(ctx context.Context, socket, why string) error {
	return a.change(ctx, socket, func(status *agent.Status) { status.Trouble = why })
}

// Wake implements cluster.Agents.
func (a Agents) Wake(ctx context.Context, socket string) error {
	return a.Faults.do(ctx, "agents.wake", func() error {
		if a.Woken != nil {
			if err := a.Woken(ctx); err != nil {
				return err
			}
		}
		return a.change(ctx, socket, func(status *agent.Status) { status.Asleep = false })
	})
}

func (a Agents) change(ctx context.Context, socket string, how func(*agent.Status)) error {
	status, err := a.Status(ctx, socket)
	if err != nil {
		return err
	}
	how(&status)
	return a.write(socket, status)
}

// Stop implements cluster.Agents.
func (a Agents) Stop(ctx context.Context, socket, _ string) error {
	return a.Faults.do(ctx, "agents.stop", func() error {
		if err := os.Remove(socket); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
