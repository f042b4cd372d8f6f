package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/poweroff"
	"github.com/skiff-k8s/skiff/fail"
)

// Stop asks the guest to power off, with the power button and with a command over its Runner. When neither has worked
// within the time limit, or the guest cannot write its disk, it ends the domain.
func (m *Machine) Stop(ctx context.Context) error {
	limit := m.driver.options.StopTimeout + m.driver.limits.act
	err := m.locked(ctx, func() error {
		return m.driver.do(ctx, limit, m.stop)
	})
	if err != nil {
		return fmt.Errorf("stop machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) stop(ctx context.Context, c connection) error {
	now, err := m.runs(ctx, c)
	if err != nil || now == off {
		return err
	}
	if now == paused || now == suspended || now == ioError {
		if err := m.letRun(c); err != nil && now != ioError {
			return err
		}
	}
	ended, err := poweroff.Ask(ctx, poweroff.Guest{
		Press: func(context.Context) error {
			if now, err := c.Condition(m.domain); err == nil && now == ioError {
				return errors.New("it cannot write its disk") // and hears nothing until it can
			}
			return c.Press(m.domain)
		},
		Ended:  func(ctx context.Context, limit time.Duration) (bool, error) { return m.ended(ctx, c, limit) },
		Runner: m.Runner,
	}, m.driver.options.StopTimeout)
	if ended || err != nil {
		return err
	}
	return gone(c.Destroy(m.domain))
}

// runs returns what a machine that exists does, and off for others.
func (m *Machine) runs(ctx context.Context, c connection) (condition, error) {
	exists, err := m.exists(c)
	if err != nil || !exists {
		return off, err
	}
	now, err := m.settled(ctx, c)
	if now == crashed || errors.Is(err, errNoDomain) {
		return off, nil
	}
	return now, err
}

// Delete ends the domain without asking the guest, makes libvirt forget it, and removes all files of it. A domain that is
// found while its files are gone can be deleted too. When there is a domain of the machine's name that is not skiff's,
// and a disk of the machine that it may use, nothing is touched: fail.DomainForeign.
func (m *Machine) Delete(ctx context.Context) error {
	err := m.locked(ctx, func() error {
		err := m.driver.do(ctx, m.driver.limits.act, m.remove)
		if fail.Is(err, fail.DomainForeign) && !hostfiles.Exists(m.files.Disk) {
			err = nil
		}
		if err != nil {
			return err
		}
		return m.removeFiles()
	})
	if err != nil {
		return fmt.Errorf("delete machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) remove(_ context.Context, c connection) error {
	exists, err := m.exists(c)
	if err != nil {
		return err
	}
	network := m.driver.options.Network
	if exists {
		joined, err := m.joinedBefore(c)
		if err == nil {
			network, err = joined, m.undefine(c)
		}
		if err := gone(err); err != nil {
			return err
		}
	}
	return m.leave(c, network)
}

func (m *Machine) undefine(c connection) error {
	now, err := c.Condition(m.domain)
	if err == nil && now != off {
		err = c.Destroy(m.domain)
	}
	if err == nil {
		err = c.Undefine(m.domain)
	}
	return err
}

// gone takes it as a success that the domain was gone already.
func gone(err error) error {
	if errors.Is(err, errNoDomain) {
		return nil
	}
	return err
}

// locked does something while other handles of the machine must wait. Where the machine's folder is gone there is nothing
// to lock, but there may be a domain.
func (m *Machine) locked(ctx context.Context, do func() error) error {
	release, err := hostfiles.Lock(ctx, m.spec.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return do()
	}
	if err != nil {
		return err
	}
	defer release()
	return do()
}

// removeFiles removes all that the driver and libvirt's log daemon made, whatever of it is there.
func (m *Machine) removeFiles() error {
	files := []string{m.files.Disk, hostfiles.Part(m.files.Disk), m.files.Seed, m.files.Console, m.note}
	for i := range 10 { // virtlogd.conf: max_backups is 3, and hardly more
		files = append(files, fmt.Sprintf("%s.%d", m.files.Console, i))
	}
	return hostfiles.Remove(files...)
}
