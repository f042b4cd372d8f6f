package network

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/containers/gvisor-tap-vsock/pkg/types"
)

// ForwardUDP carries datagrams between host and a UDP address inside the network until the result is closed. The caller
// sees to it that host is a loopback address.
func (n *Network) ForwardUDP(host, guest netip.AddrPort) (io.Closer, error) {
	if err := n.virtual.ports.Expose(types.UDP, host.String(), guest.String()); err != nil {
		return nil, fmt.Errorf("forward UDP %s to %s: %w", host, guest, err)
	}
	return closer(func() error { return n.virtual.ports.Unexpose(types.UDP, host.String()) }), nil
}

type closer func() error

func (c closer) Close() error { return c() }
