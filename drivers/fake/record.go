package fake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

// record is what is on disk of a machine.
type record struct {
	dir           string
	registry      string // empty: none
	cluster, name string
}

// content is the record's file.
type content struct {
	State     machine.State `json:"state"`
	Suspended bool          `json:"suspended,omitempty"`
	DiskBytes int64         `json:"diskBytes,omitempty"` // since it grew
	// Uncontrolled is that of a machine that runs, until it is ended; see Machine.LoseControl.
	Uncontrolled bool       `json:"uncontrolled,omitempty"`
	Snapshots    []snapshot `json:"snapshots,omitempty"`
}

func (r record) file() string    { return filepath.Join(r.dir, "fake.json") }
func (r record) part() string    { return filepath.Join(r.dir, "fake.part") }
func (r record) console() string { return filepath.Join(r.dir, "console.log") }

// runnerDir is where the Runner of the machine in dir keeps its files.
func runnerDir(dir string) string { return filepath.Join(dir, "fake-guest") }

// state returns Absent when there is no record.
func (r record) state() (machine.State, error) {
	c, err := r.read()
	if c.Uncontrolled {
		return machine.Broken, machine.ErrUncontrolled
	}
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
	if err := renameio.WriteFile(r.file(), raw, 0o600); err != nil {
		return err
	}
	if c.Suspended { // what is only files may have another place when somebody looks for it again
		return r.unregister()
	}
	return r.register(c.State)
}

// entry is the machine's file in the registry; its folder stands for the machine.
func (r record) entry() string {
	sum := sha256.Sum256([]byte(r.dir))
	return filepath.Join(r.registry, hex.EncodeToString(sum[:8])+".json")
}

func (r record) register(state machine.State) error {
	if r.registry == "" {
		return nil
	}
	raw, err := json.Marshal(drivers.Found{Cluster: r.cluster, Name: r.name, Dir: r.dir, State: state})
	if err == nil {
		err = os.MkdirAll(r.registry, 0o700)
	}
	if err != nil {
		return err
	}
	return renameio.WriteFile(r.entry(), raw, 0o600)
}

func (r record) unregister() error {
	if r.registry == "" {
		return nil
	}
	return absent(os.Remove(r.entry()))
}

// registered reads a registry.
func registered(registry string) ([]drivers.Found, error) {
	if registry == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(registry)
	if err != nil {
		return nil, absent(err)
	}
	var found []drivers.Found
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".json" { // one that is being written
			continue
		}
		raw, err := os.ReadFile(filepath.Join(registry, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was deleted meanwhile
		}
		var one drivers.Found
		if err == nil {
			err = json.Unmarshal(raw, &one)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
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
	case err != nil || c.State == to && !c.Uncontrolled:
		return err
	case c.State == machine.Absent && to == machine.Stopped:
		return nil
	case c.State == machine.Absent:
		return errors.New("it does not exist")
	}
	if c.Uncontrolled && to != machine.Stopped { // the process ends, and another one starts
		if err := r.log(machine.Stopped); err != nil {
			return err
		}
	}
	if err := r.log(to); err != nil {
		return err
	}
	c.State, c.Suspended, c.Uncontrolled = to, false, false
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
		r.unregister(),
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
