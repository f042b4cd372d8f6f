package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

// Stop powers the cluster's machine off and ends its agent. It reports whether there was anything to stop.
func (m *Manager) Stop(ctx context.Context, profile string, sink Sink) (stopped bool, err error) {
	c, err := m.Load(profile)
	if err != nil {
		return false, err
	}
	release, err := m.lock(profile)
	if err != nil {
		return false, err
	}
	defer release()
	vm, _, err := m.machine(c)
	if err != nil {
		return false, err
	}
	state, err := vm.State(ctx)
	if err != nil {
		return false, wrap(fail.MachineFailed, err, "stop cluster %s", profile)
	}
	socket := m.Home.Cluster(profile).AgentSocket()
	_, agentErr := m.Agents.Status(ctx, socket)
	if state != machine.Running && state != machine.Paused && agentErr != nil {
		return false, nil
	}
	step := Event{Profile: profile, Step: "stop", Index: 1, Steps: 1, Text: wordsOf(c).off}
	emit(sink, step, Began)
	// The agent goes last: until the guest is down its network is of use.
	err = errors.Join(
		wrap(fail.MachineFailed, vm.Stop(ctx), "stop cluster %s", profile),
		wrap(fail.AgentFailed, m.Agents.Stop(ctx, socket), "stop cluster %s: end its agent", profile))
	if err != nil {
		step.Err = err
		emit(sink, step, Failed)
		return true, err
	}
	emit(sink, step, Ended)
	return true, nil
}

// DeleteOptions says what to delete.
type DeleteOptions struct {
	Profile string
	Force   bool // what cannot be removed in order is told as a warning, and the rest removed nevertheless
}

// Delete removes the cluster: machine, disks, agent, keys, logs and kubeconfig entry. It reports whether there was
// anything. It works from whatever is left: a cluster file that cannot be read is no obstacle.
func (m *Manager) Delete(ctx context.Context, o DeleteOptions, sink Sink) (deleted bool, err error) {
	profile := o.Profile
	if err := config.ValidateProfile(profile); err != nil {
		return false, err
	}
	files := m.Home.Cluster(profile)
	if _, err := os.Lstat(files.Dir); errors.Is(err, os.ErrNotExist) {
		return false, kubeconfig.Remove(ctx, m.Kubeconfig, profile)
	}
	release, err := m.lock(profile)
	if err != nil {
		return false, err
	}
	defer release()
	c, err := m.Load(profile)
	if err != nil && !fail.Is(err, fail.StateCorrupt) && !fail.Is(err, fail.ClusterNotFound) {
		return false, err
	}
	if err != nil {
		c = config.Cluster{Profile: profile, Driver: "auto"}
	}
	step := Event{Profile: profile, Step: "delete", Index: 1, Steps: 1, Text: "Delete cluster " + profile}
	emit(sink, step, Began)
	if err = m.remove(ctx, c, false); err != nil && o.Force && ctx.Err() == nil {
		emit(sink, Event{Profile: profile, Text: err.Error()}, Warning)
		if gone := m.Agents.Stop(ctx, files.AgentSocket()); gone != nil { // without its socket nobody could end it later
			emit(sink, Event{Profile: profile, Text: gone.Error()}, Warning)
		}
		err = errors.Join(kubeconfig.Remove(ctx, m.Kubeconfig, profile), os.RemoveAll(files.Run), os.RemoveAll(files.Dir))
	}
	if err != nil {
		step.Err = err
		emit(sink, step, Failed)
		return true, err
	}
	emit(sink, step, Ended)
	_ = os.Remove(files.Lock())
	return true, nil
}

// remove takes a cluster away, in an order that can be cut off at any point and done again: what describes the cluster
// goes last. With keepLogs the folder of logs stays, for a creation that failed.
func (m *Manager) remove(ctx context.Context, c config.Cluster, keepLogs bool) error {
	files := m.Home.Cluster(c.Profile)
	vm, _, err := m.machine(c)
	if err == nil {
		if keepLogs {
			m.keepConsole(vm, c.Profile)
		}
		err = vm.Delete(ctx)
	}
	if err != nil {
		return wrap(fail.MachineFailed, err, "delete the machine of cluster %s", c.Profile)
	}
	if err := m.Agents.Stop(ctx, files.AgentSocket()); err != nil {
		return wrap(fail.AgentFailed, err, "end the agent of cluster %s", c.Profile)
	}
	if err := kubeconfig.Remove(ctx, m.Kubeconfig, c.Profile); err != nil {
		return err
	}
	if !keepLogs {
		return errors.Join(os.RemoveAll(files.Run), os.RemoveAll(files.Dir))
	}
	entries, err := os.ReadDir(files.Dir)
	if err != nil {
		return err
	}
	problems := []error{os.RemoveAll(files.Run)}
	for _, entry := range entries {
		if path := filepath.Join(files.Dir, entry.Name()); path != files.Logs() {
			problems = append(problems, os.RemoveAll(path))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove the files of cluster %s: %w", c.Profile, err)
	}
	return nil
}
