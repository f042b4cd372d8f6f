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
	State     machine.State `json:"state"`
	Suspended bool          `json:"suspended,omitempty"`
	Snapshots []snapshot    `json:"snapshots,omitempty"`
}

func (r record) file() string    { return filepath.Join(r.dir, "fake.json") }
func (r record) part() string    { return filepath.Join(r.dir, "fake.part") }
func (r record) console() string { return filepath.Join(r.dir, "console.log") }

// runnerDir is where the Runner of the machine in dir keeps its files.
func runnerDir(dir string) string { return filepath.Join(dir, "fake-guest") }

// state returns Absent when there is no record.
func (r record) state() (machine.State, error) {
	c, err := r.read()
	return c.State, err
}

// read returns an absent machine when there is no record.
func (r record) read() (content, error) {
	raw, err := os.ReadFile(r.file())
	if errors.Is(err, fs.ErrNotExist) {
		return content{State: machine.Absent}, nil
	}
	broken := content{State: machine.Broken}
	if err != nil {
		return broken, err
	}
	var c content
	if err := json.Unmarshal(raw, &c); err != nil {
		return broken, fmt.Errorf("read %s: %w", r.file(), err)
	}
	return c, nil
}

func (r record) write(c content) error {
	raw, err := json.Marshal(c)
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
	return r.write(content{State: machine.Stopped})
}

// set brings the machine to a state. Stopping a machine that is not there is no error.
func (r record) set(to machine.State) error {
	c, err := r.read()
	switch {
	case err != nil || c.State == to:
		return err
	case c.State == machine.Absent && to == machine.Stopped:
		return nil
	case c.State == machine.Absent:
		return errors.New("it does not exist")
	}
	if err := r.log(to); err != nil {
		return err
	}
	c.State, c.Suspended = to, false
	return r.write(c)
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
		os.RemoveAll(r.snapshots()),
	)
}

// absent takes it as a success that there was nothing to remove.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
