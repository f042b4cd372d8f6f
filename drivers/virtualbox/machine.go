package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/poweroff"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// tick is how often the end of a machine is looked for.
const tick = 200 * time.Millisecond

var (
	_ machine.Machine  = (*Machine)(nil)
	_ drivers.Consoler = (*Machine)(nil)
)

// Machine is a handle of one machine. Commands run in the guest through its Runner.
type Machine struct {
	machine.Runner
	driver *Driver
	spec   machine.Spec
	name   string // in VirtualBox
	files  files
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	return &Machine{driver: d, spec: spec, name: nameOf(spec), files: files{spec.Dir}, Runner: d.options.Runner(spec.SSH)}
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.spec.Name }

// ConsoleLog returns the file to which VirtualBox writes what the guest says on its serial console.
func (m *Machine) ConsoleLog() string { return m.files.console() }

// Wait returns once commands run in the guest, or when ctx ends with the reason why they did not.
func (m *Machine) Wait(ctx context.Context) error { return machine.Wait(ctx, m.Runner) }

// Dial opens a connection from the machine, see machine.Dial.
func (m *Machine) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return machine.Dial(ctx, m.Runner, network, addr)
}

// State asks VirtualBox. What is left of a creation that was cut off is no machine.
func (m *Machine) State(ctx context.Context) (machine.State, error) {
	state, err := m.look(ctx)
	if errors.Is(err, errUnknown) || errors.Is(err, errUnfinished) || m.apart(err) {
		return machine.Absent, nil
	}
	return state, err
}

// look is State that tells why there is no machine.
func (m *Machine) look(ctx context.Context) (machine.State, error) {
	if err := m.own(ctx); err != nil {
		return machine.Broken, err
	}
	return m.condition(ctx)
}

// errUnfinished says that VirtualBox has a part of the machine.
var errUnfinished = errors.New("its creation was cut off")

// own looks that what VirtualBox has under the machine's name is this machine: by skiff's notes, or, where its creation was
// cut off before they were made, by the folder of its settings, which gives errUnfinished. Another's gives
// fail.DomainForeign.
func (m *Machine) own(ctx context.Context) error {
	out, err := m.driver.manage(ctx, notes(m.name))
	if err != nil {
		return err
	}
	noted := parseNotes(out)
	if noted[keyCluster] == m.spec.Cluster && noted[keyName] == m.spec.Name && noted[keyDir] == m.spec.Dir {
		return nil
	}
	out, err = m.driver.manage(ctx, info(m.name))
	if err != nil {
		return err
	}
	settings := parseInfo(out)["CfgFile"]
	if noted[keyDir] == "" && filepath.Dir(filepath.Dir(settings)) == filepath.Clean(m.spec.Dir) {
		return errUnfinished
	}
	return fail.New(fail.DomainForeign, "use the machine "+m.name+" of VirtualBox", "a machine of that name exists and is not skiff's: it lacks skiff's notes, and is left alone").
		WithNext("%s", machine.Cmd{Args: append([]string{"VBoxManage"}, notes(m.name)...)})
}

// apart reports whether an error tells of another's machine while there is nothing of this one, so that the two have
// nothing in common but the name. A disk of this one may be the other's too: somebody may have taken the notes away.
func (m *Machine) apart(err error) bool {
	return fail.Is(err, fail.DomainForeign) && !hostfiles.Exists(m.files.disk())
}

// condition asks for the state of a machine that is skiff's.
func (m *Machine) condition(ctx context.Context) (machine.State, error) {
	out, err := m.driver.manage(ctx, info(m.name))
	if err != nil {
		return machine.Broken, err
	}
	return parseState(parseInfo(out)["VMState"])
}

// Start boots the machine with a new seed disk, or lets a paused one go on.
func (m *Machine) Start(ctx context.Context) error {
	err := m.locked(ctx, func(ctx context.Context) error {
		state, err := m.look(ctx)
		switch {
		case err != nil || state == machine.Running:
			return err
		case state == machine.Paused:
			_, err = m.driver.manage(ctx, control(m.name, "resume"))
			return err
		}
		if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
			return err
		}
		_, err = m.driver.manage(ctx, boot(m.name))
		return err
	})
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Stop asks the guest to power off in two ways, with the power button and with a command over its Runner, and ends the
// machine when neither has worked within the time limit.
func (m *Machine) Stop(ctx context.Context) error {
	err := m.locked(ctx, func(ctx context.Context) error {
		err := m.own(ctx)
		if errors.Is(err, errUnknown) || errors.Is(err, errUnfinished) {
			return nil
		}
		if err != nil {
			return err
		}
		if runs, err := m.runs(ctx); err != nil || !runs {
			return err
		}
		return m.powerOff(ctx)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no folder, no machine
		return fmt.Errorf("stop machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// runs reports whether there is something to end.
func (m *Machine) runs(ctx context.Context) (bool, error) {
	state, err := m.condition(ctx)
	switch {
	case errors.Is(err, errUnknown):
		return false, nil
	case errors.Is(err, errCrashed):
		return true, nil
	}
	return state == machine.Running || state == machine.Paused, err
}

// powerOff goes on to end the machine when the guest does not listen, or cannot.
func (m *Machine) powerOff(ctx context.Context) error {
	ended, err := poweroff.Ask(ctx, poweroff.Guest{
		Press: func(ctx context.Context) error {
			_, err := m.driver.manage(ctx, control(m.name, "acpipowerbutton"))
			return err
		},
		Ended:  m.waitFor,
		Runner: m.Runner,
	}, m.driver.options.StopTimeout)
	if ended || err != nil {
		return err
	}
	return m.end(ctx)
}

// end ends the machine without asking the guest.
func (m *Machine) end(ctx context.Context) error {
	if runs, err := m.runs(ctx); err != nil || !runs {
		return err
	}
	if _, err := m.driver.manage(ctx, control(m.name, "poweroff")); err != nil {
		return err
	}
	const limit = 10 * time.Second
	ended, err := m.waitFor(ctx, limit)
	if err == nil && !ended {
		err = errors.New("VirtualBox does not end it")
	}
	return err
}

// waitFor waits until the machine has ended; false means that it runs on.
func (m *Machine) waitFor(ctx context.Context, limit time.Duration) (ended bool, err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if runs, err := m.runs(ctx); err != nil || !runs {
			return err == nil, err
		}
		select {
		case <-limited.Done():
			return false, ctx.Err()
		case <-ticker.C:
		}
	}
}

// Delete ends the machine without asking the guest, has VirtualBox forget it and removes its files, also when its folder
// is gone.
func (m *Machine) Delete(ctx context.Context) error {
	err := m.locked(ctx, m.remove)
	if errors.Is(err, fs.ErrNotExist) {
		err = m.remove(ctx)
	}
	if err != nil {
		return fmt.Errorf("delete machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// remove takes away whatever is there of the machine, finished or not.
func (m *Machine) remove(ctx context.Context) error {
	err := m.own(ctx)
	if err == nil || errors.Is(err, errUnfinished) {
		err = m.unregister(ctx)
	}
	if err != nil && !errors.Is(err, errUnknown) && !errors.Is(err, exec.ErrNotFound) && !m.apart(err) {
		return err
	}
	return hostfiles.Remove(m.files.disk(), m.files.seed(), m.files.console())
}

func (m *Machine) unregister(ctx context.Context) error {
	if err := m.end(ctx); err != nil {
		return err
	}
	_, err := m.driver.manage(ctx, remove(m.name))
	return err
}
