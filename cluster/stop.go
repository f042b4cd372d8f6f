package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// StopOptions says how to stop.
type StopOptions struct {
	Profile  string
	Shutdown bool // power the machine off instead of saving its memory, and throw away what was kept earlier
}

// StopResult is what Stop did.
type StopResult struct {
	Changed   bool // there was something to stop
	Suspended bool // the memory is kept, and start resumes from it
}

// Stop ends the cluster's machine and its agent. The machine's memory is kept, unless its driver cannot do that, the
// cluster is not complete, or the options say otherwise; where it cannot be kept, the machine is powered off.
func (m *Manager) Stop(ctx context.Context, o StopOptions, sink Sink) (StopResult, error) {
	profile := o.Profile
	c, release, err := m.hold(profile)
	if err != nil {
		return StopResult{}, err
	}
	defer release()
	m.sweepSpares(ctx, sink)
	vm, err := m.part(c)
	if err != nil {
		return StopResult{}, err
	}
	state, err := vm.State(ctx)
	uncontrolled := errors.Is(err, machine.ErrUncontrolled) // its memory cannot be saved; it can be ended
	if err != nil && !uncontrolled {
		return StopResult{}, unreached(wrap(fail.MachineFailed, err, "stop cluster %s", profile), profile, false)
	}
	suspender, able := vm.(drivers.Suspender)
	socket := m.Home.Cluster(profile).AgentSocket()
	_, agentErr := m.Agents.Status(ctx, socket)
	alive := state == machine.Running || state == machine.Paused || uncontrolled
	var result StopResult
	if !alive && able {
		if result.Suspended, err = suspender.Suspended(ctx); err != nil {
			return result, wrap(fail.MachineFailed, err, "stop cluster %s", profile)
		}
	}
	if result.Suspended && o.Shutdown {
		step := Event{Profile: profile, Step: "forget", Index: 1, Steps: 1, Text: "Discard the saved memory of machine " + profile}
		forget := func() error { return wrap(fail.MachineFailed, suspender.Forget(ctx), "stop cluster %s", profile) }
		if err := inStep(step, sink, forget); err != nil {
			return result, err
		}
		result = StopResult{Changed: true}
	}
	if !alive && agentErr != nil {
		return result, nil
	}
	result.Changed = true
	if alive && able && c.Provisioned && !o.Shutdown {
		err := m.suspendMachine(ctx, vm, suspender, m.target(c), sink)
		if err != nil && ctx.Err() != nil {
			return result, err
		}
		if result.Suspended = err == nil; err != nil {
			text := fmt.Sprintf("the memory of cluster %s cannot be kept (%s), so it is powered off", profile, oneLine(err))
			emit(sink, Event{Profile: profile, Step: "suspend", Text: text}, Warning)
		}
	}
	step := Event{Profile: profile, Step: "stop", Index: 1, Steps: 1, Text: wordsOf(c).off}
	if result.Suspended {
		step.Text = "End the agent of cluster " + profile
	}
	emit(sink, step, Began)
	// The agent goes last: until the guest is down its network is of use.
	err = errors.Join(
		wrap(fail.MachineFailed, vm.Stop(ctx), "stop cluster %s", profile),
		wrap(fail.AgentFailed, m.Agents.Stop(ctx, socket, m.Home.Cluster(profile).AgentConfig()), "stop cluster %s: end its agent", profile))
	if err != nil {
		step.Err = err
		emit(sink, step, Failed)
		return result, err
	}
	emit(sink, step, Ended)
	return result, nil
}

// DeleteOptions says what to delete.
type DeleteOptions struct {
	Profile string
	// Force removes a cluster of a newer skiff as well, as far as this one knows it. What cannot be removed in order is told as a
	// warning, and the rest removed nevertheless.
	Force bool
}

