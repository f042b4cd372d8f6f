// Package vfkit runs machines with vfkit, the command line of Apple's Virtualization framework: one process per machine,
// which outlives the command that started it and is managed over its RESTful service. It has been tested against a
// stand-in of vfkit and its documented forms, and not yet on real hardware; what it lacks there, Check says.
package vfkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

// Options say what the driver works with.
type Options struct {
	// Runner returns how commands run in the guest. It is called once for each handle, and must not connect by itself.
	Runner func(machine.SSH) machine.Runner
	// StopTimeout is how long a guest may take to power off; 0: a minute.
	StopTimeout time.Duration
	// Vfkit is the program; empty: found in PATH.
	Vfkit string
}

var _ drivers.Driver = (*Driver)(nil)

// Driver is the drivers.Driver of vfkit.
type Driver struct {
	options Options
	limits  limits
}

// limits are the times after which the driver gives something up. Tests have shorter ones.
type limits struct {
	start  time.Duration // until a new vfkit answers; the guest's boot is not part of it
	answer time.Duration // until a vfkit that runs answers
	end    time.Duration // until vfkit has ended after it was told to
}

// New returns the driver. It does not look at the host yet; Check does.
func New(options Options) *Driver {
	if options.StopTimeout == 0 {
		options.StopTimeout = time.Minute
	}
	if options.Vfkit == "" {
		options.Vfkit = "vfkit"
	}
	return &Driver{options: options, limits: limits{start: 30 * time.Second, answer: 3 * time.Second, end: 5 * time.Second}}
}

// Name returns "vfkit".
func (d *Driver) Name() string { return "vfkit" }

// Check says that the driver makes no clusters yet, looks for vfkit, and says what this version of skiff lacks for it.
func (d *Driver) Check(ctx context.Context) []drivers.Finding {
	return d.check(ctx, runtime.GOOS, runtime.GOARCH)
}

func (d *Driver) check(ctx context.Context, system, architecture string) []drivers.Finding {
	const other = "skiff start --driver qemu"
	findings := []drivers.Finding{{
		Name: "untested", Level: drivers.Failure, Remedy: other,
		Text: "The driver vfkit has not been run on real hardware, and this version of skiff cannot make a cluster with it.",
	}}
	if system != "darwin" {
		return append(findings, drivers.Finding{
			Name: "system", Level: drivers.Failure, Remedy: other, Missing: true,
			Text: fmt.Sprintf("vfkit is a program of macOS, and this is %s.", system),
		})
	}
	findings = append(findings, d.program(ctx))
	if architecture != "amd64" {
		findings = append(findings, drivers.Finding{
			Name: "image", Level: drivers.Failure, Remedy: other,
			Text: fmt.Sprintf("Apple's Virtualization framework runs guests of the host's architecture (%s), and the guest image is for amd64.", architecture),
		})
	}
	return append(findings, drivers.Finding{
		Name: "network", Level: drivers.Failure, Remedy: other,
		Text: "The agent's network is joined through a stream socket; vfkit sends datagrams, which the agent does not take yet.",
	})
}

// versionText is how vfkit names its version.
var versionText = regexp.MustCompile(`v?(\d+\.\d+(\.\d+)?)`) //nolint:gochecknoglobals // compiled once, never changed

func (d *Driver) program(ctx context.Context) drivers.Finding {
	finding := drivers.Finding{Name: "vfkit", Level: drivers.Failure, Remedy: "brew install vfkit"}
	path, err := exec.LookPath(d.options.Vfkit)
	if err != nil {
		finding.Text, finding.Missing = fmt.Sprintf("The program %s is not there.", d.options.Vfkit), true
		return finding
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	match := versionText.FindSubmatch(out)
	switch {
	case err != nil:
		finding.Text = fmt.Sprintf("The program %s does not work: %v.", path, err)
	case match == nil:
		finding.Text = fmt.Sprintf("The program %s does not tell its version.", path)
	default:
		return drivers.Finding{Name: "vfkit", Level: drivers.Good, Text: fmt.Sprintf("vfkit is of version %s.", match[1])}
	}
	return finding
}

// Machine returns the handle of the machine that spec describes.
func (d *Driver) Machine(spec machine.Spec) machine.Machine { return d.machine(spec) }

// Machines returns the machines of which a vfkit of this user runs: others are only files.
func (d *Driver) Machines(ctx context.Context) ([]drivers.Found, error) {
	all, err := processes.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for machines: %w", err)
	}
	var found []drivers.Found
	for _, words := range all {
		spec, ok := specOf(words)
		if !ok {
			continue
		}
		state, err := d.ask(ctx, filesOf(spec))
		if err != nil {
			state = machine.Broken
		}
		found = append(found, drivers.Found{Cluster: spec.Cluster, Name: spec.Name, Dir: spec.Dir, State: state})
	}
	return found, nil
}

// ask asks a vfkit that runs, once.
func (d *Driver) ask(ctx context.Context, f files) (machine.State, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.answer)
	defer cancel()
	return dial(f.api()).state(ctx)
}

// Create makes the machine's disk, a clone of the image's that shares its blocks where the file system can, and its seed
// disk. The disk comes last: a machine exists when it does. A full disk gives fail.HostDiskFull.
func (d *Driver) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m := d.machine(spec)
	release, err := hostfiles.Lock(ctx, spec.Dir)
	if err != nil {
		return nil, fmt.Errorf("create machine %q: %w", spec.Name, err)
	}
	defer release()
	if hostfiles.Exists(m.files.disk()) {
		return m, nil
	}
	if err := m.create(ctx); err != nil {
		err = errors.Join(err, m.files.remove())
		return nil, hostfiles.DiskFull(fmt.Errorf("create machine %q: %w", spec.Name, err), spec.Dir)
	}
	return m, nil
}

func (m *Machine) create(ctx context.Context) error {
	if path := unquotable(m.spec); path != "" {
		return fmt.Errorf("vfkit cannot be given the path %q: it has a comma or a quote in it", path)
	}
	if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
		return err
	}
	if err := clone(ctx, m.spec.Image.Disk, m.files.diskPart()); err != nil {
		return fmt.Errorf("make its disk: %w", err)
	}
	if err := os.Chmod(m.files.diskPart(), 0o600); err != nil {
		return err
	}
	if info, err := os.Stat(m.files.diskPart()); err != nil {
		return err
	} else if info.Size() < m.spec.DiskBytes { // the guest grows its file system
		if err := os.Truncate(m.files.diskPart(), m.spec.DiskBytes); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.Rename(m.files.diskPart(), m.files.disk())
}
