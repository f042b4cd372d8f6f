package sleep

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// flowLimit is how long the answers to a client's last datagram are waited for, as the library of the virtual network does.
	flowLimit = 90 * time.Second
	// datagram is the largest there is, in bytes.
	datagram = 1 << 16
)

// ForwardUDP carries datagrams between host and a UDP address of the machine until the result is closed. A client's
// datagram is a request. The inner network says nothing of what it carries, so it does so from a port of its own, on the same
// address, and what is sent to host is passed on to that.
func (n *Network) ForwardUDP(host, guest netip.AddrPort) (io.Closer, error) {
	outside, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(host))
	if err != nil {
		return nil, err
	}
	inside, carried, err := n.forwardInside(host.Addr(), guest)
	if err != nil {
		return nil, errors.Join(err, outside.Close())
	}
	ctx, cancel := context.WithCancel(n.sleeper.ctx)
	r := &relay{sleeper: n.sleeper, outside: outside, inside: inside, flows: map[netip.AddrPort]*net.UDPConn{}}
	r.running.Go(func() { r.requests(ctx) })
	return closer(func() error {
		cancel()
		err := errors.Join(outside.Close(), carried.Close())
		r.end()
		return err
	}), nil
}

// forwardInside makes the inner network carry datagrams from a port that is free.
func (n *Network) forwardInside(address netip.Addr, guest netip.AddrPort) (inside netip.AddrPort, carried io.Closer, err error) {
	const attempts = 3 // another process may take the port just found
	for range attempts {
		var found *net.UDPConn
		if found, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0))); err != nil {
			return inside, nil, err
		}
		local, _ := found.LocalAddr().(*net.UDPAddr) // a UDP socket has no other
		inside = local.AddrPort()
		_ = found.Close()
		if carried, err = n.inner.ForwardUDP(inside, guest); err == nil {
			return inside, carried, nil
		}
	}
	return inside, nil, err
}

type closer func() error

func (c closer) Close() error { return c() }

// relay passes datagrams on, between one socket outside and one inside for each client.
type relay struct {
	sleeper *Sleeper
	outside *net.UDPConn
	inside  netip.AddrPort
	running sync.WaitGroup

	mu    sync.Mutex
	flows map[netip.AddrPort]*net.UDPConn // by client
	ended bool
}

// requests passes on what clients send until the socket is closed. While the machine is being woken they wait in it.
func (r *relay) requests(ctx context.Context) {
	buffer := make([]byte, datagram)
	for {
		size, client, err := r.outside.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of one client, who is not there any more
		}
		end, err := r.sleeper.Begin(ctx)
		if err != nil {
			continue // what gets lost is sent again, as always with datagrams
		}
		if flow, err := r.flow(client); err == nil {
			_, _ = flow.Write(buffer[:size])
			_ = flow.SetReadDeadline(time.Now().Add(flowLimit))
		}
		end()
	}
}

// flow returns the socket by which a client's datagrams go on, and begins to pass back what is answered.
func (r *relay) flow(client netip.AddrPort) (*net.UDPConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, net.ErrClosed
	}
	if flow := r.flows[client]; flow != nil {
		return flow, nil
	}
	flow, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.inside))
	if err != nil {
		return nil, err
	}
	r.flows[client] = flow
	r.running.Go(func() { r.answers(client, flow) })
	return flow, nil
}

func (r *relay) answers(client netip.AddrPort, flow *net.UDPConn) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		_ = flow.Close()
		delete(r.flows, client)
	}()
	var meter meter
	buffer := make([]byte, datagram)
	for {
		size, err := flow.Read(buffer)
		if err != nil {
			return
		}
		if meter.receive(time.Now(), size) {
			r.sleeper.Touch()
		}
		if _, err := r.outside.WriteToUDPAddrPort(buffer[:size], client); err != nil {
			return
		}
	}
}

// end closes what clients have open, and waits.
func (r *relay) end() {
	r.mu.Lock()
	r.ended = true
	for _, flow := range r.flows {
		_ = flow.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}
