// Package networktest has a machine for tests of the virtual network: a TCP/IP stack in the test's own process that joins
// through the network's unix socket and speaks QEMU's framing.
package networktest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"github.com/containers/gvisor-tap-vsock/pkg/virtualnetwork"
)

// What the guest is called in the network.
const (
	Address = "192.168.127.2"
	MAC     = "5a:94:ef:e4:0c:ee"
)

// Guest is a machine in the network. Dial and Listen are its own.
type Guest struct {
	*virtualnetwork.VirtualNetwork
	leave func()
}

// Join makes a guest and connects it to the socket. It leaves with the test, if not before. The library's switch makes
// a good guest: it is a network of its own whose gateway has the guest's address.
func Join(t *testing.T, socket string) *Guest {
	t.Helper()
	stack, err := virtualnetwork.New(&types.Configuration{
		MTU: 4000, Subnet: "192.168.127.0/24", GatewayIP: Address, GatewayMacAddress: MAC,
		// Where the guest does not listen the library asks the host's network; nothing is at this address of it.
		NAT: map[string]string{Address: "127.77.255.254"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = stack.AcceptQemu(ctx, conn) })
	leave := sync.OnceFunc(func() {
		cancel()
		_ = conn.Close()
		running.Wait()
	})
	t.Cleanup(leave)
	return &Guest{stack, leave}
}

// Leave cuts the guest off, as the end of its process would.
func (g *Guest) Leave() { g.leave() }

// Answer answers each connection to the listener with text, until the test ends.
func Answer(t *testing.T, listener net.Listener, text string) {
	t.Helper()
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
}
