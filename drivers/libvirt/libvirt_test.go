package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// fakeQEMU has an accelerator by name.
type fakeQEMU string

func (q fakeQEMU) Accelerator(context.Context, machine.Image) (name, note, words string) {
	return string(q), "a note", ""
}

func (q fakeQEMU) Check(context.Context) []drivers.Finding {
	return []drivers.Finding{{Name: "qemu", Level: drivers.Good, Text: "QEMU is there."}}
}

// qemuImg is a stand-in for qemu-img: a script that makes the header of a layer.
func qemuImg(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu-img")
	// create -q -f qcow2 -F raw -b BASE -- PATH SIZE: magic number, version 3, offset 20 and length of the base's name.
	script := `#!/bin/sh
printf 'QFI\373\0\0\0\3\0\0\0\0\0\0\0\024\0\0\0\'"$(printf '%03o' ${#8})""$8" > "${10}"
`
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// testSpec describes a machine whose image is a few empty files.
func testSpec(t *testing.T) machine.Spec {
	t.Helper()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	base, run := t.TempDir(), shortDir(t)
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30,
		Dir: t.TempDir(), RunDir: run,
		Image: machine.Image{
			Disk: filepath.Join(base, "disk.raw"), Kernel: filepath.Join(base, "vmlinuz"), Initrd: filepath.Join(base, "initrd"), Cmdline: "console=ttyS0",
		},
		Network: machine.Network{
			Socket: filepath.Join(run, "net.sock"), MAC: "5a:94:ef:e4:0c:ee",
			Address: netip.MustParsePrefix("192.168.127.2/24"), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
		Identity: identity.Machine(),
		SSH:      machine.SSH{User: "root", PrivateKey: identity.UserKey, HostKey: identity.HostPublicKey},
	}
	for _, path := range []string{spec.Image.Disk, spec.Image.Kernel, spec.Image.Initrd} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

// shortDir is for sockets, whose paths are limited to 107 bytes; t.TempDir's hold the test's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "skiff-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newDriver returns a driver of a libvirt that is only played.
func newDriver(t *testing.T, libvirt *standIn, runner machine.Runner) *Driver {
	t.Helper()
	if libvirt.dir == "" {
		libvirt.dir = t.TempDir()
	}
	d := New(Options{
		Runner: func(machine.SSH) machine.Runner { return runner }, QEMU: fakeQEMU("tcg"), StopTimeout: 10 * time.Second, QEMUImg: qemuImg(t),
	})
	d.connect = libvirt.connect
	return d
}

// reachable is a guest that answers while its domain runs.
type reachable struct {
	*fake.Runner
	libvirt *standIn
	spec    *machine.Spec
}

func (r *reachable) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	all, err := r.libvirt.Domains()
	for _, name := range all {
		text, markErr := r.libvirt.Mark(name)
		mark, _ := domain.ReadMark(text)
		now, conditionErr := r.libvirt.Condition(name)
		if err = errors.Join(err, markErr, conditionErr); mark.Dir == r.spec.Dir && now == running {
			return r.Runner.Run(ctx, cmd)
		}
	}
	return machine.Result{}, errors.Join(errors.New("connection refused"), err)
}

// standInVariable hands the domains on to the process that the suite starts.
const standInVariable = "SKIFF_TEST_LIBVIRT_STANDIN"

func TestConformance(t *testing.T) {
	if os.Getenv(standInVariable) == "" {
		t.Setenv(standInVariable, t.TempDir())
	}
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		spec := testSpec(t)
		libvirt := &standIn{dir: os.Getenv(standInVariable)}
		runner := &reachable{Runner: fake.NewRunner(t.TempDir(), drivertest.Guest(spec)), libvirt: libvirt, spec: &spec}
		d := newDriver(t, libvirt, runner)
		return drivertest.Target{
			Driver: d, Spec: spec,
			Fresh: func() drivers.Driver { other := *d; return &other },
			Crash: func(_ context.Context, m machine.Machine) error {
				return libvirt.change("Crash", m.(*Machine).domain, crashed, running)
			},
		}
	})
}

func created(t *testing.T, d *Driver, spec machine.Spec) *Machine {
	t.Helper()
	m, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*Machine)
}

func wantState(t *testing.T, m machine.Machine, want machine.State) error {
	t.Helper()
	got, err := m.State(t.Context())
	if got != want || (err != nil) != (want == machine.Broken) {
		t.Errorf("got state %s (%v), want %s", got, err, want)
	}
	return err
}

