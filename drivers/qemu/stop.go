package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/poweroff"
	"github.com/skiff-k8s/skiff/machine"
)

// Stop asks the guest to power off in two ways: with the power button, and with a command over its Runner, as not every
// guest listens to the button and the network may be gone. When neither has worked within the time limit, it ends QEMU. It
// returns when what the guest wrote is on the disk of the host.
func (m *Machine) Stop(ctx context.Context) error {
	err := m.ending(ctx, func(ctx context.Context, p *process) error {
		if err := m.powerOff(ctx, p); err != nil {
			return err
		}
		return m.syncDisk()
	})
	if err != nil {
		return fmt.Errorf("stop machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Delete ends QEMU without asking the guest, and removes all files that the driver made. A QEMU whose files were removed
// already is found by its arguments, as Machines finds it.
func (m *Machine) Delete(ctx context.Context) error {
	end := func(ctx context.Context, p *process) error { return p.end(ctx, m.driver.limits.end) }
	err := m.ending(ctx, end)
	if err == nil && !hostfiles.Exists(m.files.pid()) {
		err = m.endLost(ctx, end)
	}
	if err == nil {
		err = m.files.remove()
	}
	if err != nil {
		return fmt.Errorf("delete machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// ending calls end with the machine's process, if there is one.
func (m *Machine) ending(ctx context.Context, end func(context.Context, *process) error) error {
	release, err := m.files.lock(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no folder, no machine
	}
	if err != nil {
		return err
	}
	defer release()
	p, err := m.process(ctx)
	if err != nil || p == nil {
		return err
	}
	defer p.release()
	return end(ctx, p)
}

// endLost calls end with the machine's process when there is one that has lost its pid file.
func (m *Machine) endLost(ctx context.Context, end func(context.Context, *process) error) error {
	p, err := m.lost(ctx)
	if err != nil || p == nil {
		return err
	}
	defer p.release()
	return end(ctx, p)
}

// powerOff goes on to end the process when the guest does not listen, or cannot.
func (m *Machine) powerOff(ctx context.Context, p *process) error {
	if ended, err := m.askToEnd(ctx, p); ended || err != nil {
		return err
	}
	return p.end(ctx, m.driver.limits.end)
}

// askToEnd asks the guest until it has powered off, the time limit is over, or it cannot be asked.
func (m *Machine) askToEnd(ctx context.Context, p *process) (ended bool, err error) {
	return poweroff.Ask(ctx, poweroff.Guest{
		Press:  func(ctx context.Context) error { return m.pressPower(ctx, p) },
		Ended:  p.waitFor,
		Runner: m.Runner,
	}, m.driver.options.StopTimeout)
}

func (m *Machine) pressPower(ctx context.Context, p *process) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.answer)
	defer cancel()
	if status, err := qemu.status(ctx); err == nil {
		if state, _ := stateOf(status); state == machine.Paused {
			if err := m.letRun(ctx, qemu); err != nil {
				return err
			}
		}
	}
	return qemu.execute(ctx, "system_powerdown", nil)
}
