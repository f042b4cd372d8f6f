package cluster

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// guess returns what is known of a cluster whose description cannot be read. A machine that was taken over is known to no
// driver, but to the cluster's agent.
func (m *Manager) guess(profile string) config.Cluster {
	c := config.Cluster{Profile: profile, Driver: "auto"}
	reached, err := agent.Load(m.Home.Cluster(profile).AgentConfig())
	if err != nil || reached.SSH == nil {
		return c
	}
	for _, driver := range m.Every {
		if _, adopts := driver.(drivers.Adopter); adopts {
			at := reached.SSH
			c.Driver = driver.Name()
			c.SSH = &config.SSH{Address: at.Address, User: at.User, KeyFile: at.KeyFile, HostKey: at.HostKey, Node: reached.Guest}
		}
	}
	return c
}

// deleteFound deletes the machines in the cluster's folder that drivers find by themselves. A driver that cannot be asked is
// told of, unless what it works with is not installed here.
func (m *Manager) deleteFound(ctx context.Context, profile string, sink Sink) error {
	files := m.Home.Cluster(profile)
	for _, driver := range drivers.Everywhere(m.Every) {
		machines, err := driver.Machines(ctx)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err != nil && !notInstalled(driver.Check(ctx)) {
			text := fmt.Sprintf("whether the driver %s has a machine of cluster %s is not known: %s", driver.Name(), profile, oneLine(err))
			emit(sink, Event{Profile: profile, Text: text}, Warning)
		}
		for _, found := range machines {
			own := files.Node(found.Name)
			if found.Cluster != profile || filepath.Clean(found.Dir) != own.Dir {
				continue
			}
			spec := machine.Spec{Cluster: profile, Name: found.Name, Dir: own.Dir, RunDir: own.Run}
			if err := driver.Machine(spec).Delete(ctx); err != nil {
				return wrap(fail.MachineFailed, err, "delete the machine of cluster %s", profile)
			}
		}
	}
	return nil
}

// notInstalled reports whether a driver finds that what it works with is not there.
func notInstalled(findings []drivers.Finding) bool {
	for _, one := range findings {
		if one.Level == drivers.Failure && one.Missing {
			return true
		}
	}
	return false
}