// set brings the domain of a machine into a condition.
func set(t *testing.T, libvirt *standIn, m *Machine, now condition) {
	t.Helper()
	d, err := libvirt.read("", m.domain)
	d.Condition = now
	if err == nil {
		err = libvirt.write(m.domain, d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		now     condition
		state   machine.State
		started bool // Start brings it to run
	}{
		{running, machine.Running, true},
		{paused, machine.Paused, true},
		{suspended, machine.Paused, true},
		{off, machine.Stopped, true},
		{crashed, machine.Stopped, true},
		{ioError, machine.Broken, true},
		{"in state 8", machine.Broken, false},
	}
	libvirt := &standIn{}
	d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
	m := created(t, d, testSpec(t))
	for _, test := range tests {
		set(t, libvirt, m, test.now)
		_ = wantState(t, m, test.state)
		err := m.Start(t.Context())
		if (err == nil) != test.started {
			t.Errorf("Start of a guest that is %q: got error %v, want it to start: %t", test.now, err, test.started)
		}
		if test.started {
			_ = wantState(t, m, machine.Running)
		}
	}
}

// slowEnd is a libvirt whose domain takes a while to shut down.
type slowEnd struct {
	*standIn
	asks int // until it is off
}

func (s *slowEnd) Condition(name string) (condition, error) {
	now, err := s.standIn.Condition(name)
	if s.asks--; now == ending && s.asks <= 0 {
		return off, s.change("end", name, off, ending)
	}
	return now, err
}

// A machine that shuts down may take as long for that as a stop, without libvirt being blamed.
func TestStartOfAMachineThatShutsDown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		asks int
		stop time.Duration
	}{"it ends": {4, time.Minute}, "it hangs": {1 << 30, 50 * time.Millisecond}} {
		libvirt := &standIn{}
		d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
		m := created(t, d, testSpec(t))
		set(t, libvirt, m, ending)
		d.options.StopTimeout, d.limits.act = test.stop, 200*time.Millisecond
		slow := &slowEnd{libvirt, test.asks}
		d.connect = func(string) (connection, error) { return slow, nil }
		if err := m.Start(t.Context()); err != nil {
			t.Errorf("%s: Start: %v", name, err)
		}
		d.connect = libvirt.connect
		_ = wantState(t, m, machine.Running)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	m := created(t, newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
	if err := m.Pause(t.Context()); err == nil {
		t.Error("Pause of a stopped machine gave no error")
	}
	if err := m.Unpause(t.Context()); err == nil {
		t.Error("Unpause of a stopped machine gave no error")
	}
	_ = wantState(t, m, machine.Stopped)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Pause(t.Context()); err != nil {
			t.Errorf("Pause: %v", err)
		}
		_ = wantState(t, m, machine.Paused)
	}
	for range 2 {
		if err := m.Unpause(t.Context()); err != nil {
			t.Errorf("Unpause: %v", err)
		}
		_ = wantState(t, m, machine.Running)
	}
	if err := m.Pause(t.Context()); err != nil {
		t.Errorf("Pause: %v", err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("Stop of a paused machine: %v", err)
	}
	_ = wantState(t, m, machine.Stopped)
}

// Pause waits for who else changes the machine.
func TestPauseWaitsForOthers(t *testing.T) {
	t.Parallel()
	m := created(t, newDriver(t, &standIn{}, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	release, err := hostfiles.Lock(t.Context(), m.spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Pause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another has the machine: got error %v, want %v", err, context.DeadlineExceeded)
	}
	_ = wantState(t, m, machine.Running)
	release()
	if err := m.Pause(t.Context()); err != nil {
		t.Error(err)
	}
}

// A domain of the machine's name that is somebody else's is never touched.
func TestForeignDomain(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	d, spec := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t)
	name := domain.Name(spec)
	others := spec
	others.Cluster = "other"
	marked, err := domain.XML(others, domain.Options{Type: domain.QEMU})
	if err != nil {
		t.Fatal(err)
	}
	for what, xml := range map[string]string{
		"without a mark":               "<domain><name>" + name + "</name></domain>",
		"with the mark of another one": strings.Replace(string(marked), domain.Name(others), name, 1),
	} {
		foreign := domainFile{XML: xml, Condition: running}
		if err := libvirt.write(name, foreign); err != nil {
			t.Fatal(err)
		}
		m := d.Machine(spec)
		_ = wantState(t, m, machine.Absent)
		if _, err := d.Create(t.Context(), spec); !fail.Is(err, fail.DomainForeign) {
			t.Errorf("%s: Create gave error %v, want %s", what, err, fail.DomainForeign)
		}
		if err := m.Start(t.Context()); !fail.Is(err, fail.DomainForeign) {
			t.Errorf("%s: Start gave error %v, want %s", what, err, fail.DomainForeign)
		}
		if err := m.Stop(t.Context()); !fail.Is(err, fail.DomainForeign) {
			t.Errorf("%s: Stop gave error %v, want %s", what, err, fail.DomainForeign)
		}
		if err := m.Delete(t.Context()); err != nil { // of the machine there is nothing
			t.Errorf("%s: Delete: %v", what, err)
		}
		// Where the machine has a disk, somebody may have taken the mark away, and the domain may use the disk.
		disk := filepath.Join(spec.Dir, "disk.qcow2")
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := wantState(t, m, machine.Broken); !fail.Is(err, fail.DomainForeign) {
			t.Errorf("%s: State gave error %v, want %s", what, err, fail.DomainForeign)
		}
		if err := m.Delete(t.Context()); !fail.Is(err, fail.DomainForeign) {
			t.Errorf("%s: Delete gave error %v, want %s", what, err, fail.DomainForeign)
		}
		if err := os.Remove(disk); err != nil {
			t.Errorf("%s: the disk is gone: %v", what, err)
		}
		if left, err := libvirt.read("", name); err != nil || left != foreign {
			t.Errorf("%s: the foreign domain is %+v (%v), want it as it was", what, left, err)
		}
	}
	if found, err := d.Machines(t.Context()); err != nil || slices.ContainsFunc(found, func(f drivers.Found) bool { return f.Cluster == "dev" }) {
		t.Errorf("Machines: got %+v (%v), want none of cluster dev", found, err)
	}
}

// What libvirt forgot, as with virsh undefine, is made known to it again, with the disk as it was.
func TestCreateKeepsTheDisk(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	d, spec := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t)
	m := created(t, d, spec)
	mark := []byte("something that the guest wrote")
	disk, err := os.OpenFile(m.files.Disk, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = disk.Write(mark)
	}
	if err == nil {
		err = errors.Join(disk.Close(), libvirt.Undefine(m.domain))
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = wantState(t, m, machine.Absent)
	_ = created(t, d, spec)
	if content, err := os.ReadFile(m.files.Disk); err != nil || !strings.HasSuffix(string(content), string(mark)) {
		t.Errorf("the disk is %q (%v), want it as it was", content, err)
	}
	// Over another image it would not be the disk that it was.
	if err := libvirt.Undefine(m.domain); err != nil {
		t.Fatal(err)
	}
	spec.Image.Disk = spec.Image.Kernel
	if _, err := d.Create(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "is a layer over") {
		t.Errorf("Create over another image gave error %v", err)
	}
	if content, err := os.ReadFile(m.files.Disk); err != nil || !strings.HasSuffix(string(content), string(mark)) {
		t.Errorf("the disk is %q (%v), want it as it was", content, err)
	}
}

func TestNoLibvirt(t *testing.T) {
	t.Parallel()
	for cause, want := range map[error]fail.ID{
		errNotBuilt: fail.LibvirtUnreachable, errNoLibrary: fail.LibvirtUnreachable, errUnreachable: fail.LibvirtUnreachable, errRefused: fail.LibvirtNoAccess,
	} {
		libvirt := &standIn{open: fmt.Errorf("%w: so it is", cause)}
		d, spec := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t)
		finding := d.Check(t.Context())[0]
		if finding.Level != drivers.Failure || finding.ID != want || finding.Remedy == "" || !strings.HasSuffix(finding.Text, "so it is.") {
			t.Errorf("%v: got %+v, want a failure %s with a remedy", cause, finding, want)
		}
		if missing := cause == errNotBuilt || cause == errNoLibrary; finding.Missing != missing { //nolint:errorlint // they are these
			t.Errorf("%v: got missing %t, want %t", cause, finding.Missing, missing)
		}
		m := d.Machine(spec)
		_, createErr := d.Create(t.Context(), spec)
		_, listErr := d.Machines(t.Context())
		for what, err := range map[string]error{
			"State": wantState(t, m, machine.Broken), "Create": createErr, "Machines": listErr,
			"Start": m.Start(t.Context()), "Stop": m.Stop(t.Context()), "Delete": m.Delete(t.Context()),
		} {
			if !fail.Is(err, want) {
				t.Errorf("%v: %s gave error %v, want %s", cause, what, err, want)
			}
		}
		if left, _ := filepath.Glob(spec.Dir + "/*"); len(left) != 0 {
			t.Errorf("%v: it left %q", cause, left)
		}
	}
}

// What mends a libvirt that does not answer depends on whose it is, and on what it consists of.
func TestRestart(t *testing.T) {
	t.Parallel()
	const (
		one, qemu, socket = "/usr/sbin/libvirtd", "/usr/sbin/virtqemud", "/run/libvirt/virtqemud-sock"
		elsewhere         = "virtqemud" // in PATH
	)
	for _, test := range []struct {
		uri  string
		root bool
		has  []string
		want string
	}{
		{SystemURI, false, []string{one}, "sudo systemctl restart libvirtd"},
		{SystemURI, false, []string{one, qemu}, "sudo systemctl restart libvirtd"},
		{SystemURI, false, []string{one, qemu, socket}, "sudo systemctl restart virtqemud"},
		{SystemURI, false, []string{elsewhere}, "sudo systemctl restart virtqemud"},
		{SessionURI, false, []string{one}, "pkill -KILL -x -u $USER libvirtd"},
		{SessionURI, false, []string{qemu}, "pkill -KILL -x -u $USER virtqemud"},
		{SessionURI, true, []string{one}, "sudo systemctl restart libvirtd"},
		{SystemURI, false, nil, install},
		{SessionURI, false, nil, install},
	} {
		got := restart(test.uri, test.root, func(path string) bool { return slices.Contains(test.has, path) })
		if got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
	d := newDriver(t, &standIn{open: errNoLibrary}, nil)
	if got := d.Check(t.Context())[0].Remedy; got != install {
		t.Errorf("without the library: got %q, want %q", got, install)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d := newDriver(t, &standIn{}, nil)
	findings := d.Check(t.Context())
	if len(findings) != 2 || findings[0].Level != drivers.Good || findings[0].Text != "libvirt 9.0.0 with QEMU 7.2.22 answers at qemu:///session." || findings[1].Name != "qemu" {
		t.Errorf("got %+v, want that libvirt answers, and what QEMU's check finds", findings)
	}
}

// When libvirt is killed while it starts the machine, the error says so, and the next start goes on.
func TestLibvirtKilledDuringStart(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Mark", "Condition", "Capabilities", "Define", "Start"} {
		libvirt := &standIn{}
		m := created(t, newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t))
		libvirt.fail = map[string]error{method: fmt.Errorf("%w: end of file", errLost)}
		if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtLost) {
			t.Errorf("lost in %s: Start gave error %v, want %s", method, err, fail.LibvirtLost)
		}
		libvirt.fail = nil
		if err := m.Start(t.Context()); err != nil {
			t.Errorf("lost in %s: the next Start: %v", method, err)
		}
		_ = wantState(t, m, machine.Running)
	}
}

