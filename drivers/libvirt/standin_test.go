package libvirt

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// standIn is a libvirt whose domains are files, so that several processes see the same. It fails where it is told to.
type standIn struct {
	dir      string
	fail     map[string]error // by method
	deaf     bool             // guests do not react to the power button
	full     bool             // guests cannot write their disks
	hang     chan struct{}    // not nil: Start returns when it is closed
	save     chan struct{}    // not nil: Save begins, sends, and lasts until it is aborted
	networks map[string]*standInNetwork
	open     error  // of connecting
	version  string // other than that of the others
}

var _ connection = (*standIn)(nil)

// domainFile is a domain of the stand-in.
type domainFile struct {
	XML       string
	Condition condition
	Saved     bool   // its memory is kept
	Bytes     uint64 // of its disk, since it grew
}

func (s *standIn) connect(string) (connection, error) {
	if s.open != nil {
		return nil, s.open
	}
	return s, nil
}

func (s *standIn) path(name string) string { return filepath.Join(s.dir, name+".json") }

func (s *standIn) read(method, name string) (domainFile, error) {
	var d domainFile
	if err := s.fail[method]; err != nil {
		return d, err
	}
	raw, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return d, errNoDomain
	}
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	return d, err
}

func (s *standIn) write(name string, d domainFile) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	part := s.path(name) + ".part"
	if err := os.WriteFile(part, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(part, s.path(name))
}

// change brings a domain from one of the given conditions to another.
func (s *standIn) change(method, name string, to condition, from ...condition) error {
	d, err := s.read(method, name)
	if err != nil {
		return err
	}
	if !slices.Contains(from, d.Condition) {
		return fmt.Errorf("%s: the domain is %s", method, d.Condition)
	}
	d.Condition = to
	return s.write(name, d)
}

func (s *standIn) Version() (string, error) {
	if s.version != "" {
		return s.version, nil
	}
	return "libvirt 9.0.0 with QEMU 7.2.22", s.fail["Version"]
}

func (s *standIn) Capabilities() (string, error) {
	return "<capabilities><host><secmodel><model>none</model></secmodel></host></capabilities>", s.fail["Capabilities"]
}

func (s *standIn) Domains() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names, errors.Join(err, s.fail["Domains"])
}

// Mark returns the element without its namespace, as libvirt does.
func (s *standIn) Mark(name string) (string, error) {
	d, err := s.read("Mark", name)
	if err != nil {
		return "", err
	}
	var definition struct {
		Metadata struct {
			Machine struct {
				Inner string `xml:",innerxml"`
			} `xml:"https://skiff.dev/libvirt/1.0 machine"`
		} `xml:"metadata"`
	}
	err = xml.Unmarshal([]byte(d.XML), &definition)
	if err != nil || definition.Metadata.Machine.Inner == "" {
		return "", err
	}
	return "<machine>" + definition.Metadata.Machine.Inner + "</machine>", nil
}

func (s *standIn) Condition(name string) (condition, error) {
	d, err := s.read("Condition", name)
	return d.Condition, err
}

func (s *standIn) Define(text string) error {
	if err := s.fail["Define"]; err != nil {
		return err
	}
	var definition struct {
		Name string `xml:"name"`
	}
	if err := xml.Unmarshal([]byte(text), &definition); err != nil {
		return err
	}
	d, err := s.read("Define", definition.Name)
	if errors.Is(err, errNoDomain) {
		d.Condition = off
	} else if err != nil {
		return err
	}
	d.XML = text
	return s.write(definition.Name, d)
}

func (s *standIn) Start(name string) error {
	if s.hang != nil {
		<-s.hang
	}
	if d, err := s.read("Start", name); err == nil && d.Saved {
		return errors.New("libvirt would go on from the saved memory")
	}
	return s.change("Start", name, running, off, crashed)
}

func (s *standIn) Save(name string) error {
	if s.save != nil {
		return s.saveUntilAborted(name)
	}
	if err := s.change("Save", name, off, running, paused); err != nil {
		return err
	}
	return s.keep("Save", name, true)
}

