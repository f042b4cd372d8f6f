package drivertest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"github.com/containers/gvisor-tap-vsock/pkg/virtualnetwork"

	"github.com/skiff-k8s/skiff/machine"
)

// imageVariable names the folder of a guest image; with it tests boot real machines.
const imageVariable = "SKIFF_TEST_IMAGE"

// Image returns the guest image that real machines boot from, and skips the test when there is none.
func Image(t *testing.T) machine.Image {
	t.Helper()
	folder := os.Getenv(imageVariable)
	if folder == "" {
		t.Skipf("set %s to the folder of a guest image to boot real machines", imageVariable)
	}
	base, err := filepath.EvalSymlinks(folder)
	must(t, "find the guest image", err)
	return machine.Image{
		Disk: filepath.Join(base, "disk.raw"), Kernel: filepath.Join(base, "vmlinuz"), Initrd: filepath.Join(base, "initrd"),
		Cmdline: "console=ttyS0 root=/dev/vda rw rootfstype=ext4 net.ifnames=0 quiet",
	}
}

// ServeNetwork is the virtual network that the cluster's agent has otherwise, until the test ends. It returns where the
// guest's SSH server is published.
func ServeNetwork(t *testing.T, n machine.Network) netip.AddrPort {
	t.Helper()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, "find a free port", err)
	published := netip.MustParseAddrPort(free.Addr().String())
	_ = free.Close()
	virtual, err := virtualnetwork.New(&types.Configuration{
		MTU: 4000, Subnet: n.Address.Masked().String(), GatewayIP: n.Gateway.String(), GatewayMacAddress: "5a:94:ef:e4:0c:dd",
		Forwards: map[string]string{published.String(): netip.AddrPortFrom(n.Address.Addr(), 22).String()},
	})
	must(t, "make a network", err)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", n.Socket)
	must(t, "serve a network", err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = virtual.AcceptQemu(context.WithoutCancel(t.Context()), conn)
		}
	}()
	return published
}
