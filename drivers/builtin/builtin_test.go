package builtin_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/builtin"
	"github.com/skiff-k8s/skiff/fail"
)

func TestNew(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, want, problem string }{
		{name: "qemu", want: "qemu"},
		{name: "qemu2", want: "qemu"},
		{name: "auto", want: "qemu"},
		{name: "", want: "qemu"},
		{name: "libvirt", want: "libvirt"},
		{name: "kvm2", want: "libvirt"},
		{name: "kvm", want: "libvirt"},
		{name: "ssh", want: "ssh"},
		{name: "generic", want: "ssh"},
		{name: "vfkit", want: "vfkit"},
		{name: "virtualbox", want: "virtualbox"},
		{name: "podman", problem: "not in this version of skiff; there is: qemu, libvirt, ssh, vfkit, virtualbox"},
		{name: "quemu", problem: "no driver has that name; there is: qemu, libvirt, ssh, vfkit, virtualbox"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			driver, err := builtin.New(t.Context(), test.name, builtin.Options{})
			if test.problem != "" {
				if !fail.Is(err, fail.DriverNotFound) || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("got error %v, want %s with %q", err, fail.DriverNotFound, test.problem)
				}
				return
			}
			if err != nil || driver.Name() != test.want {
				t.Errorf("got driver %v and error %v, want %s", driver, err, test.want)
			}
		})
	}
}

// TestNamed: what must be named is not what auto tries.
func TestNamed(t *testing.T) {
	t.Parallel()
	for _, named := range builtin.Named(builtin.Options{}) {
		driver, err := builtin.New(t.Context(), named.Name(), builtin.Options{})
		if err != nil || driver.Name() != named.Name() || slices.Contains(builtin.Names(), named.Name()) {
			t.Errorf("%s: got %v (%v), among %v", named.Name(), driver, err, builtin.Names())
		}
	}
}

func TestEveryNameHasADriver(t *testing.T) {
	t.Parallel()
	all := builtin.All(builtin.Options{})
	for i, name := range builtin.Names() {
		driver, err := builtin.New(t.Context(), name, builtin.Options{})
		if err != nil || driver.Name() != name || all[i].Name() != name {
			t.Errorf("%s: got %v and %v (%v)", name, driver, all[i], err)
		}
	}
}
