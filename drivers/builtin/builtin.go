// Package builtin has the list of the drivers that skiff is built with. Only cmd imports it: everyone else is handed a
// drivers.Driver.
package builtin

import (
	"context"
	"strings"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/libvirt"
	"github.com/skiff-k8s/skiff/drivers/qemu"
	sshdriver "github.com/skiff-k8s/skiff/drivers/ssh"
	"github.com/skiff-k8s/skiff/drivers/vfkit"
	"github.com/skiff-k8s/skiff/drivers/virtualbox"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// Auto stands for the first driver that works here.
const Auto = "auto"

// Options say what drivers work with.
type Options struct {
	// AcceleratorMemory is the file in which it is remembered what speeds guests up on this host; it may be deleted at any
	// time. Empty: found out at each start, which takes some seconds.
	AcceleratorMemory string
	// Version is that of skiff; what is saved of machines names it.
	Version string
}

// Names returns the names of the drivers, in the order in which Auto tries them: qemu comes first, as it needs nothing but
// a program.
func Names() []string { return []string{"qemu", "libvirt"} }

// New returns the driver of that name or alias. "auto" gives the first one whose Check has no Failure, and when none is
// so, the first one, whose findings say what to do. An unknown name gives fail.DriverNotFound.
func New(ctx context.Context, name string, options Options) (drivers.Driver, error) {
	switch name {
	case Auto, "":
		return first(ctx, options), nil
	case "qemu", "qemu2":
		return newQEMU(options), nil
	case "libvirt", "kvm2", "kvm":
		return newLibvirt(options), nil
	case "ssh", "generic":
		return newSSH(), nil
	case "vfkit":
		return newVfkit(), nil
	case "virtualbox", "vbox":
		return newVirtualBox(), nil
	case "podman", "docker":
		return nil, unknown(name, "it is not in this version of skiff", options)
	}
	return nil, unknown(name, "no driver has that name", options)
}

func unknown(name, why string, options Options) error {
	return fail.New(fail.DriverNotFound, "use driver "+name, "%s; there is: %s", why, choice(options)).WithNext("skiff drivers")
}

// choice lists the names of all drivers.
func choice(options Options) string {
	var names []string
	for _, driver := range append(All(options), Named(options)...) {
		names = append(names, driver.Name())
	}
	return strings.Join(names, ", ")
}

// All returns every driver that Auto tries, in the order of Names, for looking at what this host can do.
func All(options Options) []drivers.Driver {
	return []drivers.Driver{newQEMU(options), newLibvirt(options)}
}

// Named returns the drivers that Auto never picks: they must be named.
func Named(Options) []drivers.Driver {
	return []drivers.Driver{newSSH(), newVfkit(), newVirtualBox()}
}

func newSSH() drivers.Driver { return sshdriver.New(sshdriver.Options{Runner: runner}) }

func newVfkit() drivers.Driver { return vfkit.New(vfkit.Options{Runner: runner}) }

func newVirtualBox() drivers.Driver { return virtualbox.New(virtualbox.Options{Runner: runner}) }

func newQEMU(options Options) *qemu.Driver {
	return qemu.New(qemu.Options{Runner: runner, Memory: options.AcceleratorMemory, Version: options.Version})
}

func newLibvirt(options Options) drivers.Driver {
	return libvirt.New(libvirt.Options{Runner: runner, QEMU: newQEMU(options), Version: options.Version})
}

func runner(target machine.SSH) machine.Runner { return ssh.New(target) }

func first(ctx context.Context, options Options) drivers.Driver {
	all := All(options)
	for _, driver := range all {
		if _, adopts := driver.(drivers.Adopter); !adopts && healthy(driver.Check(ctx)) {
			return driver
		}
	}
	return all[0]
}

func healthy(findings []drivers.Finding) bool {
	for _, finding := range findings {
		if finding.Level == drivers.Failure {
			return false
		}
	}
	return true
}
