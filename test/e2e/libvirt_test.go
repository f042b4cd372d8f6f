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

// TestLibvirtNetwork has a cluster join a network of libvirt, and walks to /meow at its address there. It is for the long form.
func TestLibvirtNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes another cold start")
	}
	drivertest.ServeLibvirt(t)
	const network, address = "skiff-e2e", drivertest.LibvirtNetworkLast
	drivertest.MakeLibvirtNetwork(t, network)
	s := newSession(t)
	t.Setenv("SKIFF_DRIVER", "libvirt")
	if out := s.code(4, "start", "--libvirt-uri", "qemu:///system", "--network", "skiff-none", "--offline"); !strings.Contains(out.stderr, "LIBVIRT_NETWORK") {
		t.Errorf("a network that is not there: %s", out.stderr)
	}
	s.code(5, "ip")
	s.timed("start in a network of libvirt, cold", "start", "--libvirt-uri", "qemu:///system", "--network", network, "--offline")
	if got := s.run("ip"); got != address {
		t.Errorf("the cluster's address is %s, want %s, the highest of the network", got, address)
	}
	s.enablesIngress()
	s.serves(address, "127.") // an Ingress shows the first address of its Service, the loopback one
	s.timed("stop", "stop")
	s.timed("start, resumed", "start")
	if got := s.run("ip"); got != address {
		t.Errorf("after stop and start the address is %s, before %s", got, address)
	}
	s.meowIsBack(address)
	s.deletes()
	if left := drivertest.Virsh(t, "net-dumpxml", "--inactive", network); strings.Contains(left, "<host") {
		t.Errorf("after delete the network still has an entry: %s", left)
	}
}

// hasDomain looks whether libvirt shows a domain of the cluster that runs, or none at all.
func (s *session) hasDomain(want bool) {
	out, err := exec.CommandContext(s.t.Context(), "virsh", "-c", "qemu:///session", "list", "--all", "--name").CombinedOutput()
	if got := strings.Contains(string(out), "skiff-skiff-skiff-"); err != nil || got != want {
		s.t.Errorf("libvirt shows the domains %q (%v), want one of the cluster: %t", out, err, want)
	}
}
