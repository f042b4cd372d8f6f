package vfkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/poweroff"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

// tick is how often a vfkit is asked that does not answer yet, and the end of a process is looked for.
const tick = 30 * time.Millisecond

var errStarting = errors.New("it is being started")

var (
	_ machine.Machine  = (*Machine)(nil)
	_ drivers.Consoler = (*Machine)(nil)
)

// Machine is a handle of one machine. Commands run in the guest through its Runner.
type Machine struct {
	machine.Runner
	driver *Driver
	spec   machine.Spec
	files  files
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	return &Machine{driver: d, spec: spec, files: filesOf(spec), Runner: d.options.Runner(spec.SSH)}
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.spec.Name }

// ConsoleLog returns the file to which vfkit writes what the guest says on its serial console.
func (m *Machine) ConsoleLog() string { return m.files.console() }

// Wait returns once commands run in the guest, or when ctx ends with the reason why they did not.
func (m *Machine) Wait(ctx context.Context) error { return machine.Wait(ctx, m.Runner) }

// Dial opens a connection from the machine, see machine.Dial.
func (m *Machine) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return machine.Dial(ctx, m.Runner, network, addr)
}

// State looks at the machine's process and, when there is none, at its disk.
func (m *Machine) State(ctx context.Context) (machine.State, error) {
	if err := ctx.Err(); err != nil {
		return machine.Broken, err
	}
	l, err := m.files.look()
	if err != nil {
		return machine.Broken, err
	}
	if l.lives {
		state, err := m.reach(ctx, m.driver.limits.answer)
		if err == nil || ctx.Err() != nil || m.files.alive() {
			return state, err
		}
	}
	if !hostfiles.Exists(m.files.disk()) {
		return machine.Absent, nil
	}
	return machine.Stopped, nil
}

// socket returns the socket of vfkit's service, also when an earlier skiff had it in another folder. It fails with
// machine.ErrUncontrolled when it is gone: vfkit makes it once, at its start.
func (m *Machine) socket() (string, error) {
	own := m.files.api()
	if hostfiles.Exists(own) {
		return own, nil
	}
	l, err := m.files.look()
	if err != nil || l.pid == 0 {
		return own, err
	}
	words, err := processes.Arguments(l.pid)
	if err != nil {
		return own, nil //nolint:nilerr // it has ended, which the caller sees
	}
	if spec, ok := specOf(words); ok && hostfiles.Exists(filesOf(spec).api()) {
		return filesOf(spec).api(), nil
	}
	// One that is just being started has the whole of its time to make the socket, and is told of otherwise.
	if info, err := os.Stat(m.files.life()); err == nil && time.Since(info.ModTime()) > 2*m.driver.limits.start {
		return own, machine.ErrUncontrolled
	}
	return own, nil
}