func TestStartCancelled(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
	m := created(t, d, testSpec(t))
	libvirt.hang = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		cancel()
		close(libvirt.hang)
	}()
	if err := m.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	_ = wantState(t, m, machine.Stopped)
}

func TestLibvirtHangs(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{hang: make(chan struct{})} // nothing ever closes it: what would go on then has lost its folders
	d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
	m := created(t, d, testSpec(t))
	d.limits.act, d.limits.grace = 100*time.Millisecond, 10*time.Millisecond
	if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtUnreachable) {
		t.Errorf("got error %v, want %s", err, fail.LibvirtUnreachable)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a ctx that ends: got error %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestStopOfAGuestThatDoesNotListen(t *testing.T) {
	t.Parallel()
	d := newDriver(t, &standIn{deaf: true}, fake.NewRunner(t.TempDir(), nil))
	d.options.StopTimeout = 300 * time.Millisecond
	m := created(t, d, testSpec(t))
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	_ = wantState(t, m, machine.Stopped)
}

// A guest that cannot write its disk stands still, and waiting for it is of no use.
func TestStopOfAGuestWithAFullDisk(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		full bool
		fail map[string]error
	}{"still full": {full: true}, "cannot go on": {fail: map[string]error{"Resume": errors.New("no")}}, "has room again": {}} {
		libvirt := &standIn{}
		d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
		d.options.StopTimeout = time.Hour
		m := created(t, d, testSpec(t))
		set(t, libvirt, m, ioError)
		libvirt.full, libvirt.fail = test.full, test.fail
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Errorf("%s: Stop: %v", name, err)
		}
		_ = wantState(t, m, machine.Stopped)
	}
}

