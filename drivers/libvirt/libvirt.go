// Package libvirt runs machines as domains of libvirt, for those whose machines are managed by it. A machine exists when its
// domain does: skiff's domains carry a mark, by which any number of skiff processes finds them. A domain without that mark is
// never touched. Memory is kept by libvirt's managed save, and an address in a network of libvirt by that network.
//
// The library is loaded when the program runs, and only on Linux in builds with cgo and the tag libvirt_dlopen; in others
// the driver is there and says that it cannot reach libvirt.
package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// QEMU is what libvirt runs machines with; the driver qemu is one.
type QEMU interface {
	drivers.Accelerated
	Check(ctx context.Context) []drivers.Finding
}

// Options say what the driver works with.
type Options struct {
	// Runner returns how commands run in the guest. It is called once for each handle, and must not connect by itself.
	Runner func(machine.SSH) machine.Runner
	// QEMU finds out which accelerator works here, and looks for the programs of QEMU.
	QEMU QEMU
	// URI is where libvirt is; empty: SessionURI.
	URI string
	// Network is the network of libvirt that machines join with a second card; empty: none.
	Network string
	// StopTimeout is how long a guest may take to power off; 0: a minute, which a busy guest under emulation may need.
	StopTimeout time.Duration
	// Version is that of skiff. The notes of saved memory name it, so that an older skiff knows that it is not to touch that.
	Version string
	// QEMUImg is the program that makes disks; empty: qemu-img, found in PATH.
	QEMUImg string
}

var (
	_ drivers.Driver       = (*Driver)(nil)
	_ drivers.Accelerated  = (*Driver)(nil)
	_ drivers.Configurable = (*Driver)(nil)
	_ drivers.Scattered    = (*Driver)(nil)
)

// Driver is the drivers.Driver of libvirt.
type Driver struct {
	options Options
	connect func(uri string) (connection, error)
	limits  limits
}

// limits are the times after which the driver gives something up. Tests have shorter ones.
type limits struct {
	answer time.Duration // until libvirt has answered a question
	act    time.Duration // until libvirt has started or ended a machine; the guest's boot is not part of it
	keep   time.Duration // until libvirt has written or read a machine's memory, all of which goes through the host's disk
	grace  time.Duration // that a call of libvirt, which cannot be cut off, is waited for when ctx ends
}

// New returns the driver. It does not look at the host yet; Check does.
func New(options Options) *Driver {
	if options.URI == "" {
		options.URI = SessionURI
	}
	if options.StopTimeout == 0 {
		options.StopTimeout = time.Minute
	}
	if options.QEMUImg == "" {
		options.QEMUImg = "qemu-img"
	}
	return &Driver{options: options, connect: connect, limits: limits{
		answer: 10 * time.Second, act: 3 * time.Minute, keep: 10 * time.Minute, grace: 10 * time.Second,
	}}
}

// With returns a driver that uses the libvirt of settings.LibvirtURI, whose machines join settings.Network. A URI that is not
// of QEMU on this host gives fail.LibvirtURIInvalid, and a network of a libvirt that has none fail.FlagInvalid.
func (d *Driver) With(settings drivers.Settings) (drivers.Driver, error) {
	other := *d
	if settings.LibvirtURI != "" {
		if err := checkURI(settings.LibvirtURI); err != nil {
			return nil, err
		}
		other.options.URI = settings.LibvirtURI
	}
	if settings.Network != "" {
		if !ofSystem(other.options.URI) {
			return nil, fail.New(fail.FlagInvalid, "join network "+settings.Network, "--network needs the libvirt of this computer: that of the user, %s, has no networks", other.options.URI).
				WithNext("skiff start --driver libvirt --libvirt-uri %s --network %s", SystemURI, machine.Quote(settings.Network))
		}
		other.options.Network = settings.Network
	}
	return &other, nil
}