// reach asks vfkit, which may not listen yet, until it answers that the guest has been started.
func (m *Machine) reach(ctx context.Context, limit time.Duration) (machine.State, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		socket, err := m.socket()
		if err != nil {
			return machine.Broken, err
		}
		state, err := dial(socket).state(ctx)
		if err == nil {
			return state, nil
		}
		if !m.files.alive() {
			return machine.Broken, fmt.Errorf("vfkit has ended: %w", err)
		}
		select {
		case <-ctx.Done():
			return machine.Broken, fmt.Errorf("vfkit runs and does not answer: %w", errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

// Start starts vfkit with a new seed disk, or lets a paused guest go on, and returns once the guest executes.
func (m *Machine) Start(ctx context.Context) error {
	err := m.locked(ctx, m.start)
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) start(ctx context.Context) error {
	l, err := m.files.look()
	switch {
	case err != nil:
		return err
	case l.lives:
		if done, err := m.resume(ctx); done || err != nil {
			return err
		}
	case !hostfiles.Exists(m.files.disk()):
		return errors.New("it does not exist")
	}
	if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
		return err
	}
	// A socket that is left of a vfkit that died would be in the way of the new one's.
	if err := os.Remove(m.files.api()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.launch(ctx)
}

// resume lets a paused guest go on; false means that the machine was about to end, or could not be controlled, and has ended now.
func (m *Machine) resume(ctx context.Context) (done bool, err error) {
	state, err := m.reach(ctx, m.driver.limits.answer)
	switch {
	case errors.Is(err, machine.ErrUncontrolled):
		return false, m.powerOff(ctx)
	case err != nil:
		return false, err
	case state == machine.Paused:
		return true, m.ask(ctx, resume)
	case state == machine.Running:
		return true, nil
	}
	ended, err := m.waitFor(ctx, m.driver.limits.end)
	if err == nil && !ended {
		err = errors.New("vfkit has stopped the guest and does not end")
	}
	return false, err
}

// launch starts the process and waits until the guest executes. When it does not get that far, no process is left.
func (m *Machine) launch(ctx context.Context) error {
	log, err := os.OpenFile(m.files.errors(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	mine, err := m.files.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = mine.Close() }()
	// The process outlives ctx, this command, and the terminal: it gets a session of its own.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), m.driver.options.Vfkit)
	cmd.Args = append([]string{title(m.spec)}, args(m.spec)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{mine} // the lock
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the log says why
	}()
	_, err = fmt.Fprintln(mine, cmd.Process.Pid)
	err = errors.Join(err, mine.Close()) // from here on the lock is the process's alone
	if err == nil {
		_, err = m.reach(ctx, m.driver.limits.start)
	}
	if err == nil {
		return nil
	}
	_ = cmd.Process.Kill()
	<-ended
	if last := hostfiles.Tail(m.files.errors()); last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}

// Stop asks the guest to power off in two ways, with the power button and with a command over its Runner, and ends vfkit
// when neither has worked within the time limit.
func (m *Machine) Stop(ctx context.Context) error {
	if err := m.ending(ctx, m.powerOff); err != nil {
		return fmt.Errorf("stop machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Delete ends vfkit without asking the guest, and removes all files that the driver made.
func (m *Machine) Delete(ctx context.Context) error {
	err := m.ending(ctx, m.end)
	if err == nil {
		err = m.endStray(ctx)
	}
	if err == nil {
		err = m.files.remove()
	}
	if err != nil {
		return fmt.Errorf("delete machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// endStray ends the machine's process when its folder was removed while it ran, and with it the lock that tells of it.
func (m *Machine) endStray(ctx context.Context) error {
	all, err := processes.List(ctx)
	if err != nil {
		return err
	}
	for id, words := range all {
		if spec, ok := specOf(words); !ok || spec.Dir != m.spec.Dir {
			continue
		}
		if err := syscall.Kill(id, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end vfkit, process %d: %w", id, err)
		}
	}
	return nil
}

// locked does something while no other handle of the machine does.
func (m *Machine) locked(ctx context.Context, do func(context.Context) error) error {
	release, err := hostfiles.Lock(ctx, m.spec.Dir)
	if err != nil {
		return err
	}
	defer release()
	return do(ctx)
}

// ending calls end when the machine's process lives.
func (m *Machine) ending(ctx context.Context, end func(context.Context) error) error {
	err := m.locked(ctx, func(ctx context.Context) error {
		if l, err := m.files.look(); err != nil || !l.lives {
			return err
		}
		return end(ctx)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no folder, no machine
	}
	return err
}

// powerOff goes on to end the process when the guest does not listen, or cannot.
func (m *Machine) powerOff(ctx context.Context) error {
	ended, err := poweroff.Ask(ctx, poweroff.Guest{
		Press:  func(ctx context.Context) error { return m.ask(ctx, pressPower) },
		Ended:  m.waitFor,
		Runner: m.Runner,
	}, m.driver.options.StopTimeout)
	if ended || err != nil {
		return err
	}
	return m.end(ctx)
}

func (m *Machine) ask(ctx context.Context, to change) error {
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.answer)
	defer cancel()
	socket, err := m.socket()
	if err != nil {
		return err
	}
	return dial(socket).change(ctx, to)
}

// end ends the process without asking the guest: first by vfkit's own way, which closes the disk, then by force.
func (m *Machine) end(ctx context.Context) error {
	if err := m.ask(ctx, hardStop); err == nil {
		if ended, err := m.waitFor(ctx, m.driver.limits.end); ended || err != nil {
			return err
		}
	}
	l, err := m.files.look()
	if err != nil || !l.lives {
		return err
	}
	if l.pid == 0 {
		return errors.New("vfkit runs, and nobody noted the number of its process")
	}
	// The lock says that this very process lives.
	if err := syscall.Kill(l.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end vfkit, process %d: %w", l.pid, err)
	}
	ended, err := m.waitFor(ctx, m.driver.limits.end)
	if err == nil && !ended {
		err = fmt.Errorf("vfkit, process %d, does not end", l.pid)
	}
	return err
}

// waitFor waits until the process has ended; false means that it lives on.
func (m *Machine) waitFor(ctx context.Context, limit time.Duration) (ended bool, err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for m.files.alive() {
		select {
		case <-limited.Done():
			return false, ctx.Err()
		case <-ticker.C:
		}
	}
	return true, nil
}