// A domain whose machine's folder was removed is found, and can be deleted with what was found.
func TestMachinesOutliveTheirFiles(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
	m := created(t, d, testSpec(t))
	if err := errors.Join(m.Start(t.Context()), os.RemoveAll(m.spec.Dir)); err != nil {
		t.Fatal(err)
	}
	found, err := d.Machines(t.Context())
	want := drivers.Found{Cluster: "dev", Name: "skiff", Dir: m.spec.Dir, State: machine.Running}
	if err != nil || len(found) != 1 || found[0] != want {
		t.Fatalf("got %+v (%v), want %+v", found, err, want)
	}
	if err := d.Machine(machine.Spec{Cluster: want.Cluster, Name: want.Name, Dir: want.Dir}).Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if found, err := d.Machines(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("after Delete: got %+v (%v), want none", found, err)
	}
}

// The definition follows what the machine should be.
func TestStartDefinesAnew(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	d, spec := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil)), testSpec(t)
	_ = created(t, d, spec)
	spec.MemoryMiB = 3000
	d.options.QEMU = fakeQEMU("kvm")
	if err := d.Machine(spec).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := libvirt.read("", domain.Name(spec))
	for _, want := range []string{`<domain type="kvm"`, `<memory unit="MiB">3000</memory>`} {
		if err != nil || !strings.Contains(got.XML, want) {
			t.Errorf("got %s (%v), want it with %s", got.XML, err, want)
		}
	}
}

