package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

var (
	_ drivers.Suspender   = (*Machine)(nil)
	_ drivers.Pauser      = (*Machine)(nil)
	_ drivers.Snapshotter = (*Machine)(nil)
	_ drivers.Movable     = (*Machine)(nil)
	_ drivers.Grower      = (*Machine)(nil)
)

// snapshot is what the record has of one. The guest's files of that time lie in a folder of its own.
type snapshot struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Running bool      `json:"running"`
	Memory  bool      `json:"memory"`
	Note    []byte    `json:"note"`
	Unquiet string    `json:"unquiet,omitempty"`
}

func (r record) snapshots() string           { return filepath.Join(r.dir, "fake-snapshots") }
func (r record) snapshot(name string) string { return filepath.Join(r.snapshots(), name) }

// op does an operation, with the machine's name in its error.
func (m *Machine) op(ctx context.Context, op Op, half, whole func() error) error {
	if err := m.driver.do(ctx, op, half, whole); err != nil {
		return fmt.Errorf("%s machine %q: %w", op, m.name, err)
	}
	return nil
}

// Suspend implements drivers.Suspender.
func (m *Machine) Suspend(ctx context.Context) error {
	return m.op(ctx, Suspend, nil, func() error {
		c, err := m.record.read()
		if c.Uncontrolled {
			return machine.ErrUncontrolled
		}
		if err != nil || c.State != machine.Running && c.State != machine.Paused {
			return err
		}
		if err := m.record.log(machine.Stopped); err != nil {
			return err
		}
		c.State, c.Suspended = machine.Stopped, true
		return m.record.write(c)
	})
}

// Suspended implements drivers.Suspender.
func (m *Machine) Suspended(ctx context.Context) (bool, error) {
	c, err := m.record.read()
	return c.Suspended && c.State == machine.Stopped, errors.Join(ctx.Err(), err)
}

// Fits implements drivers.Movable. A suspended machine is in no registry: only its record is there.
func (m *Machine) Fits(ctx context.Context) error {
	return m.op(ctx, Fits, nil, func() error {
		c, err := m.record.read()
		if err == nil && (!c.Suspended || c.State != machine.Stopped) {
			err = errors.New("no memory is saved")
		}
		return err
	})
}

// Resume implements drivers.Suspender.
func (m *Machine) Resume(ctx context.Context) error {
	return m.op(ctx, Resume, nil, func() error {
		c, err := m.record.read()
		if err != nil {
			return err
		}
		if !c.Suspended {
			return errors.New("no memory is saved")
		}
		return m.record.set(machine.Running)
	})
}

// Forget implements drivers.Suspender.
func (m *Machine) Forget(ctx context.Context) error {
	return m.op(ctx, "forget", nil, func() error {
		c, err := m.record.read()
		if err != nil || !c.Suspended {
			return err
		}
		c.Suspended = false
		return m.record.write(c)
	})
}

// Pause implements drivers.Pauser.
func (m *Machine) Pause(ctx context.Context) error {
	return m.op(ctx, Pause, nil, func() error {
		state, err := m.record.state()
		if err == nil && state != machine.Running && state != machine.Paused {
			err = fmt.Errorf("it is %s", state)
		}
		if err != nil {
			return err
		}
		return m.record.set(machine.Paused)
	})
}

// Unpause implements drivers.Pauser.
func (m *Machine) Unpause(ctx context.Context) error {
	return m.op(ctx, Unpause, nil, func() error {
		state, err := m.record.state()
		if err == nil && state != machine.Running && state != machine.Paused {
			err = fmt.Errorf("it is %s", state)
		}
		if err != nil {
			return err
		}
		return m.record.set(machine.Running)
	})
}

// Grow implements drivers.Grower.
func (m *Machine) Grow(ctx context.Context) error {
	return m.op(ctx, Grow, nil, func() error {
		c, err := m.record.read()
		if err == nil && c.State != machine.Running {
			err = fmt.Errorf("it is %s", c.State)
		}
		if err != nil {
			return err
		}
		c.DiskBytes = max(c.DiskBytes, m.diskBytes)
		return m.record.write(c)
	})
}

