// Package ssh runs commands and puts files on a machine over SSH: it is the machine.Runner of every machine that is not
// the host itself. It knows only package machine. A server for tests is in sshtest.
package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
)

const (
	// dialLimit bounds one attempt to connect and log in. An emulated guest needs most of a second, on a busy host many.
	dialLimit = 30 * time.Second
	// keepalivePeriod is how often an idle connection is asked whether it still lives, and how long the answer may take.
	keepalivePeriod = 15 * time.Second
	// maxSessions stays below OpenSSH's MaxSessions of 10 per connection, which leaves two for ending commands.
	maxSessions = 8
)

var _ machine.Runner = (*Runner)(nil)

// Runner runs commands on one machine. It connects when first needed, keeps the connection, and connects again after it
// was lost. It is safe for concurrent use; up to eight commands run at a time, further ones wait. Only the host key of
// its machine.SSH is accepted.
type Runner struct {
	target machine.SSH
	dial   Dial
	slots  chan struct{}

	mu     sync.Mutex
	conn   *connection   // nil while there is none
	dialed chan struct{} // closed when the dial under way has ended; nil when none is
	closed bool
}

// New returns a Runner for the machine at target. It does not connect yet, so wrong keys in target show at first use.
func New(target machine.SSH) *Runner { return Through(target, direct) }

// Through is New for a machine that is reached in another way than the host's.
func Through(target machine.SSH, dial Dial) *Runner {
	return &Runner{target: target, dial: dial, slots: make(chan struct{}, maxSessions)}
}

// Address returns where the machine's SSH server is reached.
func (r *Runner) Address() netip.AddrPort { return r.target.Address }

// Close ends the connection and with it all commands. Later calls fail with net.ErrClosed. It is idempotent.
func (r *Runner) Close() error {
	r.mu.Lock()
	conn := r.conn
	r.conn, r.closed = nil, true
	r.mu.Unlock()
	if conn != nil {
		conn.close()
	}
	return nil
}

// Dial opens a connection to addr ("host:port") from the machine, through the SSH connection. network is "tcp" or
// "unix". The result knows no deadlines: close it to end a read.
func (r *Runner) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return onConnection(ctx, r, (*connection).lost, func(conn *connection) (net.Conn, error) {
		return conn.client.DialContext(ctx, network, addr)
	})
}

// Listen listens at addr ("127.0.0.1:5000") on the machine, through the SSH connection, and gives out the connections that
// are made to it there. The listener ends with the SSH connection, which is not made anew for it.
func (r *Runner) Listen(ctx context.Context, addr string) (net.Listener, error) {
	// A refusal has no type of its own here, so anything but the signs of a loss is taken for one.
	lost := func(conn *connection, err error) bool { return conn.dead() || errors.Is(err, io.EOF) }
	return onConnection(ctx, r, lost, func(conn *connection) (net.Listener, error) {
		listener, err := opened(ctx, func() (net.Listener, error) { return conn.client.Listen("tcp", addr) })
		if err != nil {
			return nil, fmt.Errorf("listen on the machine's %s: %w", addr, err)
		}
		return listener, nil
	})
}

// Connected reports whether there is a connection at this moment. None is made.
func (r *Runner) Connected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn != nil && !r.conn.dead()
}

// session opens a session, on a new connection when the kept one turns out to be lost. done must be called after it.
func (r *Runner) session(ctx context.Context) (session *xssh.Session, done func(), err error) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	release := sync.OnceFunc(func() { <-r.slots })
	session, err = onConnection(ctx, r, (*connection).lost, func(conn *connection) (*xssh.Session, error) {
		return conn.newSession(ctx)
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	return session, release, nil
}

// onConnection calls open with the kept connection, and again with a new one when that turns out to be lost, which lost
// tells from open's error.
func onConnection[T any](ctx context.Context, r *Runner, lost func(*connection, error) bool, open func(*connection) (T, error)) (T, error) {
	for {
		conn, reused, err := r.connection(ctx)
		if err != nil {
			var none T
			return none, err
		}
		value, err := open(conn)
		if err == nil || !reused || ctx.Err() != nil || !lost(conn, err) {
			return value, err
		}
		r.drop(conn)
	}
}

// connection returns the kept connection, or a new one; reused tells which. Of several callers one dials.
func (r *Runner) connection(ctx context.Context) (conn *connection, reused bool, err error) {
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return nil, false, net.ErrClosed
		}
		if r.conn != nil && !r.conn.dead() {
			defer r.mu.Unlock()
			return r.conn, true, nil
		}
		if r.dialed == nil {
			r.dialed = make(chan struct{})
			r.mu.Unlock()
			conn, err := r.login(ctx)
			return r.keep(conn, err)
		}
		wait := r.dialed
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func (r *Runner) login(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return r.dial.login(ctx, r.target, nil)
}

// keep ends the dial under way with its outcome.
func (r *Runner) keep(conn *connection, err error) (*connection, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.dialed)
	r.dialed = nil
	if err != nil {
		return nil, false, err
	}
	if r.closed {
		conn.close()
		return nil, false, net.ErrClosed
	}
	r.conn = conn
	return conn, false, nil
}

// drop forgets conn, if it is still the kept one.
func (r *Runner) drop(conn *connection) {
	conn.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == conn {
		r.conn = nil
	}
}
