// Package fake is a driver without machines. It keeps the state of what it made in the folder of each machine's Spec, as
// real drivers do, so that several processes see the same; and it fails where it is told to. Commands on its machines are
// answered by a list of responses; see Runner.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// Op is a thing that a driver or its machine does, and that can be made to fail.
type Op string

// The operations that can fail.
const (
	Create Op = "create"
	State  Op = "state"
	List   Op = "list" // Machines
	Start  Op = "start"
	Stop   Op = "stop"
	Delete Op = "delete"
	Run    Op = "run"
	Put    Op = "put"
	Wait   Op = "wait"

	Suspend         Op = "suspend"
	Resume          Op = "resume"
	Fits            Op = "fits"
	Pause           Op = "pause"
	Unpause         Op = "unpause"
	Grow            Op = "grow"
	SaveSnapshot    Op = "save"
	RestoreSnapshot Op = "restore"
	DeleteSnapshot  Op = "drop"
)

// Options say how the fake behaves. The zero value works and never fails. It can be read from JSON.
type Options struct {
	Name        string            `json:"name"`        // empty: "fake"
	Accelerator string            `json:"accelerator"` // empty: "fake"
	Note        string            `json:"note"`        // what Accelerator has to say
	Words       string            `json:"words"`       // the program's own, beside the note
	Findings    []drivers.Finding `json:"findings"`    // what Check returns; none: one that is Good
	Failures    map[Op]Failure    `json:"failures"`
	Responses   Responses         `json:"responses"`
	// Registry is a folder, made when it is needed, in which machines are noted also outside of their own folders, so that
	// Machines finds them. It stands for what a hypervisor knows by itself. Empty: Machines finds none.
	Registry string `json:"registry"`
	Plain    bool   `json:"plain"` // machines can do nothing but what all machines can
}

// Failure makes one operation fail.
type Failure struct {
	Error string  `json:"error"` // text of the error
	ID    fail.ID `json:"id"`    // when set, the error is a *fail.Error with this ID
	// Hang waits until ctx ends, and then fails with its error; Error is not used. A Stop for which somebody is in a hurry
	// (machine.WithHurry) works then.
	Hang bool `json:"hang"`
	// When says how far the operation gets. A real driver cleans up after an error; Half and After are for what a process
	// leaves that was killed.
	When  When `json:"when"`
	Times int  `json:"times"` // how often it fails in one process, before it works; 0: always
}

// When is how far an operation gets before it fails.
type When string

// How far an operation gets.
const (
	Before When = ""      // nothing was done, or all was taken back
	Half   When = "half"  // Create leaves a part, Delete too; other operations have no half and do as Before
	After  When = "after" // everything was done
)

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Accelerated = (*Driver)(nil)
	_ drivers.Appender    = (*Machine)(nil)
	_ machine.Machine     = (*Machine)(nil)
)

// Driver is a drivers.Driver without machines.
type Driver struct {
	options Options
	disk    sync.Mutex // held while a machine's record changes

	mu   sync.Mutex
	left map[Op]Failure // failures that are still to come
}

// New returns a Driver that behaves as options say.
func New(options Options) *Driver {
	if options.Name == "" {
		options.Name = "fake"
	}
	if options.Accelerator == "" {
		options.Accelerator = "fake"
	}
	return &Driver{options: options, left: maps.Clone(options.Failures)}
}

// Name returns the driver's name.
func (d *Driver) Name() string { return d.options.Name }

// Check returns the findings of the options.
func (d *Driver) Check(context.Context) []drivers.Finding {
	if len(d.options.Findings) == 0 {
		return []drivers.Finding{{Name: d.options.Name, Level: drivers.Good, Text: "Machines are made of files."}}
	}
	return d.options.Findings
}

// Accelerator returns what the options say.
func (d *Driver) Accelerator(context.Context, machine.Image) (name, note, words string) {
	return d.options.Accelerator, d.options.Note, d.options.Words
}

// Create writes the machine's record.
func (d *Driver) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m := d.machine(spec)
	err := d.do(ctx, Create, m.record.partial, m.record.create)
	if err != nil {
		return nil, fmt.Errorf("create machine %q: %w", spec.Name, err)
	}
	return d.Machine(spec), nil
}

// Machine returns the handle of the machine that spec describes.
func (d *Driver) Machine(spec machine.Spec) machine.Machine {
	if d.options.Plain {
		return struct{ machine.Machine }{d.machine(spec)}
	}
	return d.machine(spec)
}

