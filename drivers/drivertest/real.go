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
	emulator := filepath.Join(base, "qemu", "qemu-system-x86_64")
	if _, err := os.Stat(emulator); err != nil {
		emulator = "" // of an image without one
	}
	return machine.Image{
		Emulator: emulator,
		Disk:     filepath.Join(base, "disk.raw"), Kernel: filepath.Join(base, "vmlinuz"), Initrd: filepath.Join(base, "initrd"),
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
	greeting := hello(t, n.MAC)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = virtual.AcceptQemu(context.WithoutCancel(t.Context()), &introduced{Conn: conn, hello: greeting})
		}
	}()
	return published
}

// introduced is the connection of a machine that the network hears of at once, as the agent does it: one that goes on from
// its memory may wait to be spoken to.
type introduced struct {
	net.Conn
	hello []byte // what is left of it
}

func (c *introduced) Read(p []byte) (int, error) {
	if len(c.hello) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.hello)
	c.hello = c.hello[n:]
	return n, nil
}

// hello is a frame to all from that card, with its length before it.
func hello(t *testing.T, mac string) []byte {
	t.Helper()
	card, err := net.ParseMAC(mac)
	must(t, "read the card's address", err)
	frame := append([]byte{0, 0, 0, 14, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, card...)
	return append(frame, 0x88, 0xb5)
}
