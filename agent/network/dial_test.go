package network

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skiff-k8s/skiff/agent/network/networktest"
)

// An address from which nothing comes, as behind a firewall that drops, is given up after ten seconds.
func TestDialsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutside(Access{}, slog.New(slog.DiscardHandler))
		o.dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		begin := time.Now()
		_, err := o.dial(netip.MustParseAddrPort("192.0.2.7:443"))
		if took := time.Since(begin); took != 10*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v after %s, want %v after 10s", err, took, context.DeadlineExceeded)
		}
	})
}

// hanging is a world of which one service answers with "here", and dials to all else hang until they are released.
type hanging struct {
	service  string // address
	dials    atomic.Int32
	released chan struct{}
}

func (h *hanging) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == h.service {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	h.dials.Add(1)
	defer h.dials.Add(-1)
	<-h.released
	return nil, syscall.ECONNREFUSED
}

// hears reports whether the guest gets the service's answer.
func (h *hanging) hears(ctx context.Context, guest *networktest.Guest) bool {
	conn, err := guest.DialContextTCP(ctx, strings.Replace(h.service, "127.0.0.1", Host, 1))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	text, _ := io.ReadAll(conn)
	return string(text) == "here"
}

// Connections that hang do not keep a guest from others, up to 512 of them; what is beyond is tried again.
func TestDialsInFlight(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	networktest.Answer(t, listener, "here")
	h := &hanging{service: listener.Addr().String(), released: make(chan struct{})}
	n, err := New(netip.MustParseAddr(networktest.Address), networktest.MAC, Access{All: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n.outside.dialer = h.dial
	socket := filepath.Join(t.TempDir(), "net.sock")
	machines, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = n.Serve(t.Context(), &flaky{Listener: machines, failures: 3}) }()
	guest := networktest.Join(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	until := func(what string, met func() bool) {
		t.Helper()
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for !met() {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				t.Fatalf("%s: %d dials hang", what, h.dials.Load())
			}
		}
	}
	until("the guest joins", func() bool { return h.hears(ctx, guest) })
	const limit = 512
	hang := func(n int) {
		for range n {
			go func() {
				if conn, err := guest.DialContextTCP(ctx, Host+":1"); err == nil {
					_ = conn.Close()
				}
			}()
		}
	}
	hang(limit - 1)
	until("all but one hang", func() bool { return h.dials.Load() == limit-1 })
	if !h.hears(ctx, guest) {
		t.Errorf("beside %d connections that hang the guest does not reach a service", limit-1)
	}
	hang(8)
	// The connection that was heard may count for a moment longer; then a dial waits until its guest asks again.
	until("the limit is reached, and one is beyond it", func() bool {
		return n.virtual.stack.Stats().TCP.ForwardMaxInFlightDrop.Value() > 0 && h.dials.Load() >= limit
	})
	if got := h.dials.Load(); got != limit {
		t.Errorf("got %d dials in flight, want %d", got, limit)
	}
	close(h.released)
	until("the guest reaches the service when they have ended", func() bool { return h.hears(ctx, guest) })
}

// flaky is a listener that has no descriptors at first.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// A machine that cannot be accepted for want of descriptors is let in when there are some again.
func TestServeOutlivesFailedAccepts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &Network{log: slog.New(slog.DiscardHandler)}
		begin := time.Now()
		err := n.Serve(t.Context(), &flaky{Listener: closed{}, failures: 20})
		if took := time.Since(begin); !errors.Is(err, net.ErrClosed) || took < 10*time.Second || took > 20*time.Second {
			t.Errorf("got %v after %s, want a growing pause after each of 20 failures and then the listener's end", err, took)
		}
	})
}

// closed is a listener that was closed.
type closed struct{}

func (closed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closed) Close() error              { return nil }
func (closed) Addr() net.Addr            { return &net.UnixAddr{} }