func TestURI(t *testing.T) {
	t.Parallel()
	d := New(Options{QEMU: fakeQEMU("tcg")})
	for uri, good := range map[string]bool{
		"qemu:///session": true, "qemu:///system": true, "qemu+unix:///system?socket=/tmp/sock": true, "": true,
		"test:///default": false, "lxc:///system": false, "qemu://host/system": false, "qemu+ssh://root@host/system": false, "qemu+tcp:///system": false,
		"qemu:///embed": false, "system": false, "%": false,
	} {
		other, err := d.With(drivers.Settings{LibvirtURI: uri})
		if !good {
			if !fail.Is(err, fail.LibvirtURIInvalid) {
				t.Errorf("%q: got error %v, want %s", uri, err, fail.LibvirtURIInvalid)
			}
			continue
		}
		want := uri
		if want == "" {
			want = SessionURI
		}
		if err != nil || other.(*Driver).options.URI != want || d.options.URI != SessionURI {
			t.Errorf("%q: got %+v (%v), want that URI", uri, other, err)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	d := New(Options{QEMU: fakeQEMU("tcg")})
	for _, uri := range []string{"", SessionURI, "qemu+unix:///session"} {
		if _, err := d.With(drivers.Settings{LibvirtURI: uri, Network: "lan"}); !fail.Is(err, fail.FlagInvalid) {
			t.Errorf("a network at %q: got error %v, want %s", uri, err, fail.FlagInvalid)
		}
	}
	other, err := d.With(drivers.Settings{LibvirtURI: SystemURI, Network: "lan"})
	if err != nil || other.(*Driver).options.Network != "lan" || d.options.Network != "" {
		t.Errorf("got %+v (%v), want that network", other, err)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	const socket = "qemu+unix:///system?socket=/tmp/sock"
	for uri, want := range map[string][]string{
		SessionURI: {SessionURI, SystemURI}, SystemURI: {SystemURI, SessionURI}, socket: {socket, SessionURI, SystemURI},
	} {
		var got []string
		for _, place := range New(Options{QEMU: fakeQEMU("tcg"), URI: uri}).Places() {
			got = append(got, place.(*Driver).options.URI)
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %s: got %q, want %q", uri, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if refused("qemu+unix:///system?socket=" + filepath.Join(dir, "none")) {
		t.Error("a socket that is not there counts as one that refuses")
	}
	if os.Getuid() == 0 {
		t.Skip("nothing is refused to root")
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	if !refused("qemu+unix:///system?socket=" + filepath.Join(dir, "none")) {
		t.Error("a socket that may not be reached does not count as one that refuses")
	}
}
