package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/machine"
)

const (
	// answerTick is how often a QEMU that does not listen yet is called.
	answerTick = 20 * time.Millisecond
)

var (
	_ machine.Machine  = (*Machine)(nil)
	_ drivers.Consoler = (*Machine)(nil)
)

// Machine is a handle of one machine.
type Machine struct {
	driver *Driver
	spec   machine.Spec
	files  files
	runner machine.Runner
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	return &Machine{driver: d, spec: spec, files: filesOf(spec), runner: d.options.Runner(spec.SSH)}
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.spec.Name }

// ConsoleLog returns the file to which QEMU appends all that the guest writes on its serial console. When it has become
// large, the next start moves it aside.
func (m *Machine) ConsoleLog() string { return m.files.console() }

// Run runs a command in the guest.
func (m *Machine) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	return m.runner.Run(ctx, cmd)
}

// Put writes a file in the guest.
func (m *Machine) Put(ctx context.Context, path string, mode fs.FileMode, body io.Reader) error {
	return m.runner.Put(ctx, path, mode, body)
}

// Wait returns once commands run in the guest, or when ctx ends with the reason why they did not.
func (m *Machine) Wait(ctx context.Context) error {
	if waiter, ok := m.runner.(interface{ Wait(context.Context) error }); ok {
		return waiter.Wait(ctx)
	}
	_, err := m.runner.Run(ctx, machine.Cmd{Args: []string{"true"}})
	return err
}

// State looks at the machine's process and, when there is none, at its disk.
func (m *Machine) State(ctx context.Context) (machine.State, error) {
	if err := ctx.Err(); err != nil {
		return machine.Broken, err
	}
	p, err := find(m.files.pid())
	if err != nil {
		return machine.Broken, err
	}
	if p != nil {
		defer p.release()
		state, err := m.ask(ctx, p)
		if err == nil || ctx.Err() != nil || p.alive() {
			return state, err
		}
	}
	if !hostfiles.Exists(m.files.disk()) {
		return machine.Absent, nil
	}
	if err := hostfiles.CheckDisk(m.files.disk(), m.spec); err != nil {
		return machine.Broken, err
	}
	return machine.Stopped, nil
}

// ask asks a QEMU that runs.
func (m *Machine) ask(ctx context.Context, p *process) (machine.State, error) {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return machine.Broken, err
	}
	defer qemu.close()
	limited, cancel := context.WithTimeout(ctx, m.driver.limits.answer)
	defer cancel()
	status, err := qemu.status(limited)
	if err != nil {
		return machine.Broken, err
	}
	return stateOf(status)
}

// stateOf translates QEMU's RunState (QEMU documentation, "QEMU QMP Reference Manual").
func stateOf(status string) (machine.State, error) {
	switch status {
	case "running":
		return machine.Running, nil
	case "paused", "suspended", "prelaunch", "inmigrate", "postmigrate", "save-vm", "restore-vm", "finish-migrate":
		return machine.Paused, nil
	case "shutdown":
		return machine.Stopped, nil
	case "io-error":
		return machine.Broken, errors.New("QEMU stopped the guest because it cannot write its disk; is the host's disk full?")
	}
	return machine.Broken, fmt.Errorf("QEMU reports that the guest is in state %q", status)
}

// reach connects to QEMU's monitor, which may not listen yet.
func (m *Machine) reach(ctx context.Context, limit time.Duration, alive func() bool) (*monitor, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(answerTick)
	defer ticker.Stop()
	for {
		qemu, err := connect(ctx, m.files.monitor())
		if err == nil {
			return qemu, nil
		}
		if !alive() {
			return nil, fmt.Errorf("QEMU has ended: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("QEMU runs and does not answer: %w", errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

// Start starts QEMU with a new seed disk, or lets a paused guest go on, and returns once the guest executes.
func (m *Machine) Start(ctx context.Context) error {
	release, err := m.files.lock(ctx)
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	defer release()
	p, err := find(m.files.pid())
	switch {
	case err != nil:
	case p != nil:
		defer p.release()
		err = m.resume(ctx, p)
	case !hostfiles.Exists(m.files.disk()):
		err = errors.New("it does not exist")
	default:
		err = m.boot(ctx)
	}
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) resume(ctx context.Context, p *process) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	status, err := qemu.status(ctx)
	if err != nil || status == "running" {
		return err
	}
	return qemu.execute(ctx, "cont", nil) // refused where the guest cannot go on
}

func (m *Machine) boot(ctx context.Context) error {
	if err := hostfiles.CheckDisk(m.files.disk(), m.spec); err != nil {
		return err
	}
	if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
		return hostfiles.DiskFull(err, m.spec.Dir)
	}
	if err := hostfiles.Rotate(m.files.console()); err != nil {
		return err
	}
	// A socket that is left of a QEMU that died would be in the way of the new one's.
	if err := os.Remove(m.files.monitor()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	accel, err := m.driver.accelerator(ctx, m.spec.Image)
	if err != nil {
		return err
	}
	if err = m.launch(ctx, accel.Name); err != nil && ctx.Err() == nil && accel.Name != tcg {
		m.driver.forget() // what worked once does no longer: ask the host again next time
	}
	return err
}

// launch starts the process and waits until the guest executes. When it does not get that far, no process is left.
func (m *Machine) launch(ctx context.Context, accel accelerator) error {
	log, err := os.OpenFile(m.files.errors(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// The process outlives ctx, this command, and the terminal: it gets a session of its own.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), m.driver.options.QEMU, args(m.spec, accel)...)
	cmd.Stdout, cmd.Stderr = log, log
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
	err = m.running(ctx, func() bool {
		select {
		case <-ended:
			return false
		default:
			return true
		}
	})
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

// running returns once the guest executes.
func (m *Machine) running(ctx context.Context, alive func() bool) error {
	qemu, err := m.reach(ctx, m.driver.limits.start, alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.start)
	defer cancel()
	ticker := time.NewTicker(answerTick)
	defer ticker.Stop()
	for {
		status, err := qemu.status(ctx)
		if err != nil {
			return err
		}
		if status == "running" {
			return nil
		}
		if status != "prelaunch" {
			return fmt.Errorf("QEMU reports that the guest is in state %q", status)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
