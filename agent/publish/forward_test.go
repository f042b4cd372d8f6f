package publish

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// flaky is a listener that fails so many times before it gives its connection, and then waits to be closed.
type flaky struct {
	failures int
	conn     net.Conn
	closed   chan struct{}
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	if conn := f.conn; conn != nil {
		f.conn = nil
		return conn, nil
	}
	<-f.closed
	return nil, net.ErrClosed
}

func (f *flaky) Close() error   { close(f.closed); return nil }
func (f *flaky) Addr() net.Addr { return &net.TCPAddr{} }

// dialled tells that the guest was dialled, and refuses.
type dialled chan time.Time

func (d dialled) DialContext(context.Context, netip.AddrPort) (net.Conn, error) {
	d <- time.Now()
	return nil, errors.New("refused")
}

func (dialled) ForwardUDP(netip.AddrPort, netip.AddrPort) (io.Closer, error) {
	return nil, errors.New("no datagrams here")
}

func TestAPortOutlivesFailedAccepts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, other := net.Pipe()
		defer func() { _ = other.Close() }()
		guest := make(dialled, 1)
		p := &Publisher{network: guest, log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		begin := time.Now()
		go func() {
			defer close(ended)
			p.serve(ctx, &flaky{failures: 20, conn: client, closed: make(chan struct{})}, netip.AddrPort{})
		}()
		select {
		case at := <-guest:
			if waited := at.Sub(begin); waited < 10*time.Second || waited > 20*time.Second {
				t.Errorf("20 failures took %s, want a growing pause of at most %s after each", waited, lastBackoff)
			}
		case <-ended:
			t.Error("the port ended with a failed Accept")
		}
		cancel()
		<-ended
	})
}
