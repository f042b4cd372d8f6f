package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containers/gvisor-tap-vsock/pkg/services/dhcp"
	"github.com/containers/gvisor-tap-vsock/pkg/services/dns"
	"github.com/containers/gvisor-tap-vsock/pkg/services/forwarder"
	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nic is the only card of the stack.
const nic = 1

// virtual is the switch, with the gateway's TCP/IP stack and its DHCP and DNS servers. It is put together from the parts
// of gvisor-tap-vsock as its package virtualnetwork does, which lets nobody choose what a guest reaches outside, how many
// connections it may be opening, and for how long.
type virtual struct {
	stack *stack.Stack
	wire  *tap.Switch
	ports *forwarder.PortsForwarder
}

// newVirtual makes the network; outside carries what guests send out of it.
func newVirtual(c *types.Configuration, outside *outside) (*virtual, error) {
	subnet := netip.MustParsePrefix(c.Subnet)
	pool := tap.NewIPPool(&net.IPNet{IP: subnet.Addr().AsSlice(), Mask: net.CIDRMask(subnet.Bits(), subnet.Addr().BitLen())})
	pool.Reserve(net.ParseIP(c.GatewayIP), c.GatewayMacAddress)
	for ip, mac := range c.DHCPStaticLeases {
		pool.Reserve(net.ParseIP(ip), mac)
	}
	endpoint, err := tap.NewLinkEndpoint(false, MTU, c.GatewayMacAddress, c.GatewayIP, c.GatewayVirtualIPs)
	if err != nil {
		return nil, err
	}
	wire := tap.NewSwitch(false)
	endpoint.Connect(wire)
	wire.Connect(endpoint)
	v := &virtual{wire: wire}
	if v.stack, err = newStack(endpoint, subnet); err != nil {
		return nil, err
	}
	v.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(v.stack, 0, maxDials, outside.tcp).HandlePacket)
	v.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(v.stack, outside.udp).HandlePacket)
	v.ports = forwarder.NewPortsForwarder(v.stack)
	return v, v.serve(c, pool)
}

func newStack(endpoint stack.LinkEndpoint, subnet netip.Prefix) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := s.CreateNIC(nic, endpoint); err != nil {
		return nil, errors.New(err.String())
	}
	if err := s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom4(netip.MustParseAddr(Gateway).As4()).WithPrefix(),
	}, stack.AddressProperties{}); err != nil {
		return nil, errors.New(err.String())
	}
	// So that it answers for the addresses outside, to which guests send by way of the gateway.
	s.SetSpoofing(nic, true)
	s.SetPromiscuousMode(nic, true)
	inside, err := tcpip.NewSubnet(tcpip.AddrFrom4(subnet.Addr().As4()), tcpip.MaskFromBytes(net.CIDRMask(subnet.Bits(), 32)))
	if err != nil {
		return nil, err
	}
	s.SetRouteTable([]tcpip.Route{{Destination: inside, NIC: nic}})
	return s, nil
}

// serve starts the DNS and DHCP servers of the gateway. They end with the process.
func (v *virtual) serve(c *types.Configuration, pool *tap.IPPool) error {
	at := full(netip.AddrPortFrom(netip.MustParseAddr(c.GatewayIP), 53))
	datagrams, err := gonet.DialUDP(v.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	connections, err := gonet.ListenTCP(v.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	names, err := dns.New(datagrams, connections, c.DNS)
	if err != nil {
		return fmt.Errorf("make the DNS server: %w", err)
	}
	leases, err := dhcp.New(c, v.stack, pool)
	if err != nil {
		return fmt.Errorf("make the DHCP server: %w", err)
	}
	go func() { _ = names.Serve() }()
	go func() { _ = names.ServeTCP() }()
	go func() { _ = leases.Serve() }()
	return nil
}

func (v *virtual) dial(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	return gonet.DialContextTCP(ctx, v.stack, full(address), ipv4.ProtocolNumber)
}

func (v *virtual) listen(address netip.AddrPort) (net.Listener, error) {
	return gonet.ListenTCP(v.stack, full(address), ipv4.ProtocolNumber)
}

// full is an IPv4 address as the stack takes it.
func full(address netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(address.Addr().As4()), Port: address.Port()}
}
