// Package network is the virtual network of one cluster: a user-mode switch, gateway, DNS server and NAT in this process
// (gvisor-tap-vsock), which a machine joins through a unix socket. What is published from it, and what else is served in
// it, is decided by others: they dial into it and listen in it.
package network

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/types"

	"github.com/skiff-k8s/skiff/agent/publish"
)

// What every cluster's network looks like from inside.
const (
	Subnet  = "192.168.127.0/24"
	Gateway = "192.168.127.1"   // also the DNS server
	Host    = "192.168.127.254" // stands for 127.0.0.1 of the host, as far as Access lets; its name inside is host.skiff.internal
	MTU     = 4000              // bytes; the guest's card must be set to the same

	gatewayMAC = "5a:94:ef:e4:0c:dd"
)

// Network is a running virtual network. It is safe for concurrent use.
type Network struct {
	virtual   *virtual
	outside   *outside
	card      net.HardwareAddr // the machine's
	log       *slog.Logger
	connected atomic.Bool
}

// New makes a network in which the machine with the given card has the given address, should it ask by DHCP. The network
// lives until the process ends: the library has no way to take one down. Access says what of the host it reaches.
func New(guest netip.Addr, guestMAC string, access Access, log *slog.Logger) (*Network, error) {
	subnet := netip.MustParsePrefix(Subnet)
	if !subnet.Contains(guest) {
		return nil, fmt.Errorf("the machine's address %s is outside of %s", guest, subnet)
	}
	card, err := net.ParseMAC(guestMAC)
	if err != nil {
		return nil, fmt.Errorf("the machine's card: %w", err)
	}
	outside := newOutside(access, log)
	virtual, err := newVirtual(&types.Configuration{
		Subnet:            Subnet,
		GatewayIP:         Gateway,
		GatewayMacAddress: gatewayMAC,
		DHCPStaticLeases:  map[string]string{guest.String(): guestMAC},
		GatewayVirtualIPs: []string{Host},
		DNS: []types.Zone{{
			Name: "skiff.internal.",
			Records: []types.Record{
				{Name: "host", IP: net.ParseIP(Host)},
				{Name: "gateway", IP: net.ParseIP(Gateway)},
			},
		}},
	}, outside)
	if err != nil {
		return nil, fmt.Errorf("make the virtual network: %w", err)
	}
	return &Network{virtual: virtual, outside: outside, card: card, log: log}, nil
}

// Serve lets one machine at a time join through listener until ctx ends, and closes listener. The next machine is let in
// once the connection of the one before has ended, which it does with its process.
func (n *Network) Serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := publish.Accept(ctx, listener, func(err error, retry time.Duration) {
			n.log.Warn("the machine could not be let into the network", "err", err, "retry_in", retry)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept the machine: %w", err)
		}
		n.join(ctx, conn)
	}
}

// join carries the frames of one machine until it leaves or ctx ends.
func (n *Network) join(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	n.connected.Store(true)
	n.log.Info("the machine joined the network")
	frames := newFrames(conn, n.card)
	var writer sync.WaitGroup
	writer.Go(frames.send)
	err := n.virtual.wire.Accept(ctx, frames, types.QemuProtocol)
	_ = frames.Close()
	writer.Wait()
	n.connected.Store(false)
	n.log.Info("the machine left the network", "dropped_frames", frames.dropped.Load())
	n.log.Debug("end of the machine's connection", "err", err)
}

// SetAccess changes which services of the host the machine may reach. What is open stays open.
func (n *Network) SetAccess(access Access) { n.outside.access.Store(&access) }

// Access is what SetAccess, or else New, was given.
func (n *Network) Access() Access { return *n.outside.access.Load() }

// Connected reports whether a machine has joined. It says nothing of what runs in it.
func (n *Network) Connected() bool { return n.connected.Load() }

// DialContext connects to a TCP address inside the network.
func (n *Network) DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	conn, err := n.virtual.dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s in the virtual network: %w", address, err)
	}
	return conn, nil
}

// Listen listens on a TCP port of the gateway.
func (n *Network) Listen(port uint16) (net.Listener, error) {
	address := netip.AddrPortFrom(netip.MustParseAddr(Gateway), port)
	listener, err := n.virtual.listen(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s in the virtual network: %w", address, err)
	}
	return listener, nil
}
