package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

var (
	_ machine.Machine  = (*Machine)(nil)
	_ drivers.Consoler = (*Machine)(nil)
	_ drivers.Pauser   = (*Machine)(nil)
)

// Machine is a handle of one machine. Commands run in the guest through its Runner.
type Machine struct {
	machine.Runner
	driver *Driver
	spec   machine.Spec
	files  domain.Files
	domain string // its name
	note   string // file that says what its kept memory fits; see suspend.go
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	return &Machine{
		Runner: d.options.Runner(spec.SSH), driver: d, spec: spec, domain: domain.Name(spec),
		note: filepath.Join(spec.Dir, "suspended.json"),
		files: domain.Files{
			Disk:    filepath.Join(spec.Dir, "disk.qcow2"),
			Seed:    filepath.Join(spec.Dir, "seed.iso"),
			Console: filepath.Join(spec.Dir, "console.log"),
		},
	}
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.spec.Name }

// ConsoleLog returns the file to which all is appended that the guest writes on its serial console. libvirt's log daemon
// moves it aside when it has become large.
func (m *Machine) ConsoleLog() string { return m.files.Console }

// Wait returns once commands run in the guest, or when ctx ends with the reason why they did not.
func (m *Machine) Wait(ctx context.Context) error { return machine.Wait(ctx, m.Runner) }

// Dial opens a connection from the machine, see machine.Dial.
func (m *Machine) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return machine.Dial(ctx, m.Runner, network, addr)
}

// exists reports whether the machine's domain is there. One of that name that is not the machine's gives
// fail.DomainForeign.
func (m *Machine) exists(c connection) (bool, error) {
	text, err := c.Mark(m.domain)
	if errors.Is(err, errNoDomain) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if mark, err := domain.ReadMark(text); err == nil && mark.Of(m.spec) {
		return true, nil
	}
	return false, fail.New(fail.DomainForeign, "use the domain "+m.domain, "a domain of that name exists and is not skiff's: it lacks skiff's mark, and is left alone").
		WithNext("virsh -c %s dumpxml %s", m.driver.options.URI, m.domain)
}

// State asks libvirt and, when the machine does not run, looks at its disk.
func (m *Machine) State(ctx context.Context) (state machine.State, err error) {
	state = machine.Broken
	err = m.driver.do(ctx, m.driver.limits.answer, func(_ context.Context, c connection) error {
		exists, err := m.exists(c)
		if fail.Is(err, fail.DomainForeign) && !hostfiles.Exists(m.files.Disk) {
			err = nil // somebody else's domain, and nothing of this machine; Create tells of it
		}
		if err != nil {
			return err
		}
		now := off
		if exists {
			now, err = c.Condition(m.domain)
		}
		if !exists || errors.Is(err, errNoDomain) {
			state = machine.Absent
			return nil
		}
		if err == nil {
			state, err = stateOf(now)
		}
		return err
	})
	if err == nil && state == machine.Stopped {
		err = hostfiles.CheckDisk(m.files.Disk, m.spec)
	}
	if err != nil {
		return machine.Broken, err
	}
	return state, nil
}

// stateOf translates what libvirt says.
func stateOf(now condition) (machine.State, error) {
	switch now {
	case running, ending:
		return machine.Running, nil
	case paused, suspended, saving:
		return machine.Paused, nil
	case off, crashed:
		return machine.Stopped, nil
	case ioError:
		return machine.Broken, errors.New("QEMU stopped the guest because it cannot write its disk; is the host's disk full?")
	}
	return machine.Broken, fmt.Errorf("libvirt reports that the guest is %q", now)
}

// Start starts the domain with a new seed disk and returns once the guest executes. A paused guest goes on. Memory that was
// kept is thrown away before.
func (m *Machine) Start(ctx context.Context) error {
	release, err := hostfiles.Lock(ctx, m.spec.Dir)
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	defer release()
	err = m.driver.do(ctx, m.driver.limits.act, m.start)
	if errors.Is(err, errEnding) {
		if err = m.driver.do(ctx, m.driver.options.StopTimeout+m.driver.limits.act, m.end); err == nil {
			err = m.driver.do(ctx, m.driver.limits.act, m.start)
		}
	}
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) start(ctx context.Context, c connection) error {
	exists, err := m.exists(c)
	if err != nil {
		return err
	}
	if !exists {
		return errors.New("it does not exist")
	}
	now, err := m.settled(ctx, c)
	if err != nil {
		return err
	}
	switch now {
	case running:
		return m.tearUp()
	case paused, ioError, suspended:
		return m.letRun(c) // refused where the guest cannot go on
	case ending:
		return errEnding
	case crashed, off:
	}
	return m.boot(ctx, c)
}

