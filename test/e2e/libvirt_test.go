//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
)

// TestLibvirtTutorial is the way of the tutorial's reader, on a machine that libvirt runs. With -short it leaves out what the
// driver has no part in, and a boot of the complete cluster.
func TestLibvirtTutorial(t *testing.T) {
	drivertest.ServeLibvirt(t)
	s := newSession(t)
	t.Setenv("SKIFF_DRIVER", "libvirt")
	var address string
	s.step("start gives a cluster that is usable", func() { address = s.startsUsable() })
	s.step("the machine is a domain that virsh shows", func() { s.hasDomain(true) })
	s.step("addons enable ingress gives an entrance", s.enablesIngress)
	s.step("the manifest of 2019 is raised and applied, and /meow answers", func() { s.servesMeow(address) })
	if !testing.Short() {
		s.isUsed(address)
	}
	s.step("stop and start go on as if nothing had been", func() { s.suspends(address) })
	if !testing.Short() {
		s.step("stop --shutdown and start bring everything back", func() { s.restarts(address) })
	}
	s.step("delete leaves nothing", s.deletes)
	s.step("nor does it leave a domain", func() { s.hasDomain(false) })
}

// hasDomain looks whether libvirt shows a domain of the cluster that runs, or none at all.
func (s *session) hasDomain(want bool) {
	out, err := exec.CommandContext(s.t.Context(), "virsh", "-c", "qemu:///session", "list", "--all", "--name").CombinedOutput()
	if got := strings.Contains(string(out), "skiff-skiff-skiff-"); err != nil || got != want {
		s.t.Errorf("libvirt shows the domains %q (%v), want one of the cluster: %t", out, err, want)
	}
}