// Places returns drivers for the libvirt of the user and for that of the host, and first d itself when it uses another.
func (d *Driver) Places() []drivers.Driver {
	places := []drivers.Driver{d}
	for _, uri := range []string{SessionURI, SystemURI} {
		if uri != d.options.URI {
			other := *d
			other.options.URI, other.options.Network = uri, "" // a network is of one libvirt
			places = append(places, &other)
		}
	}
	return places
}

// Name returns "libvirt".
func (d *Driver) Name() string { return "libvirt" }

// Accelerator returns what speeds up a guest of that image here; see drivers.Accelerated.
func (d *Driver) Accelerator(ctx context.Context, image machine.Image) (name, note, words string) {
	return d.options.QEMU.Accelerator(ctx, image)
}

// Machine returns the handle of the machine that spec describes.
func (d *Driver) Machine(spec machine.Spec) machine.Machine { return d.machine(spec) }

// Create makes the machine's disk, a layer over the image's, its seed disk, and last its domain: a machine exists when
// that does. A disk of a machine whose domain was undefined by others is kept. A domain of that name that is not skiff's
// gives fail.DomainForeign, a full disk fail.HostDiskFull.
func (d *Driver) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m := d.machine(spec)
	release, err := hostfiles.Lock(ctx, spec.Dir)
	if err == nil {
		defer release()
		err = d.create(ctx, m)
	}
	if err != nil {
		return nil, fmt.Errorf("create machine %q: %w", spec.Name, err)
	}
	return m, nil
}

func (d *Driver) create(ctx context.Context, m *Machine) error {
	exists := false
	err := d.do(ctx, d.limits.answer, func(_ context.Context, c connection) (err error) {
		exists, err = m.exists(c)
		return err
	})
	if err != nil || exists {
		return err
	}
	had := hostfiles.Exists(m.files.Disk)
	var address netip.Prefix
	err = d.do(ctx, d.limits.act, func(_ context.Context, c connection) (err error) {
		address, err = m.join(c)
		return err
	})
	if err == nil {
		err = m.writeSeed(ctx, address)
	}
	if err == nil {
		err = d.createDisk(ctx, m)
	}
	if err == nil {
		err = d.do(ctx, d.limits.act, func(ctx context.Context, c connection) error {
			if err := m.define(ctx, c); err != nil || ctx.Err() == nil {
				return err
			}
			return errors.Join(ctx.Err(), c.Undefine(m.domain))
		})
	}
	if err == nil {
		return nil
	}
	if !had {
		err = errors.Join(err, m.removeFiles(), d.do(context.WithoutCancel(ctx), d.limits.answer, func(_ context.Context, c connection) error {
			return m.leave(c, d.options.Network)
		}))
	}
	return hostfiles.DiskFull(err, m.spec.Dir)
}

func (d *Driver) createDisk(ctx context.Context, m *Machine) error {
	if !hostfiles.Exists(m.files.Disk) {
		return hostfiles.CreateDisk(ctx, d.options.QEMUImg, m.files.Disk, m.spec)
	}
	return hostfiles.CheckLayer(m.files.Disk, m.spec)
}

// Machines returns the domains that carry skiff's mark, whether they run or not.
func (d *Driver) Machines(ctx context.Context) ([]drivers.Found, error) {
	var found []drivers.Found
	err := d.do(ctx, d.limits.answer, func(_ context.Context, c connection) error {
		names, err := c.Domains()
		if err != nil {
			return err
		}
		for _, name := range names {
			text, err := c.Mark(name)
			if err != nil && !errors.Is(err, errNoDomain) {
				return err
			}
			mark, err := domain.ReadMark(text)
			if err != nil {
				continue // another's, or gone meanwhile
			}
			condition, err := c.Condition(name)
			if errors.Is(err, errNoDomain) {
				continue
			}
			if err != nil {
				return err
			}
			state, _ := stateOf(condition)
			found = append(found, drivers.Found{Cluster: mark.Cluster, Name: mark.Name, Dir: mark.Dir, State: state})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for machines: %w", err)
	}
	return found, nil
}