// Machines returns what is noted in the registry, also of machines whose folders are gone.
func (d *Driver) Machines(ctx context.Context) (found []drivers.Found, err error) {
	err = d.do(ctx, List, nil, func() (err error) {
		found, err = registered(d.options.Registry)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	return found, nil
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	return &Machine{
		driver: d,
		name:   spec.Name, diskBytes: spec.DiskBytes,
		record: record{dir: spec.Dir, registry: d.options.Registry, cluster: spec.Cluster, name: spec.Name},
		runner: NewRunner(runnerDir(spec.Dir), d.options.Responses),
	}
}

// do does an operation, or fails where the options say so. half is what is left of it when it is cut off; it may be nil.
func (d *Driver) do(ctx context.Context, op Op, half, whole func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	failure, fails := d.take(op)
	if !fails {
		return d.change(whole)
	}
	switch {
	case failure.When == After:
		if err := d.change(whole); err != nil {
			return err
		}
	case failure.When == Half && half != nil:
		if err := d.change(half); err != nil {
			return err
		}
	}
	if failure.Hang {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-machine.Hurry(ctx):
			return d.change(whole)
		}
	}
	return failure.err()
}

func (d *Driver) change(change func() error) error {
	d.disk.Lock()
	defer d.disk.Unlock()
	return change()
}

// take returns the failure that is due for op, and counts it.
func (d *Driver) take(op Op) (Failure, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	failure, ok := d.left[op]
	if !ok {
		return failure, false
	}
	switch failure.Times {
	case 0: // for ever
	case 1:
		delete(d.left, op)
	default:
		next := failure
		next.Times--
		d.left[op] = next
	}
	return failure, true
}

func (f Failure) err() error {
	text := f.Error
	if text == "" {
		text = "it was told to fail"
	}
	err := errors.New(text)
	if f.ID != "" {
		return &fail.Error{ID: f.ID, Err: err}
	}
	return err
}

// Machine is a machine.Machine that is only a record in a file.
type Machine struct {
	driver    *Driver
	name      string
	diskBytes int64
	record    record
	runner    *Runner
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.name }

// Runner returns what answers the machine's commands; it also tells which there were.
func (m *Machine) Runner() *Runner { return m.runner }

// ConsoleLog returns the path of a file that tells when the machine was powered on and off.
func (m *Machine) ConsoleLog() string { return m.record.console() }

// AppendsConsole implements drivers.Appender.
func (*Machine) AppendsConsole() {}

// State reads the record.
func (m *Machine) State(ctx context.Context) (machine.State, error) {
	state := machine.Broken
	err := m.driver.do(ctx, State, nil, func() (err error) {
		state, err = m.record.state()
		return err
	})
	if err != nil {
		return machine.Broken, fmt.Errorf("look at machine %q: %w", m.name, err)
	}
	return state, nil
}

// Start sets the machine running, and forgets the memory that it might have had.
func (m *Machine) Start(ctx context.Context) error { return m.to(ctx, Start, machine.Running) }

// Stop sets the machine stopped. A machine that does not exist is stopped.
func (m *Machine) Stop(ctx context.Context) error { return m.to(ctx, Stop, machine.Stopped) }

func (m *Machine) to(ctx context.Context, op Op, state machine.State) error {
	if err := m.driver.do(ctx, op, nil, func() error { return m.record.set(state) }); err != nil {
		return fmt.Errorf("%s machine %q: %w", op, m.name, err)
	}
	return nil
}

// Delete removes the record, the log and all that was put on the machine.
func (m *Machine) Delete(ctx context.Context) error {
	if err := m.driver.do(ctx, Delete, m.record.half, m.record.remove); err != nil {
		return fmt.Errorf("delete machine %q: %w", m.name, err)
	}
	return nil
}

// Wait returns once commands run on the machine, which is at once when it is running.
func (m *Machine) Wait(ctx context.Context) error { return m.reach(ctx, Wait) }

// Run answers with the first response that matches; see Runner.
func (m *Machine) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	if err := m.reach(ctx, Run); err != nil {
		return machine.Result{}, err
	}
	return m.runner.Run(ctx, cmd)
}

// Put keeps the file in the machine's folder; see Runner.
func (m *Machine) Put(ctx context.Context, path string, mode fs.FileMode, body io.Reader) error {
	if err := m.reach(ctx, Put); err != nil {
		return err
	}
	return m.runner.Put(ctx, path, mode, body)
}

// reach fails unless the machine is running.
func (m *Machine) reach(ctx context.Context, op Op) error {
	err := m.driver.do(ctx, op, nil, func() error {
		state, err := m.record.state()
		if err == nil && state != machine.Running {
			err = fmt.Errorf("it is %s", state)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reach machine %q: %w", m.name, err)
	}
	return nil
}

// Crash does what the end of a machine without warning does: a running machine is stopped afterwards.
func (m *Machine) Crash() error {
	return m.driver.change(func() error {
		state, err := m.record.state()
		if err != nil || state != machine.Running {
			return err
		}
		return m.record.set(machine.Stopped)
	})
}

// LoseControl does what the removal of its control socket does to a running machine: it runs, and obeys nothing any more
// (machine.ErrUncontrolled).
func (m *Machine) LoseControl() error {
	return m.driver.change(func() error {
		c, err := m.record.read()
		if err != nil || c.State != machine.Running {
			return err
		}
		c.Uncontrolled = true
		return m.record.write(c)
	})
}
