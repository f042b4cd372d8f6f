package qemu

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
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

const (
	// answerTick is how often a QEMU that does not listen yet is called.
	answerTick = 20 * time.Millisecond
)

var (
	_ machine.Machine  = (*Machine)(nil)
	_ drivers.Appender = (*Machine)(nil)
)

// Machine is a handle of one machine. Commands run in the guest through its Runner.
type Machine struct {
	machine.Runner
	driver *Driver
	spec   machine.Spec
	files  files
	left   *os.File // the memory of the QEMU that a restore has ended; nil: none was
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	own := filesOf(spec)
	own.skiff = d.options.Version
	return &Machine{driver: d, spec: spec, files: own, Runner: d.options.Runner(spec.SSH)}
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.spec.Name }

// ConsoleLog returns the file to which QEMU appends all that the guest writes on its serial console. When it has become
// large, the next start moves it aside.
func (m *Machine) ConsoleLog() string { return m.files.console() }

// AppendsConsole implements drivers.Appender.
func (*Machine) AppendsConsole() {}

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
	p, err := find(m.files.pid())
	if err != nil {
		return machine.Broken, err
	}
	if p != nil {
		defer p.release()
		state, err := m.ask(ctx, p)
		if state != machine.Stopped && (err == nil || ctx.Err() != nil || p.alive()) {
			return state, err
		}
	}
	if !m.files.made() {
		return machine.Absent, nil
	}
	if err := m.files.checkDisk(m.spec); err != nil {
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

// unfed is the state of a QEMU that waits for a saved memory. When the command that started it was cut off, nothing will
// ever come of it.
const unfed = "inmigrate"

// stateOf translates QEMU's RunState (QEMU documentation, "QEMU QMP Reference Manual").
func stateOf(status string) (machine.State, error) {
	switch status {
	case "running":
		return machine.Running, nil
	case "paused", "suspended", "prelaunch", "postmigrate", "save-vm", "restore-vm", "finish-migrate":
		return machine.Paused, nil
	case "shutdown", unfed:
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
	socket := m.files.monitor()
	for {
		qemu, err := connect(ctx, socket)
		if err == nil {
			return qemu, nil
		}
		if !alive() {
			return nil, fmt.Errorf("QEMU has ended: %w", err)
		}
		if errors.Is(err, fs.ErrNotExist) {
			if socket, err = m.monitorOf(socket); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("QEMU runs and does not answer: %w", errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

// monitorOf returns the socket that the machine's QEMU was started with, which an earlier skiff had in another folder; other
// when that is not known. It fails with machine.ErrUncontrolled when the socket is gone: QEMU makes it once, at its start.
func (m *Machine) monitorOf(other string) (string, error) {
	p, err := find(m.files.pid())
	if err != nil || p == nil {
		return other, err
	}
	defer p.release()
	words, err := processes.Arguments(p.id)
	if err != nil {
		return other, nil //nolint:nilerr // it has ended, which the caller sees
	}
	if spec, ok := specOf(words); ok {
		other = filesOf(spec).monitor()
	}
	if hostfiles.Exists(other) {
		return other, nil
	}
	if info, err := os.Stat(m.files.pid()); err == nil && time.Since(info.ModTime()) > m.driver.limits.start {
		return other, machine.ErrUncontrolled
	}
	return other, nil
}

// Start starts QEMU with a new seed disk, or lets a paused guest go on, and returns once the guest executes. Memory that
// was kept is thrown away before: the disk is about to become another one.
func (m *Machine) Start(ctx context.Context) error {
	return m.StartReporting(ctx, func(string, int64, int64) {})
}

// StartReporting is Start that tells where a machine boots from its disk that should have had it quicker.
func (m *Machine) StartReporting(ctx context.Context, report func(text string, done, total int64)) error {
	release, err := m.files.lock(ctx)
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	defer release()
	p, err := m.process(ctx)
	if err == nil {
		p, err = m.controlled(ctx, p)
	}
	switch {
	case err != nil:
	case p != nil:
		defer p.release()
		err = m.goOn(ctx, p)
	case !m.files.made():
		err = errors.New("it does not exist")
	default:
		err = m.boot(ctx, report)
	}
	if err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// process returns the machine's process, or nil. One that only waits for a memory is ended. It needs the machine's lock.
func (m *Machine) process(ctx context.Context) (*process, error) {
	p, err := find(m.files.pid())
	if err == nil && p == nil {
		p, err = m.lost(ctx)
	}
	if err != nil || p == nil {
		return nil, err
	}
	state, err := m.ask(ctx, p)
	if err == nil && state != machine.Stopped || err != nil && p.alive() {
		return p, nil //nolint:nilerr // one that does not answer is there nevertheless
	}
	defer p.release()
	return nil, p.end(ctx, m.driver.limits.end)
}

// controlled ends a process that cannot be controlled, so that a new one can be started. Others are returned.
func (m *Machine) controlled(ctx context.Context, p *process) (*process, error) {
	if p == nil {
		return nil, nil
	}
	if _, err := m.ask(ctx, p); !errors.Is(err, machine.ErrUncontrolled) {
		return p, nil
	}
	defer p.release()
	return nil, m.powerOff(ctx, p)
}

// lost returns the machine's process when the pid file does not lead to it, or nil: the file was removed, or the command that
// started the process was killed before it wrote the number. A second process would fail at the locks of the first.
func (m *Machine) lost(ctx context.Context) (*process, error) {
	all, err := processes.List(ctx)
	if err != nil {
		return nil, err
	}
	for id, words := range all {
		spec, ok := specOf(words)
		if ok && spec.Dir == m.spec.Dir && spec.Cluster == m.spec.Cluster && spec.Name == m.spec.Name {
			return open(id, m.files.pid())
		}
	}
	return nil, nil
}

func (m *Machine) goOn(ctx context.Context, p *process) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	status, err := qemu.status(ctx)
	if err != nil || status == "running" {
		return err
	}
	return m.letRun(ctx, qemu) // refused where the guest cannot go on
}

// letRun lets a guest that stands still execute. A command that suspended or resumed it may have been cut off while its
// memory was kept and QEMU ran: from here on the disk is another one, so the memory is thrown away before.
func (m *Machine) letRun(ctx context.Context, qemu *monitor) error {
	if err := discard(m.files.suspended()); err != nil {
		return err
	}
	return qemu.execute(ctx, "cont", nil)
}

func (m *Machine) boot(ctx context.Context, report func(string, int64, int64)) error {
	if _, err := m.files.readManifest(m.files.suspended()); fail.Is(err, fail.StateNewer) {
		return err // only that version knows what is lost with it
	}
	if err := discard(m.files.suspended()); err != nil {
		return err
	}
	if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
		return hostfiles.DiskFull(err, m.spec.Dir)
	}
	accel, err := m.driver.accelerator(ctx, m.spec.Image)
	if err != nil {
		return err
	}
	if hostfiles.Exists(m.files.unused()) {
		if done, err := m.bootNew(ctx, accel.Name, report); done || err != nil {
			return err
		}
	}
	if err := m.prepare(); err != nil {
		return err
	}
	memory, err := newMemory(m.memoryBytes())
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if memory != nil {
		defer func() { _ = memory.Close() }() // QEMU has it too
	}
	if err = m.launch(ctx, accel.Name, memory, nil, m.executing); err != nil && ctx.Err() == nil && accel.Name != tcg {
		m.driver.forget() // what worked once does no longer: ask the host again next time
	}
	return err
}

// prepare makes the machine's folder ready for a new process.
func (m *Machine) prepare() error {
	if err := m.files.checkDisk(m.spec); err != nil {
		return err
	}
	if err := hostfiles.Rotate(m.files.console()); err != nil {
		return err
	}
	// A socket that is left of a QEMU that died would be in the way of the new one's.
	return absent(os.Remove(m.files.monitor()))
}

// launch starts the process with the guest's memory, if that is not nil, and more arguments than usual, and returns when
// ready does: that is, when the guest executes. When it does not get that far, no process is left.
func (m *Machine) launch(
	ctx context.Context, accel accelerator, memory *os.File, more []string, ready func(context.Context, *monitor) error,
) error {
	log, err := os.OpenFile(m.files.errors(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c, err := m.files.readChain()
	if err != nil {
		return err
	}
	// The process outlives ctx, this command, and the terminal: it gets a session of its own.
	arguments := append(args(m.spec, accel, c.below(c.Active)), more...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), m.driver.program(m.spec.Image, accel), arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if memory != nil {
		cmd.ExtraFiles = []*os.File{memory}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// QEMU writes the same there a little later. Were this cut off in between, the process would not be found.
	if err := os.WriteFile(m.files.pid(), fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the log says why
	}()
	err = m.answering(ctx, ready, func() bool {
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

// answering calls ready with the monitor of a new QEMU.
func (m *Machine) answering(ctx context.Context, ready func(context.Context, *monitor) error, alive func() bool) error {
	qemu, err := m.reach(ctx, m.driver.limits.start, alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.start)
	defer cancel()
	return ready(ctx, qemu)
}

// executing returns once the guest executes.
func (m *Machine) executing(ctx context.Context, qemu *monitor) error {
	return every(ctx, answerTick, func() (done bool, err error) {
		status, err := qemu.status(ctx)
		if err == nil && status != "running" && status != "prelaunch" {
			err = fmt.Errorf("QEMU reports that the guest is in state %q", status)
		}
		return status == "running", err
	})
}
