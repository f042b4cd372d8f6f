// Package virtualbox runs machines with VirtualBox, by its command VBoxManage. VirtualBox keeps the machines; skiff notes
// with each what it is, and knows them by that. It has been tested against a stand-in of VBoxManage and its documented
// forms, and not yet on real hardware; what skiff lacks for it, Check says.
package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/machine"
)

// Options say what the driver works with.
type Options struct {
	// Runner returns how commands run in the guest. It is called once for each handle, and must not connect by itself.
	Runner func(machine.SSH) machine.Runner
	// StopTimeout is how long a guest may take to power off; 0: a minute.
	StopTimeout time.Duration
	// VBoxManage is the program; empty: found in PATH.
	VBoxManage string
}

var _ drivers.Driver = (*Driver)(nil)

// Driver is the drivers.Driver of VirtualBox.
type Driver struct{ options Options }

// New returns the driver. It does not look at the host yet; Check does.
func New(options Options) *Driver {
	if options.StopTimeout == 0 {
		options.StopTimeout = time.Minute
	}
	if options.VBoxManage == "" {
		options.VBoxManage = "VBoxManage"
	}
	return &Driver{options: options}
}

// Name returns "virtualbox".
func (d *Driver) Name() string { return "virtualbox" }

// Check says that the driver makes no clusters yet, looks for VBoxManage, and says what this version of skiff lacks for it.
func (d *Driver) Check(ctx context.Context) []drivers.Finding {
	const other = "skiff start --driver qemu"
	program := d.program(ctx)
	if program.Level == drivers.Failure {
		program.Remedy = other
	}
	return []drivers.Finding{
		{
			Name: "untested", Level: drivers.Failure, Remedy: other,
			Text: "The driver virtualbox has not been run on real hardware, and this version of skiff cannot make a cluster with it.",
		},
		program,
		{
			Name: "image", Level: drivers.Failure, Remedy: other,
			Text: "VirtualBox boots no kernel directly, and the disk of the guest image has no boot loader yet.",
		},
		{
			Name: "network", Level: drivers.Failure, Remedy: other,
			Text: "The agent's network is joined through a stream socket, which VirtualBox's network cards cannot do.",
		},
	}
}

func (d *Driver) program(ctx context.Context) drivers.Finding {
	finding := drivers.Finding{Name: "virtualbox", Level: drivers.Failure}
	if _, err := exec.LookPath(d.options.VBoxManage); err != nil {
		finding.Text, finding.Missing = fmt.Sprintf("The program %s is not there.", d.options.VBoxManage), true
		return finding
	}
	out, err := d.manage(ctx, []string{"--version"})
	match := versionText.FindSubmatch(out)
	switch {
	case err != nil:
		finding.Text = fmt.Sprintf("VBoxManage does not work: %v.", err)
	case match == nil: // it warns on the standard output when its kernel modules are missing
		finding.Text = fmt.Sprintf("VBoxManage does not tell its version, but %q.", strings.TrimSpace(string(out)))
	default:
		return drivers.Finding{Name: "virtualbox", Level: drivers.Good, Text: fmt.Sprintf("VirtualBox is of version %s.", match[1])}
	}
	return finding
}

// errUnknown says that VirtualBox does not know a machine.
var errUnknown = errors.New("VirtualBox knows no such machine")

// manage runs VBoxManage to its end. Its error tells the last of what it complained about.
func (d *Driver) manage(ctx context.Context, args []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.options.VBoxManage, args...)
	cmd.WaitDelay = time.Second // VBoxSVC, which it starts, may hold on to its output
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("run VBoxManage %s: %w", args[0], ctx.Err())
	}
	failed, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ok && strings.Contains(string(failed.Stderr), notFound):
		return nil, errUnknown
	case ok:
		return nil, fmt.Errorf("run VBoxManage %s: %w: %s", args[0], err, complaint(failed.Stderr))
	}
	return out, err
}

// complaint returns the first line of an error of VBoxManage; the others give details of its code.
func complaint(stderr []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	return strings.TrimPrefix(line, "VBoxManage: error: ")
}

// Machine returns the handle of the machine that spec describes.
func (d *Driver) Machine(spec machine.Spec) machine.Machine { return d.machine(spec) }

// Machines returns the machines of skiff that VirtualBox has in this user's list, running or not.
func (d *Driver) Machines(ctx context.Context) ([]drivers.Found, error) {
	out, err := d.manage(ctx, []string{"list", "vms"})
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for machines: %w", err)
	}
	var found []drivers.Found
	for _, id := range parseList(out) {
		one, err := d.found(ctx, id)
		if errors.Is(err, errUnknown) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("look for machines: %w", err)
		}
		if one.Cluster != "" && one.Name != "" { // else somebody gave a machine of his such a name
			found = append(found, one)
		}
	}
	return found, nil
}

func (d *Driver) found(ctx context.Context, id string) (drivers.Found, error) {
	out, err := d.manage(ctx, notes(id))
	if err != nil {
		return drivers.Found{}, err
	}
	noted := parseNotes(out)
	out, err = d.manage(ctx, info(id))
	if err != nil {
		return drivers.Found{}, err
	}
	state, err := parseState(parseInfo(out)["VMState"])
	if err != nil {
		state = machine.Broken
	}
	return drivers.Found{Cluster: noted[keyCluster], Name: noted[keyName], Dir: noted[keyDir], State: state}, nil
}

// Create makes the machine's disk and has VirtualBox make the machine. It exists when VirtualBox has skiff's notes with it.
// What a creation that was cut off has left goes first. A machine of that name that is not skiff's gives
// fail.DomainForeign.
func (d *Driver) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m := d.machine(spec)
	err := m.locked(ctx, func(ctx context.Context) error {
		_, err := m.look(ctx)
		switch {
		case errors.Is(err, errUnfinished):
			err = m.remove(ctx)
		case errors.Is(err, errUnknown):
			err = nil
		default:
			return err
		}
		if err == nil {
			err = m.create(ctx)
		}
		if err != nil {
			// What was made goes, also after ctx has ended.
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
			defer cancel()
			return errors.Join(err, m.remove(ending))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("create machine %q: %w", spec.Name, err)
	}
	return m, nil
}

// cleanUp bounds what is done after ctx has ended.
const cleanUp = 30 * time.Second

func (m *Machine) create(ctx context.Context) error {
	if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
		return err
	}
	for _, command := range creation(m.spec) {
		if _, err := m.driver.manage(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// locked does something while no other handle of the machine does. No folder gives an error that wraps fs.ErrNotExist.
func (m *Machine) locked(ctx context.Context, do func(context.Context) error) error {
	release, err := hostfiles.Lock(ctx, m.spec.Dir)
	if err != nil {
		return err
	}
	defer release()
	return do(ctx)
}