// errEnding says that a machine cannot be started before it has shut down, which may take longer than libvirt's answers.
var errEnding = errors.New("it is shutting down")

// end waits until a domain that shuts down is off. One that takes too long is ended, as Stop does it.
func (m *Machine) end(ctx context.Context, c connection) error {
	ended, err := m.ended(ctx, c, m.driver.options.StopTimeout)
	if ended || err != nil {
		return err
	}
	return gone(c.Destroy(m.domain))
}

func (m *Machine) boot(ctx context.Context, c connection) error {
	if _, err := m.read(); fail.Is(err, fail.StateNewer) {
		return err // only that version knows what is lost with the memory
	}
	if err := hostfiles.CheckDisk(m.files.Disk, m.spec); err != nil {
		return err
	}
	address, err := m.join(c)
	if err != nil {
		return err
	}
	if err := m.discard(c); err != nil {
		return err
	}
	if err := m.writeSeed(ctx, address); err != nil {
		return hostfiles.DiskFull(err, m.spec.Dir)
	}
	if err := m.prepareConsole(); err != nil {
		return hostfiles.DiskFull(err, m.spec.Dir)
	}
	if err := m.define(ctx, c); err != nil { // the machine may have got other processors or memory
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.Start(m.domain); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // it ended during a call that cannot be cut off
		return errors.Join(err, c.Destroy(m.domain))
	}
	return nil
}

// prepareConsole makes the console's log a file of this user, as libvirt's log daemon, which may be root, keeps owners.
func (m *Machine) prepareConsole() error {
	if err := hostfiles.Rotate(m.files.Console); err != nil {
		return err
	}
	file, err := os.OpenFile(m.files.Console, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// define tells libvirt what the machine is.
func (m *Machine) define(ctx context.Context, c connection) error {
	capabilities, err := c.Capabilities()
	if err != nil {
		return err
	}
	labels, err := domain.Labels(capabilities, os.Getuid(), os.Getgid())
	if err != nil {
		return err
	}
	options := domain.Options{Type: domain.QEMU, Files: m.files, Labels: labels, Network: m.driver.options.Network}
	if accelerator, _, _ := m.driver.Accelerator(ctx, m.spec.Image); accelerator == string(domain.KVM) {
		options.Type = domain.KVM
	}
	text, err := domain.XML(m.spec, options)
	if err != nil {
		return err
	}
	return c.Define(string(text))
}

// Pause stops the guest's processors and leaves it in memory; Start lets it go on.
func (m *Machine) Pause(ctx context.Context) error {
	err := m.whole(ctx, func(c connection, now condition) error {
		switch {
		case now == paused:
			return nil
		case now != running:
			return fmt.Errorf("it is %s", now)
		}
		return c.Suspend(m.domain)
	})
	if err != nil {
		return fmt.Errorf("pause machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Unpause lets a guest go on whose processors stand still. It waits for whoever saves the guest's memory.
func (m *Machine) Unpause(ctx context.Context) error {
	err := m.whole(ctx, func(c connection, now condition) error {
		switch {
		case now == running:
			return nil
		case now != paused && now != suspended:
			return fmt.Errorf("it is %s", now)
		}
		return m.letRun(c)
	})
	if err != nil {
		return fmt.Errorf("unpause machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// whole does what depends on the condition of a machine that must exist, while nobody else changes it.
func (m *Machine) whole(ctx context.Context, do func(c connection, now condition) error) error {
	return m.locked(ctx, func() error {
		return m.driver.do(ctx, m.driver.limits.act, func(_ context.Context, c connection) error {
			exists, err := m.exists(c)
			if err == nil && !exists {
				err = errors.New("it does not exist")
			}
			if err != nil {
				return err
			}
			now, err := c.Condition(m.domain)
			if err != nil {
				return err
			}
			return do(c, now)
		})
	})
}

const endTick = 200 * time.Millisecond

// ended waits until the domain does not run any more, for as long as limit. A libvirt that cannot be asked counts as a
// domain that runs. The error is that of ctx alone.
func (m *Machine) ended(ctx context.Context, c connection, limit time.Duration) (bool, error) {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	ticker := time.NewTicker(endTick)
	defer ticker.Stop()
	for {
		switch now, err := c.Condition(m.domain); {
		case errors.Is(err, errNoDomain), err == nil && (now == off || now == crashed):
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timeout.C:
			return false, nil
		case <-ticker.C:
		}
	}
}
