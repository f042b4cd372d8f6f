package drivertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// LibvirtNetworkLast is the highest address that a network of MakeLibvirtNetwork gives, which skiff takes first.
const LibvirtNetworkLast = "192.168.231.9"

// MakeLibvirtNetwork makes a network of a few addresses that leads nowhere but to the host, for as long as the test runs. It
// skips the test where the host cannot have one.
func MakeLibvirtNetwork(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "network.xml")
	text := fmt.Sprintf(`<network><name>%s</name><forward mode="open"/><bridge name="virbr-skiff" stp="off" delay="0"/>
<ip address="192.168.231.1" netmask="255.255.255.0"><dhcp><range start="192.168.231.2" end="%s"/></dhcp></ip></network>`, name, LibvirtNetworkLast)
	must(t, "describe the network", os.WriteFile(file, []byte(text), 0o600))
	Virsh(t, "net-define", file)
	t.Cleanup(func() { Virsh(t, "net-undefine", name) })
	if out, err := exec.CommandContext(t.Context(), "virsh", "-c", systemURI, "net-start", name).CombinedOutput(); err != nil {
		if canBridge(t) {
			t.Fatalf("start the network: %v: %s", err, out)
		}
		t.Skipf("this host cannot have a network of libvirt: %s", out)
	}
	t.Cleanup(func() { Virsh(t, "net-destroy", name) })
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

// systemURI is the libvirt of the host; networks are made there.
const systemURI = "qemu:///system"

// Virsh asks the libvirt of the host, and returns what it says.
func Virsh(t *testing.T, args ...string) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	out, err := exec.CommandContext(ctx, "virsh", append([]string{"-c", systemURI}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("virsh %q: %v: %s", args, err, out)
	}
	return string(out)
}
