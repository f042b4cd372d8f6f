//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
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
	makeNetwork(t)
	m := created(t, d, spec)
	defer func() {
		if err := m.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}()
	spec.Network.Joined = wantJoined(t, m, "192.168.231.9/24")
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
	if left := virsh(t, "net-dumpxml", "--inactive", realNetwork); strings.Contains(left, domain.MAC(spec)) {
		t.Errorf("after Delete the network has %s", left)
	}
}

// makeNetwork makes a network of a few addresses that leads nowhere but to the host.
func makeNetwork(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "network.xml")
	text := fmt.Sprintf(`<network><name>%s</name><forward mode="open"/><bridge name="virbr-skiff" stp="off" delay="0"/>
<ip address="192.168.231.1" netmask="255.255.255.0"><dhcp><range start="192.168.231.2" end="192.168.231.9"/></dhcp></ip></network>`, realNetwork)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	virsh(t, "net-define", file)
	t.Cleanup(func() { virsh(t, "net-undefine", realNetwork) })
	if out, err := exec.CommandContext(t.Context(), "virsh", "-c", SystemURI, "net-start", realNetwork).CombinedOutput(); err != nil {
		if canBridge(t) {
			t.Fatalf("start the network: %v: %s", err, out)
		}
		t.Skipf("this host cannot have a network of libvirt: %s", out)
	}
	t.Cleanup(func() { virsh(t, "net-destroy", realNetwork) })
}

// canBridge reports whether this user can make what a network of libvirt consists of.
func canBridge(t *testing.T) bool {
	t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		return false
	}
	const name = "virbr-skiff-try"
	if exec.CommandContext(t.Context(), "ip", "link", "add", name, "type", "bridge").Run() != nil {
		return false
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "delete", name).CombinedOutput(); err != nil {
		t.Errorf("delete the bridge %s: %v: %s", name, err, out)
	}
	return true
}

func virsh(t *testing.T, args ...string) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	out, err := exec.CommandContext(ctx, "virsh", append([]string{"-c", SystemURI}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("virsh %q: %v: %s", args, err, out)
	}
	return string(out)
}
