package network

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/services/forwarder"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/skiff-k8s/skiff/agent/publish"
)

// What a guest may have open to the outside.
const (
	maxDials    = 512              // TCP connections that are being made; a further one is tried again by the guest's kernel
	dialTimeout = 10 * time.Second // for each of them
	udpIdle     = 90 * time.Second // without a datagram, until a port of the guest is forgotten
)

// Access says which services on the host's 127.0.0.1 a guest may reach at Host. The zero Access is none.
type Access struct {
	All   bool     `json:"all,omitempty"`
	Ports []uint16 `json:"ports,omitempty"` // of TCP and of UDP
}

func (a Access) allows(port uint16) bool { return a.All || slices.Contains(a.Ports, port) }

// outside carries what guests send to addresses that are not in the network.
type outside struct {
	access atomic.Pointer[Access]
	dialer func(ctx context.Context, network, address string) (net.Conn, error)
	log    *slog.Logger
}

func newOutside(access Access, log *slog.Logger) *outside {
	o := &outside{dialer: (&net.Dialer{}).DialContext, log: log}
	o.access.Store(&access)
	return o
}

// unended is the context of what a guest does: no caller waits for it, and the network lives until the process ends.
func unended() context.Context {
	return context.Background() //nolint:forbidigo // the guest's connections have no caller who could end them
}

// target is where on the host's network something that a guest sends goes; false when it goes nowhere. A literal address
// is all there is to check: names have been resolved before.
//
// The host's loopback is reached by Host only. 127.0.0.0/8 and 0.0.0.0/8, which Linux takes for the host itself (RFC 1122,
// 3.2.1.3), would be other ways there. Link-local addresses are those of the cloud's metadata, with its credentials, and
// the rest of the subnet is this network's own: nothing of the host is meant.
func (o *outside) target(address netip.AddrPort) (netip.AddrPort, bool) {
	ip := address.Addr()
	switch {
	case ip == netip.MustParseAddr(Host):
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), address.Port()), o.access.Load().allows(address.Port())
	case netip.MustParsePrefix(Subnet).Contains(ip),
		ip.IsLoopback(), ip.As4()[0] == 0, ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.AddrPort{}, false
	}
	return address, true
}

// destination is where the guest sent it.
func destination(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
}

// tcp answers a guest that opens a connection: with a reset when it may not, or nothing answers there.
func (o *outside) tcp(r *tcp.ForwarderRequest) {
	target, ok := o.target(destination(r.ID()))
	if !ok {
		r.Complete(true)
		return
	}
	server, err := o.dial(target)
	if err != nil {
		o.log.Debug("a connection to the outside failed", "to", target, "err", err)
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	endpoint, failed := r.CreateEndpoint(&queue)
	r.Complete(false)
	if failed != nil { // the guest has given up
		_ = server.Close()
		return
	}
	publish.Join(unended(), gonet.NewTCPConn(&queue, endpoint), server)
}

// dial connects to the outside; an address from which nothing comes is given up after dialTimeout.
func (o *outside) dial(target netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(unended(), dialTimeout)
	defer cancel()
	return o.dialer(ctx, "tcp", target.String())
}

// udp carries the datagrams of one port of the guest to one address until none has come for udpIdle.
func (o *outside) udp(r *udp.ForwarderRequest) {
	to := destination(r.ID())
	if _, ok := o.target(to); !ok {
		return
	}
	var queue waiter.Queue
	endpoint, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		return
	}
	proxy, err := forwarder.NewUDPProxy(&idling{gonet.NewUDPConn(&queue, endpoint)}, func() (net.Conn, error) {
		target, ok := o.target(to)
		if !ok {
			return nil, net.ErrClosed
		}
		return o.dialer(unended(), "udp", target.String())
	})
	if err != nil {
		endpoint.Close()
		return
	}
	go func() {
		proxy.Run()
		endpoint.Close()
	}()
}

// idling is a connection whose reads end when nothing has come or gone for udpIdle.
type idling struct{ *gonet.UDPConn }

// ReadFrom reads the next datagram of the guest.
func (i *idling) ReadFrom(b []byte) (int, net.Addr, error) {
	_ = i.SetReadDeadline(time.Now().Add(udpIdle))
	return i.UDPConn.ReadFrom(b)
}

// WriteTo sends an answer to the guest.
func (i *idling) WriteTo(b []byte, to net.Addr) (int, error) {
	_ = i.SetReadDeadline(time.Now().Add(udpIdle))
	return i.UDPConn.WriteTo(b, to)
}
