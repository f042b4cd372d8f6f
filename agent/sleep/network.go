package sleep

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Inner is the network of the machine, as it is without sleep; a publish.Network is one.
type Inner interface {
	DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error)
	ForwardUDP(host, guest netip.AddrPort) (io.Closer, error)
}

// Network is an Inner whose connections wake the machine, and keep it awake as long as somebody asks something on them.
type Network struct {
	inner   Inner
	sleeper *Sleeper
	kinds   map[netip.AddrPort]Kind
}

// Watch returns the network in which what is asked of the machine counts. kinds are those of the machine's ports that are
// not Plain.
func Watch(inner Inner, sleeper *Sleeper, kinds map[netip.AddrPort]Kind) *Network {
	return &Network{inner: inner, sleeper: sleeper, kinds: kinds}
}

// DialContext connects to a TCP address of the machine once that is awake. A new connection is a request, whatever is sent
// on it.
func (n *Network) DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	end, err := n.sleeper.Begin(ctx)
	if err != nil {
		return nil, err
	}
	inner, err := n.inner.DialContext(ctx, address)
	if err != nil {
		end()
		return nil, err
	}
	kind := n.kinds[address]
	if kind != Session {
		end()
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &conn{Conn: inner, sleeper: n.sleeper, ctx: ctx, cancel: cancel, end: end, meter: meter{kind: kind}}, nil
}

// conn is a connection to the machine. What is written to it is the client's.
type conn struct {
	net.Conn
	sleeper *Sleeper
	ctx     context.Context // ends when the connection is closed
	cancel  func()
	end     func()

	mu    sync.Mutex
	meter meter
}

// Write waits until the machine is awake, and wakes it for a request. A heartbeat on a connection that somebody left open
// waits too: nobody would answer, and a network that sends it again and again gives the connection up.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	request := c.meter.send(time.Now(), len(p))
	c.mu.Unlock()
	if !request {
		if err := c.sleeper.Awake(c.ctx); err != nil {
			return 0, err
		}
		return c.Conn.Write(p)
	}
	end, err := c.sleeper.Begin(c.ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	return c.Conn.Write(p)
}

// Read counts what the guest sends.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	answers := c.meter.receive(time.Now(), n)
	c.mu.Unlock()
	if answers {
		c.sleeper.Touch()
	}
	return n, err
}

// CloseWrite passes the end of what the client sends on, where the network can.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Close ends the connection, and with it a Write that waits.
func (c *conn) Close() error {
	c.cancel()
	c.end()
	return c.Conn.Close()
}
