package sleep

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is an Inner whose connections lead to the test.
type pipes struct {
	guests chan net.Conn
	fails  error
}

func (p *pipes) DialContext(context.Context, netip.AddrPort) (net.Conn, error) {
	if p.fails != nil {
		return nil, p.fails
	}
	here, there := net.Pipe()
	p.guests <- there
	return here, nil
}

func (p *pipes) ForwardUDP(netip.AddrPort, netip.AddrPort) (io.Closer, error) {
	return nil, errors.ErrUnsupported
}

var (
	plain   = netip.MustParseAddrPort("192.168.127.2:80")
	beating = netip.MustParseAddrPort("192.168.127.2:6443")
	session = netip.MustParseAddrPort("192.168.127.2:22")
)

// connected runs a test in a bubble with a connection to a machine that is awake; the other end is the guest's.
func connected(t *testing.T, b *bed, to netip.AddrPort, test func(t *testing.T, s *Sleeper, client, guest net.Conn)) {
	t.Helper()
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		inner := &pipes{guests: make(chan net.Conn, 1)}
		n := Watch(inner, s, map[netip.AddrPort]Kind{beating: Beating, session: Session})
		client, err := n.DialContext(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		guest := <-inner.guests
		defer func() { _ = guest.Close() }()
		defer func() { _ = client.Close() }()
		test(t, s, client, guest)
	})
}

// sends writes in the background, as the other end may not read yet.
func sends(from net.Conn, bytes int) {
	go func() { _, _ = io.WriteString(from, strings.Repeat("x", bytes)) }()
	synctest.Wait()
}

func reads(t *testing.T, at net.Conn, bytes int) {
	t.Helper()
	if n, err := io.ReadFull(at, make([]byte, bytes)); err != nil {
		t.Errorf("read: got %d bytes and %v, want %d", n, err, bytes)
	}
}

func TestAConnectionWakes(t *testing.T) {
	b := &bed{thawing: time.Second}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		inner := &pipes{guests: make(chan net.Conn, 1)}
		n := Watch(inner, s, nil)
		passes(limit)
		began := time.Now()
		conn, err := n.DialContext(t.Context(), plain)
		if err != nil || time.Since(began) != time.Second {
			t.Fatalf("DialContext: got error %v after %s, want none after 1s", err, time.Since(began))
		}
		defer func() { _ = conn.Close() }()
		want(t, s, b, "freeze thaw settle settled", false)
		passes(limit) // one that is only open keeps nobody awake
		want(t, s, b, "freeze", true)

		inner.fails = errors.New("no route")
		if _, err := n.DialContext(t.Context(), plain); !errors.Is(err, inner.fails) {
			t.Errorf("DialContext: got %v, want %v", err, inner.fails)
		}
		passes(limit)
		want(t, s, b, "thaw settle settled freeze", true)
	})
}

func TestARequestWakes(t *testing.T) {
	for name, to := range map[string]netip.AddrPort{"plain": plain, "beating": beating} {
		t.Run(name, func(t *testing.T) {
			b := &bed{}
			connected(t, b, to, func(t *testing.T, s *Sleeper, client, guest net.Conn) {
				passes(limit)
				want(t, s, b, "freeze", true)
				sends(client, 200)
				want(t, s, b, "thaw settle settled", false)
				reads(t, guest, 200)
			})
		})
	}
}

// TestAForgottenWatchSleeps: its heartbeats keep nobody awake and wake nobody. They wait, and get there once somebody else
// has woken the machine.
func TestAForgottenWatchSleeps(t *testing.T) {
	b := &bed{}
	connected(t, b, beating, func(t *testing.T, s *Sleeper, client, guest net.Conn) {
		for range limit / (30 * time.Second) {
			want(t, s, b, "", false)
			sends(client, 39)
			reads(t, guest, 39)
			sends(guest, 500)
			reads(t, client, 500)
			passes(30 * time.Second)
		}
		want(t, s, b, "freeze", true)
		sends(client, 39)
		passes(time.Hour)
		want(t, s, b, "", true)
		got := make(chan struct{})
		go func() { defer close(got); reads(t, guest, 39) }()
		synctest.Wait()
		select {
		case <-got:
			t.Error("the heartbeat went to a machine that is asleep")
		default:
		}
		begins(t, s)
		<-got
	})
}

// TestCloseEndsAWait: who gives up while the machine is asleep leaves nothing behind.
func TestCloseEndsAWait(t *testing.T) {
	b := &bed{}
	connected(t, b, beating, func(t *testing.T, s *Sleeper, client, _ net.Conn) {
		passes(limit)
		failed := make(chan error)
		go func() {
			_, err := io.WriteString(client, "heartbeat")
			failed <- err
		}()
		synctest.Wait()
		_ = client.Close()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("Write: got %v, want %v", err, context.Canceled)
		}
		want(t, s, b, "freeze", true)
	})
}

func TestAnAnswerKeepsAwake(t *testing.T) {
	b := &bed{}
	connected(t, b, beating, func(t *testing.T, s *Sleeper, client, guest net.Conn) {
		for range 100 {
			sends(guest, 40<<10)
			reads(t, client, 40<<10)
			passes(limit / 100)
			sends(guest, 40<<10)
			reads(t, client, 40<<10)
			passes(limit / 100)
		}
		want(t, s, b, "", false)
	})
}

// TestASessionKeepsAwake: somebody is at work there, also without a word.
func TestASessionKeepsAwake(t *testing.T) {
	b := &bed{}
	connected(t, b, session, func(t *testing.T, s *Sleeper, client, _ net.Conn) {
		passes(10 * limit)
		want(t, s, b, "", false)
		_ = client.Close()
		passes(limit)
		want(t, s, b, "freeze", true)
	})
}

// echo is an Inner with real sockets: datagrams come back in capitals.
type echo struct{ pipes }

func (*echo) ForwardUDP(host, _ netip.AddrPort) (io.Closer, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(host))
	if err != nil {
		return nil, err
	}
	go func() {
		buffer := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort([]byte(strings.ToUpper(string(buffer[:n]))), from)
		}
	}()
	return conn, nil
}

func TestADatagramWakes(t *testing.T) {
	t.Parallel()
	b := &bed{}
	s := New(t.Context(), b, time.Nanosecond, slog.New(slog.DiscardHandler))
	host := netip.MustParseAddrPort("127.77.212.1:5353")
	carried, err := Watch(&echo{}, s, nil).ForwardUDP(host, plain)
	if err != nil {
		t.Fatal(err)
	}
	s.freeze(t.Context())
	for _, text := range []string{"one", "two"} { // of two clients
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(host))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 10)
		for range 2 {
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != strings.ToUpper(text) {
				t.Errorf("got %q and %v, want %q", buffer[:n], err, strings.ToUpper(text))
			}
		}
	}
	if got := b.done(); got != "freeze thaw settle settled" {
		t.Errorf("got %q, want it woken once", got)
	}
	if err := carried.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(host))
	if err != nil {
		t.Fatalf("the port after Close: %v", err)
	}
	_ = again.Close()
}