// saveUntilAborted is a Save that takes long.
func (s *standIn) saveUntilAborted(name string) error {
	if err := s.change("Save", name, saving, running, paused); err != nil {
		return err
	}
	s.save <- struct{}{}
	for {
		now, err := s.Condition(name)
		if err != nil {
			return err
		}
		if now != saving {
			return errors.New("operation aborted: domain save job: canceled by client")
		}
	}
}

func (s *standIn) Abort(name string) error { return s.change("Abort", name, running, saving) }

func (s *standIn) Saved(name string) (bool, error) {
	d, err := s.read("Saved", name)
	return d.Saved, err
}

func (s *standIn) Restore(name string) error {
	d, err := s.read("Restore", name)
	if err == nil && !d.Saved {
		err = errors.New("libvirt would boot it")
	}
	if err == nil {
		err = s.change("Restore", name, paused, off)
	}
	if err != nil {
		return err
	}
	return s.keep("Restore", name, false)
}

func (s *standIn) Forget(name string) error { return s.keep("Forget", name, false) }

// keep notes whether the domain's memory is kept.
func (s *standIn) keep(method, name string, saved bool) error {
	d, err := s.read(method, name)
	if err == nil && d.Saved == saved {
		err = fmt.Errorf("%s: the memory is kept: %t", method, saved)
	}
	if err != nil {
		return err
	}
	d.Saved = saved
	return s.write(name, d)
}

func (s *standIn) Suspend(name string) error { return s.change("Suspend", name, paused, running) }

func (s *standIn) Resume(name string) error {
	if s.full {
		return s.change("Resume", name, ioError, paused, ioError, suspended)
	}
	return s.change("Resume", name, running, paused, ioError, suspended)
}

func (s *standIn) Press(name string) error {
	if now, err := s.Condition(name); err == nil && now == ioError { // QEMU takes it for the guest, which stands still
		return nil
	}
	if s.deaf {
		return s.change("Press", name, running, running)
	}
	return s.change("Press", name, off, running)
}

func (s *standIn) Grow(name string, bytes uint64) error {
	d, err := s.read("Grow", name)
	if err == nil && d.Condition != running {
		err = errors.New("it does not run")
	}
	if err != nil {
		return err
	}
	d.Bytes = max(d.Bytes, bytes)
	return s.write(name, d)
}

func (s *standIn) Destroy(name string) error {
	return s.change("Destroy", name, off, running, paused, ioError, ending, crashed, suspended)
}

func (s *standIn) Undefine(name string) error {
	if _, err := s.read("Undefine", name); err != nil {
		return err
	}
	return os.Remove(s.path(name))
}

// standInNetwork is a network of the stand-in.
type standInNetwork struct {
	inactive bool
	without  bool // a range for DHCP
	hosts    []string
	leases   []string
	busy     int // how often Reserve finds that somebody else was faster
}

func (s *standIn) Network(name string) (string, bool, error) {
	n := s.networks[name]
	if n == nil {
		return "", false, errNoNetwork
	}
	if n.without {
		return "<network><forward mode='bridge'/></network>", true, nil
	}
	return "<network><ip address='192.168.150.1' netmask='255.255.255.0'><dhcp><range start='192.168.150.2' end='192.168.150.254'/>" +
		strings.Join(n.hosts, "") + "</dhcp></ip></network>", !n.inactive, s.fail["Network"]
}

func (s *standIn) Leases(network string) ([]string, error) {
	return s.networks[network].leases, s.fail["Leases"]
}

func (s *standIn) Reserve(network, host string) error {
	n := s.networks[network]
	if n.busy > 0 {
		n.busy--
		n.hosts = append(n.hosts, strings.Replace(host, "52:54:00", "52:54:01", 1))
		return errors.New("there is an existing dhcp host entry in network that matches")
	}
	n.hosts = append(n.hosts, host)
	return s.fail["Reserve"]
}

func (s *standIn) Release(network, host string) error {
	n := s.networks[network]
	if !slices.Contains(n.hosts, host) {
		return errors.New("couldn't locate a matching dhcp host entry")
	}
	n.hosts = slices.DeleteFunc(n.hosts, func(have string) bool { return have == host })
	return s.fail["Release"]
}

func (s *standIn) Close() {}
