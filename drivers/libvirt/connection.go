package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
)

// connection is what the driver needs of libvirt. Domains are named, as handles of them say nothing that a name does not.
// A domain that is not there gives an error that wraps errNoDomain.
type connection interface {
	// Version tells the versions of libvirt and QEMU in a few words.
	Version() (string, error)
	// Capabilities returns libvirt's description of the host.
	Capabilities() (string, error)
	// Domains returns the names of all domains that this user may see.
	Domains() ([]string, error)
	// Mark returns skiff's element among the domain's metadata; empty when it has none.
	Mark(name string) (string, error)
	Condition(name string) (condition, error)
	// Define makes the domain, or changes what it will be when it starts next.
	Define(xml string) error
	Start(name string) error
	Suspend(name string) error
	Resume(name string) error
	// Press presses the power button.
	Press(name string) error
	// Grow makes the disk of a domain that runs that large, unless it is as large or larger, and tells the guest.
	Grow(name string, bytes uint64) error
	// Destroy ends the domain without asking the guest, after QEMU has flushed its disks.
	Destroy(name string) error
	// Save keeps the memory of a domain that runs or is paused, and ends it. When that fails, the domain is as before.
	Save(name string) error
	// Abort makes a Save of the domain that is in progress fail.
	Abort(name string) error
	// Saved reports whether the memory of a domain is kept.
	Saved(name string) (bool, error)
	// Restore makes a domain paused with the memory that was kept, which is kept no longer then. Memory of which libvirt
	// cannot make use, and which is still kept, gives an error that wraps errNotRestored.
	Restore(name string) error
	// Forget removes the memory that is kept.
	Forget(name string) error
	// Undefine forgets a domain, and what libvirt itself keeps of it: saved memory, snapshots' descriptions.
	Undefine(name string) error
	// Network returns the description of a network, and whether it is active. One that is not there gives an error that
	// wraps errNoNetwork.
	Network(name string) (xml string, active bool, err error)
	// Leases returns the addresses that the DHCP server of a network has given away.
	Leases(network string) ([]string, error)
	// Reserve adds a host to the DHCP server of a network, now and for its next start.
	Reserve(network, host string) error
	// Release takes one away.
	Release(network, host string) error
	Close()
}

// condition is what libvirt says a domain is doing (libvirt documentation, "virDomainState").
type condition string

const (
	running   condition = "running"
	paused    condition = "paused"
	ioError   condition = "paused after an error of its disk"
	ending    condition = "shutting down"
	off       condition = "shut off"
	crashed   condition = "crashed"
	suspended condition = "suspended by its guest"
	saving    condition = "paused while its memory is saved"
)

// What goes wrong with a connection, as far as the driver tells it apart.
var (
	errNoDomain    = errors.New("there is no such domain")
	errNoNetwork   = errors.New("there is no such network")
	errNotBuilt    = errors.New("this skiff was built without libvirt, as all are that are not for Linux or have no cgo")
	errNoLibrary   = errors.New("the library of libvirt cannot be used")
	errUnreachable = errors.New("libvirt does not answer")
	errRefused     = errors.New("libvirt refuses this user")
	errNotRestored = errors.New("libvirt cannot resume from it")
	errLost        = errors.New("the connection to libvirt was lost")
)

// do runs work with a connection of its own. When ctx ends, or limit is over, so does the ctx of work, and do returns
// without waiting much longer for the call that is in progress: libvirt's calls cannot be cut off.
func (d *Driver) do(ctx context.Context, limit time.Duration, work func(context.Context, connection) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := limited.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		c, err := d.connect(d.options.URI)
		if err == nil {
			defer c.Close()
			err = work(limited, c)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return d.explain(err)
	case <-limited.Done():
	}
	if ctx.Err() == nil {
		return d.explain(fmt.Errorf("%w within %s", errUnreachable, limit))
	}
	grace := time.NewTimer(d.limits.grace)
	defer grace.Stop()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, ctx.Err()) {
			return errors.Join(ctx.Err(), err)
		}
	case <-grace.C:
	}
	return ctx.Err()
}

// explain says what to do where the connection is at fault.
func (d *Driver) explain(err error) error {
	op := "use libvirt at " + d.options.URI
	switch {
	case errors.Is(err, errNotBuilt):
		return fail.New(fail.LibvirtUnreachable, op, "%w", err).WithHint("Use another driver, or a skiff that was built for it.").WithNext("skiff start --driver qemu")
	case errors.Is(err, errNoLibrary):
		return fail.New(fail.LibvirtUnreachable, op, "%w", err).WithNext("%s", install)
	case errors.Is(err, errUnreachable):
		return fail.New(fail.LibvirtUnreachable, op, "%w", err).WithNext("%s", restart(d.options.URI, os.Geteuid() == 0, present))
	case errors.Is(err, errRefused):
		return fail.New(fail.LibvirtNoAccess, op, "%w", err).
			WithHint("Let this user use that libvirt, as with the group libvirt, or use --libvirt-uri %s, which needs no group.", SessionURI).
			WithNext("sudo usermod -aG libvirt $USER")
	case errors.Is(err, errLost) && !ofSystem(d.options.URI) && os.Geteuid() != 0:
		return fail.New(fail.LibvirtLost, op, "%w", err).WithHint("Run the same command again to continue; it restarts the user's libvirt if that has ended.")
	case errors.Is(err, errLost):
		return fail.New(fail.LibvirtLost, op, "%w", err).WithHint("Restart libvirt if it has ended, and run the same command again to continue.").
			WithNext("%s", restart(d.options.URI, true, present))
	}
	return err
}

// install is the command that brings libvirt, its library included.
const install = "sudo apt-get install libvirt-daemon-system libvirt-clients"

// restart is the command for a libvirt that does not answer, or has ended. Machines outlive both. The host's daemon is either
// the one for all hypervisors or that for QEMU alone (libvirt documentation, "Daemons"), which has a socket of its own. That
// of a user is none of the service manager's: the library starts it when it is not there. root has none.
func restart(uri string, root bool, present func(path string) bool) string {
	daemon := ""
	for _, one := range []struct{ name, sign string }{
		{"virtqemud", "/run/libvirt/virtqemud-sock"}, {"libvirtd", "/usr/sbin/libvirtd"}, {"virtqemud", "/usr/sbin/virtqemud"},
		{"libvirtd", "libvirtd"}, {"virtqemud", "virtqemud"},
	} {
		if daemon == "" && present(one.sign) {
			daemon = one.name
		}
	}
	switch {
	case daemon == "":
		return install
	case ofSystem(uri) || root:
		return "sudo systemctl restart " + daemon
	}
	return "pkill -KILL -x -u $USER " + daemon
}

// present reports whether there is a file of that path, or a program of that name.
func present(path string) bool {
	if filepath.IsAbs(path) {
		return hostfiles.Exists(path)
	}
	_, err := exec.LookPath(path)
	return err == nil
}
