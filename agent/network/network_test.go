package network_test

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"

	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/agent/network/networktest"
)

// serve makes a network that waits on a socket.
func serve(t *testing.T) (*network.Network, string) {
	t.Helper()
	logrus.SetOutput(io.Discard)
	n, err := network.New(netip.MustParseAddr(networktest.Address), networktest.MAC, network.Access{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "net.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	return n, socket
}

// answer makes the guest answer each connection on port with text.
func answer(t *testing.T, guest *networktest.Guest, port, text string) {
	t.Helper()
	listener, err := guest.Listen("tcp", networktest.Address+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	networktest.Answer(t, listener, text)
}

// read dials the guest until it answers or the test ends: a guest needs a moment to join.
func read(t *testing.T, n *network.Network, port string) string {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		conn, err := n.DialContext(ctx, netip.MustParseAddrPort(networktest.Address+":"+port))
		cancel()
		if err != nil {
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
			continue
		}
		defer func() { _ = conn.Close() }()
		text, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func TestReachesTheGuestAlsoAfterItHasComeBack(t *testing.T) {
	t.Parallel()
	n, socket := serve(t)
	if n.Connected() {
		t.Error("Connected before a machine joined: got true, want false")
	}
	first := networktest.Join(t, socket)
	answer(t, first, "80", "first")
	if got := read(t, n, "80"); got != "first" {
		t.Errorf("got %q, want %q", got, "first")
	}
	if !n.Connected() {
		t.Error("Connected: got false, want true")
	}
	first.Leave()
	second := networktest.Join(t, socket)
	answer(t, second, "80", "second")
	if got := read(t, n, "80"); got != "second" {
		t.Errorf("after a restart: got %q, want %q", got, "second")
	}
}

func TestServesInsideTheNetwork(t *testing.T) {
	t.Parallel()
	n, socket := serve(t)
	listener, err := n.Listen(5000)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = io.WriteString(conn, strings.Repeat("x", 1<<20))
			_ = conn.Close()
		}
	}()
	guest := networktest.Join(t, socket)
	conn, err := guest.DialContextTCP(t.Context(), network.Gateway+":5000")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(conn)
	if err != nil || len(body) != 1<<20 {
		t.Errorf("got %d bytes and %v, want %d and nil", len(body), err, 1<<20)
	}
}

func TestResolvesTheHostsName(t *testing.T) {
	t.Parallel()
	_, socket := serve(t)
	guest := networktest.Join(t, socket)
	conn, err := guest.DialContextTCP(t.Context(), network.Gateway+":53")
	if err != nil {
		t.Fatal(err)
	}
	client := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	question := new(dns.Msg).SetQuestion("host.skiff.internal.", dns.TypeA)
	reply, _, err := client.ExchangeWithConn(question, &dns.Conn{Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "\t"+network.Host) {
		t.Errorf("got %v, want one answer of %s", reply.Answer, network.Host)
	}
}

// The machine's kernel decides what is in a frame, and whoever has broken out of a container may decide with it.
func TestOutlivesBadFrames(t *testing.T) {
	t.Parallel()
	n, socket := serve(t)
	for name, frame := range map[string][]byte{
		"runt":  framed(3, make([]byte, 3)),
		"empty": framed(0, nil),
		"huge":  framed(1<<31, nil),
		"short": framed(1000, make([]byte, 10)),
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Write(frame); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = conn.(*net.UnixConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close()
	}
	guest := networktest.Join(t, socket)
	answer(t, guest, "80", "alive")
	if got := read(t, n, "80"); got != "alive" {
		t.Errorf("got %q, want %q", got, "alive")
	}
}

func framed(length uint32, frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, length), frame...)
}

// A machine that is paused takes no frames; dialling it must end with its context all the same.
func TestDoesNotWaitForAPausedMachine(t *testing.T) {
	t.Parallel()
	n, socket := serve(t)
	guest := networktest.Join(t, socket)
	answer(t, guest, "80", "here")
	read(t, n, "80")
	guest.Leave()
	paused, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket) // never reads
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = paused.Close() }()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := n.DialContext(ctx, netip.MustParseAddrPort(networktest.Address+":80"))
		cancel()
		if err == nil {
			t.Fatal("got a connection to a machine that does not answer")
		}
	}
}

func TestRefusesAGuestOutsideOfTheNetwork(t *testing.T) {
	t.Parallel()
	_, err := network.New(netip.MustParseAddr("10.0.0.2"), networktest.MAC, network.Access{}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Error("got nil, want an error that names the subnet")
	}
}

func TestForwardsDatagrams(t *testing.T) {
	t.Parallel()
	n, socket := serve(t)
	networktest.Join(t, socket)
	host := netip.MustParseAddrPort("127.77.209.1:5353")
	closer, err := n.ForwardUDP(host, netip.MustParseAddrPort(networktest.Address+":53"))
	if err != nil {
		t.Fatal(err)
	}
	// The guest's own stack has a DNS server at port 53, which knows that this name is no name.
	client := dns.Client{Timeout: 10 * time.Second}
	question := new(dns.Msg).SetQuestion("localhost.", dns.TypeA)
	if _, _, err := client.Exchange(question, host.String()); err != nil {
		t.Error(err)
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.ForwardUDP(host, netip.MustParseAddrPort(networktest.Address+":53")); err != nil {
		t.Errorf("again after closing: got %v, want nil", err)
	}
}