// Delete removes the cluster: machine, disks, agent, keys, logs and kubeconfig entry. It reports whether there was
// anything. It works from whatever is left: a cluster file that cannot be read is no obstacle, as its machine is looked for
// with every driver then.
//
// A cluster that only a newer skiff can read gives fail.StateNewer, and stays as it is: it can have processes, files elsewhere and
// machines that this version does not know. They would be left running, and what that skiff ends them with would be gone.
func (m *Manager) Delete(ctx context.Context, o DeleteOptions, sink Sink) (deleted bool, err error) {
	profile := o.Profile
	if err := config.ValidateProfile(profile); err != nil {
		return false, err
	}
	files := m.Home.Cluster(profile)
	if _, err := os.Lstat(files.Dir); errors.Is(err, os.ErrNotExist) {
		return false, m.dropContext(ctx, profile)
	}
	release, err := m.lock(profile)
	if err != nil {
		return false, err
	}
	defer release()
	m.sweepSpares(ctx, sink)
	c, err := m.Load(profile)
	newer := fail.Is(err, fail.StateNewer)
	if err != nil && !fail.Is(err, fail.StateCorrupt) && !fail.Is(err, fail.ClusterNotFound) && (!newer || !o.Force) {
		return false, err
	}
	if newer {
		emit(sink, Event{Profile: profile, Text: "what this version of skiff does not know of cluster " + profile + " stays: " + oneLine(err)}, Warning)
	}
	known := err == nil
	if !known {
		c = m.guess(profile)
	}
	step := Event{Profile: profile, Step: "delete", Index: 1, Steps: 1, Text: "Delete cluster " + profile}
	emit(sink, step, Began)
	err = nil
	if !known {
		err = m.deleteFound(ctx, profile, sink)
	}
	if err == nil {
		err = m.remove(ctx, c, false)
	}
	if err != nil && o.Force && ctx.Err() == nil {
		emit(sink, Event{Profile: profile, Text: err.Error()}, Warning)
		if gone := m.Agents.Stop(ctx, files.AgentSocket(), files.AgentConfig()); gone != nil { // without its socket nobody could end it later
			emit(sink, Event{Profile: profile, Text: gone.Error()}, Warning)
		}
		err = errors.Join(m.dropContext(ctx, profile), os.RemoveAll(files.Run), os.RemoveAll(files.Dir))
	}
	if err != nil {
		err = unreached(err, profile, true)
		step.Err = err
		emit(sink, step, Failed)
		return true, err
	}
	emit(sink, step, Ended)
	_ = os.Remove(files.Lock())
	return true, nil
}

// unreached gives an error of a libvirt that cannot be asked the advice that fits a cluster that is there: it can have no
// other driver. It can be given up without libvirt; who is deleting it does that next.
func unreached(err error, profile string, deleting bool) error {
	known, ok := errors.AsType[*fail.Error](err)
	if !ok || known.ID != fail.LibvirtUnreachable && known.ID != fail.LibvirtNoAccess {
		return err
	}
	told, giveUp := *known, "skiff delete -p "+profile+" --force"
	if deleting {
		told.Hint = "Run it again once libvirt can be used, or remove all else of the cluster; what libvirt has of it then stays."
	} else {
		told.Hint = "Run it again once libvirt can be used, or give the cluster up with `" + giveUp + "`."
	}
	if deleting || strings.HasPrefix(told.Next, "skiff start ") {
		told.Next = giveUp
	}
	return &told
}

// remove takes a cluster away, in an order that can be cut off at any point and done again: what describes the cluster
// goes last. With keepLogs the folder of logs stays, for a creation that failed.
func (m *Manager) remove(ctx context.Context, c config.Cluster, keepLogs bool) error {
	files := m.Home.Cluster(c.Profile)
	vm, err := m.part(c)
	if err == nil {
		if keepLogs {
			m.keepConsole(vm, c.Profile)
		}
		err = vm.Delete(ctx)
	}
	if err != nil {
		return wrap(fail.MachineFailed, err, "delete the machine of cluster %s", c.Profile)
	}
	if err := m.Agents.Stop(ctx, files.AgentSocket(), files.AgentConfig()); err != nil {
		return wrap(fail.AgentFailed, err, "end the agent of cluster %s", c.Profile)
	}
	if err := m.dropContext(ctx, c.Profile); err != nil {
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