// SaveSnapshot implements drivers.Snapshotter.
func (m *Machine) SaveSnapshot(ctx context.Context, name string, note []byte, quiesce drivers.Quiesce) (drivers.Snapshot, error) {
	var saved snapshot
	var unquiet string
	if state, err := m.record.state(); err == nil && state == machine.Running && quiesce != nil {
		release, reason := quiesce(ctx)
		defer release()
		unquiet = reason
	}
	err := m.op(ctx, SaveSnapshot,
		func() error { return copyFolder(runnerDir(m.record.dir), m.record.snapshot(name)) },
		func() error {
			c, err := m.record.read()
			switch {
			case err != nil:
				return err
			case c.State == machine.Absent:
				return errors.New("it does not exist")
			case slices.ContainsFunc(c.Snapshots, func(s snapshot) bool { return s.Name == name }):
				return fs.ErrExist
			}
			if err := copyFolder(runnerDir(m.record.dir), m.record.snapshot(name)); err != nil {
				return err
			}
			running := c.State == machine.Running || c.State == machine.Paused
			saved = snapshot{Name: name, Created: time.Now().UTC(), Running: running, Memory: running || c.Suspended, Note: note, Unquiet: unquiet}
			c.Snapshots = append(c.Snapshots, saved)
			return m.record.write(c)
		})
	return saved.public(), err
}

func (s snapshot) public() drivers.Snapshot {
	return drivers.Snapshot{Name: s.Name, Created: s.Created, Running: s.Running, Memory: s.Memory, Bytes: 1 << 20, Note: s.Note, Unquiet: s.Unquiet}
}

// RestoreSnapshot implements drivers.Snapshotter.
func (m *Machine) RestoreSnapshot(ctx context.Context, name string) error {
	find := func() (content, snapshot, error) {
		c, err := m.record.read()
		i := slices.IndexFunc(c.Snapshots, func(s snapshot) bool { return s.Name == name })
		if err == nil && i < 0 {
			err = fs.ErrNotExist
		}
		if err != nil {
			return c, snapshot{}, err
		}
		return c, c.Snapshots[i], nil
	}
	return m.op(ctx, RestoreSnapshot,
		func() error { // its disk is back, its memory is not
			c, _, err := find()
			if err != nil {
				return err
			}
			c.State, c.Suspended = machine.Stopped, false
			return errors.Join(copyFolder(m.record.snapshot(name), runnerDir(m.record.dir)), m.record.write(c))
		},
		func() error {
			c, s, err := find()
			if err != nil {
				return err
			}
			if err := copyFolder(m.record.snapshot(name), runnerDir(m.record.dir)); err != nil {
				return err
			}
			c.State, c.Suspended = machine.Stopped, s.Memory
			return m.record.write(c)
		})
}

// DeleteSnapshot implements drivers.Snapshotter.
func (m *Machine) DeleteSnapshot(ctx context.Context, name string) error {
	return m.op(ctx, DeleteSnapshot, nil, func() error {
		c, err := m.record.read()
		if err != nil || c.State == machine.Absent {
			return err
		}
		c.Snapshots = slices.DeleteFunc(c.Snapshots, func(s snapshot) bool { return s.Name == name })
		return errors.Join(m.record.write(c), os.RemoveAll(m.record.snapshot(name)))
	})
}

// Snapshots implements drivers.Snapshotter.
func (m *Machine) Snapshots(ctx context.Context) ([]drivers.Snapshot, error) {
	c, err := m.record.read()
	var list []drivers.Snapshot
	for _, s := range c.Snapshots {
		list = append(list, s.public())
	}
	return list, errors.Join(ctx.Err(), err)
}

// copyFolder makes to the same as from, which need not exist.
func copyFolder(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
