// Package qemu runs machines with QEMU: one process per machine, which outlives the command that started it and is
// managed over QMP, QEMU's machine protocol. There is no daemon. Everything about a machine is read from its files and its process,
// so any number of skiff processes can look after it, one after the other.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	// Memory is the file in which the driver remembers which accelerator works here. Empty: it finds out each time.
	Memory string
	// StopTimeout is how long a guest may take to power off; 0: a minute, which a busy guest under emulation may need.
	StopTimeout time.Duration
	// Version is that of skiff. Saved states name it, so that an older skiff knows that it is not to touch them.
	Version string
	// QEMU and QEMUImg are the programs; empty: those of the host's architecture, found in PATH.
	QEMU, QEMUImg string
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Accelerated = (*Driver)(nil)
)

// Driver is the drivers.Driver of QEMU.
type Driver struct {
	options Options
	kvm     string // the device
	cpuinfo string // what Linux says of the processors
	limits  limits
	sync    func(path string) error // hostfiles.Sync, which tests watch
}

// limits are the times after which the driver gives something up. Tests have shorter ones.
type limits struct {
	start  time.Duration // until a new QEMU answers; the guest's boot is not part of it
	answer time.Duration // until a QEMU that runs answers
	probe  time.Duration // until a test guest is up
	end    time.Duration // until QEMU has ended after a signal
	boot   time.Duration // until a guest has booted to be saved
	named  time.Duration // until a guest that goes on from a saved boot has its identity
}

// New returns the driver. It does not look at the host yet; Check does.
func New(options Options) *Driver {
	if options.StopTimeout == 0 {
		options.StopTimeout = time.Minute
	}
	if options.QEMU == "" {
		options.QEMU = "qemu-system-x86_64" // guest images are for amd64 alone
	}
	if options.QEMUImg == "" {
		options.QEMUImg = "qemu-img"
	}
	return &Driver{options: options, kvm: "/dev/kvm", cpuinfo: "/proc/cpuinfo", sync: hostfiles.Sync, limits: limits{
		start: 30 * time.Second, answer: 3 * time.Second, probe: 5 * time.Second, end: 5 * time.Second, boot: 3 * time.Minute, named: 30 * time.Second,
	}}
}

// Name returns "qemu".
func (d *Driver) Name() string { return "qemu" }

// Machine returns the handle of the machine that spec describes.
func (d *Driver) Machine(spec machine.Spec) machine.Machine { return d.machine(spec) }

// Create makes the machine's disk, a layer over the image's, and its seed disk. The layer comes last: a machine exists
// when it does. A full disk gives fail.HostDiskFull.
func (d *Driver) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m := d.machine(spec)
	release, err := m.files.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("create machine %q: %w", spec.Name, err)
	}
	defer release()
	if m.files.made() {
		return m, nil
	}
	if err := d.create(ctx, m); err != nil {
		err = errors.Join(err, m.files.remove())
		return nil, hostfiles.DiskFull(fmt.Errorf("create machine %q: %w", spec.Name, err), spec.Dir)
	}
	return m, nil
}

func (d *Driver) create(ctx context.Context, m *Machine) error {
	if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
		return err
	}
	if err := os.WriteFile(m.files.unused(), nil, 0o600); err != nil {
		return err
	}
	return hostfiles.CreateDisk(ctx, d.options.QEMUImg, m.files.disk(), m.spec)
}
