package fake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/machine"
)

// record is what is on disk of a machine.
type record struct{ dir string }

// content is the record's file.
type content struct {
	State machine.State `json:"state"`
}

func (r record) file() string    { return filepath.Join(r.dir, "fake.json") }
func (r record) part() string    { return filepath.Join(r.dir, "fake.part") }
func (r record) console() string { return filepath.Join(r.dir, "console.log") }

// runnerDir is where the Runner of the machine in dir keeps its files.
func runnerDir(dir string) string { return filepath.Join(dir, "fake-guest") }

// state returns Absent when there is no record.
func (r record) state() (machine.State, error) {
	raw, err := os.ReadFile(r.file())
	if errors.Is(err, fs.ErrNotExist) {
		return machine.Absent, nil
	}
	if err != nil {
		return machine.Broken, err
	}
	var c content
	if err := json.Unmarshal(raw, &c); err != nil {
		return machine.Broken, fmt.Errorf("read %s: %w", r.file(), err)
	}
	return c.State, nil
}

func (r record) write(state machine.State) error {
	raw, err := json.Marshal(content{State: state})
	if err != nil {
		return err
	}
	return renameio.WriteFile(r.file(), raw, 0o600)
}

// create leaves a machine that exists as it is.
func (r record) create() error {
	state, err := r.state()
	if err != nil || state != machine.Absent {
		return err
	}
	if err := os.Remove(r.part()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.write(machine.Stopped)
}

// set brings the machine to a state. Stopping a machine that is not there is no error.
func (r record) set(to machine.State) error {
	state, err := r.state()
	switch {
	case err != nil || state == to:
		return err
	case state == machine.Absent && to == machine.Stopped:
		return nil
	case state == machine.Absent:
		return errors.New("it does not exist")
	}
	if err := r.log(to); err != nil {
		return err
	}
	return r.write(to)
}

func (r record) log(to machine.State) error {
	file, err := os.OpenFile(r.console(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "machine is %s\n", to)
	return errors.Join(err, file.Close())
}

// partial leaves what a Create that was killed leaves.
func (r record) partial() error { return os.WriteFile(r.part(), nil, 0o600) }

// half leaves what a Delete that was killed leaves: parts of a machine that is gone.
func (r record) half() error {
	if err := r.partial(); err != nil {
		return err
	}
	return absent(os.Remove(r.file()))
}

func (r record) remove() error {
	return errors.Join(
		absent(os.Remove(r.file())),
		absent(os.Remove(r.part())),
		absent(os.Remove(r.console())),
		os.RemoveAll(runnerDir(r.dir)),
	)
}

// absent takes it as a success that there was nothing to remove.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
