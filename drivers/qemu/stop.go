package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/machine"
)

// powerTick is how often a guest is asked to power off: one that still boots does not hear.
const powerTick = 3 * time.Second

// Stop asks the guest to power off in two ways: with the power button, and with a command over its Runner, as not every
// guest listens to the button and the network may be gone. When neither has worked within the time limit, it ends QEMU.
func (m *Machine) Stop(ctx context.Context) error {
	if err := m.ending(ctx, m.powerOff); err != nil {
		return fmt.Errorf("stop machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Delete ends QEMU without asking the guest, and removes all files that the driver made.
func (m *Machine) Delete(ctx context.Context) error {
	err := m.ending(ctx, func(ctx context.Context, p *process) error { return p.end(ctx, m.driver.limits.end) })
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

// powerOff goes on to end the process when the guest does not listen, or cannot.
func (m *Machine) powerOff(ctx context.Context, p *process) error {
	if ended, err := m.askToEnd(ctx, p); ended || err != nil {
		return err
	}
	return p.end(ctx, m.driver.limits.end)
}

// askToEnd asks the guest until it has powered off, the time limit is over, or it cannot be asked.
func (m *Machine) askToEnd(ctx context.Context, p *process) (ended bool, err error) {
	var command sync.WaitGroup
	defer command.Wait()
	commanding, cancel := context.WithCancel(ctx)
	defer cancel()
	command.Go(func() { m.commandPowerOff(commanding) })
	for end := time.Now().Add(m.driver.options.StopTimeout); time.Now().Before(end); {
		if err := m.pressPower(ctx, p); err != nil {
			return !p.alive(), ctx.Err()
		}
		if ended, err := p.waitFor(ctx, min(powerTick, time.Until(end))); ended || err != nil {
			return ended, err
		}
	}
	return false, ctx.Err()
}

// commandPowerOff tells the guest's service manager, as soon as it can be reached.
func (m *Machine) commandPowerOff(ctx context.Context) {
	ticker := time.NewTicker(powerTick)
	defer ticker.Stop()
	for {
		if _, err := m.runner.Run(ctx, machine.Cmd{Args: []string{"systemctl", "--no-block", "poweroff"}}); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (m *Machine) pressPower(ctx context.Context, p *process) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.answer)
	defer cancel()
	if status, err := qemu.status(ctx); err == nil && status == "paused" {
		if err := qemu.execute(ctx, "cont", nil); err != nil {
			return err
		}
	}
	return qemu.execute(ctx, "system_powerdown", nil)
}
