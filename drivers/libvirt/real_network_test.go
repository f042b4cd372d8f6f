//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

const realNetwork = "skiff-test"

// TestRealNetwork lets a machine join a network of a real libvirt that is made for it, and reaches it there.
func TestRealNetwork(t *testing.T) {
	drivertest.Image(t)
	drivertest.ServeLibvirt(t)
	if out, err := exec.CommandContext(t.Context(), "virsh", "-c", SystemURI, "version").CombinedOutput(); err != nil && os.Geteuid() != 0 {
		t.Skipf("this user may not use libvirt at %s: %s", SystemURI, out)
	}
	d, spec := realDriver(filepath.Join(t.TempDir(), "accelerator.json")), realSpec(t)
	d.options.URI, d.options.Network = SystemURI, realNetwork
	if _, err := d.Create(t.Context(), spec); !fail.Is(err, fail.LibvirtNetwork) {
		t.Errorf("Create without the network gave error %v, want %s", err, fail.LibvirtNetwork)
	}
	drivertest.MakeLibvirtNetwork(t, realNetwork)
	m := created(t, d, spec)
	defer func() {
		if err := m.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}()
	spec.Network.Joined = wantJoined(t, m, drivertest.LibvirtNetworkLast+"/24")
	m = d.Machine(spec).(*Machine)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := m.Wait(waiting); err != nil {
		t.Fatalf("%v; console: %s", err, hostfiles.Tail(m.ConsoleLog()))
	}
	for command, want := range map[string]string{
		"ip -o address show dev eth0":    spec.Network.Address.String(),
		"ip -o address show dev eth1":    spec.Network.Joined.String(),
		"ip route":                       "default via " + spec.Network.Gateway.String(),
		"nft list table ip skiff_joined": "masquerade",
	} {
		got, err := m.Run(t.Context(), machine.Cmd{Args: strings.Fields(command)})
		if err != nil || !strings.Contains(string(got.Stdout), want) {
			t.Errorf("%s: got %q (%v), want %q", command, got.Stdout, err, want)
		}
	}
	there := spec.SSH
	there.Address = netip.AddrPortFrom(spec.Network.Joined.Addr(), 22)
	reach := func(when string) {
		t.Helper()
		if _, err := ssh.New(there).Run(waiting, machine.Cmd{Args: []string{"true"}}); err != nil {
			t.Errorf("%s: the guest is not reached in the network: %v", when, err)
		}
	}
	reach("after Start")
	if err := m.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKept(t, m, true)
	if err := m.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	reach("after Resume")
	if err := m.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := drivertest.Virsh(t, "net-dumpxml", "--inactive", realNetwork); strings.Contains(left, domain.MAC(spec)) {
		t.Errorf("after Delete the network has %s", left)
	}
}
