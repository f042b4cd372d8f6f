package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skiff-k8s/skiff/fail"
)

// host is a virtual network that is the host itself: what is published leads to servers of the test.
type host struct{}

func (host) DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", address.String())
}

func (host) ForwardUDP(address, _ netip.AddrPort) (io.Closer, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
}

func start(t *testing.T, address string) *Publisher {
	t.Helper()
	p, err := New(t.Context(), netip.MustParseAddr(address), host{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return p
}

// upper starts a server that reads to the end and answers in capitals, which needs both ends of a connection to end apart.
func upper(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				text, _ := io.ReadAll(conn)
				_, _ = conn.Write(bytes.ToUpper(text))
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func ask(t *testing.T, address, text string) (string, error) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func service(name string, port uint16, guest netip.AddrPort) Request {
	return Request{Name: "http", Namespace: "default", Service: name, Protocol: TCP, Port: port, Guest: guest}
}

func TestCarriesBothWaysAndPassesTheEndOn(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.201.1")
	p.Set([]Request{service("web", 8001, upper(t))})
	long := strings.Repeat("abc", 1<<20)
	got, err := ask(t, "127.77.201.1:8001", long)
	if err != nil || got != strings.ToUpper(long) {
		t.Errorf("got %d bytes and %v, want the %d sent, in capitals", len(got), err, len(long))
	}
}

func TestSetKeepsOpensAndCloses(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.202.1")
	server := upper(t)
	p.Set([]Request{service("stays", 8001, server), service("goes", 8002, server)})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.77.202.1:8001")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	p.Set([]Request{service("stays", 8001, server), service("comes", 8003, server)})

	for port, open := range map[string]bool{"8001": true, "8002": false, "8003": true} {
		if got, err := ask(t, "127.77.202.1:"+port, "x"); (err == nil) != open {
			t.Errorf("port %s: got %q and %v, want open: %v", port, got, err, open)
		}
	}
	// The connection from before still works.
	_, _ = io.WriteString(conn, "still")
	_ = conn.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(conn); string(got) != "STILL" {
		t.Errorf("a connection of a port that stays: got %q, want %q", got, "STILL")
	}
	want := []Published{
		{Name: "http", Namespace: "default", Service: "stays", Protocol: TCP, Host: netip.MustParseAddrPort("127.77.202.1:8001"), Guest: server},
		{Name: "http", Namespace: "default", Service: "comes", Protocol: TCP, Host: netip.MustParseAddrPort("127.77.202.1:8003"), Guest: server},
	}
	if diff := cmp.Diff(want, p.Published(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("Published (-want +got):\n%s", diff)
	}
}

func TestUnpublishingEndsConnections(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.203.1")
	p.Set([]Request{service("web", 8001, upper(t))})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.77.203.1:8001")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	p.Set(nil)
	if got, _ := io.ReadAll(conn); len(got) != 0 { // returns only if the connection ends
		t.Errorf("got %q, want the end", got)
	}
}

func TestATakenPortIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.204.1")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.77.204.1:8001")
	if err != nil {
		t.Fatal(err)
	}
	p.Set([]Request{service("web", 8001, upper(t))})
	got := p.Published()[0].Error
	if !strings.Contains(got, "127.77.204.1:8001 is held by ") {
		t.Errorf("got error %q, want one that names the address and its holder", got)
	}
	if runtime.GOOS == "linux" && !strings.Contains(got, fmt.Sprintf("(process %d)", os.Getpid())) {
		t.Errorf("got error %q, want the process %d in it", got, os.Getpid())
	}
	_ = taken.Close()
	p.again()
	if got, err := ask(t, "127.77.204.1:8001", "x"); got != "X" {
		t.Errorf("once free: got %q and %v, want X", got, err)
	}
	if got := p.Published()[0].Error; got != "" {
		t.Errorf("once free: got error %q, want none", got)
	}
}

func TestFixedPortsAreAllOrNone(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.205.1")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.77.205.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	guest := netip.MustParseAddrPort("192.168.127.2:22")
	err = p.Fix([]Request{
		{Name: "ssh", Protocol: TCP, Port: 2222, Guest: guest},
		{Name: "apiserver", Protocol: TCP, Port: 6443, Guest: guest},
	})
	if !fail.Is(err, fail.PortInUse) || !strings.Contains(err.Error(), "127.77.205.1:6443") {
		t.Errorf("got %v, want fail.PortInUse that names 127.77.205.1:6443", err)
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.77.205.1:2222"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the other port: got %v, want refused", err)
	}
	if got := p.Published(); len(got) != 0 {
		t.Errorf("got %v published, want nothing", got)
	}
}

func TestNamesTheServiceThatHoldsAPort(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.206.1")
	guest := upper(t)
	p.Set([]Request{service("a", 8001, guest), service("b", 8001, guest)})
	if got, want := p.Published()[1].Error, "is held by Service default/a"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

// ordinary refuses ports below 1024, as the kernel does to ordinary users, while it is true.
func ordinary(p *Publisher, refused *bool) {
	listen := p.listen
	p.listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		_, text, _ := net.SplitHostPort(address)
		if port, _ := strconv.Atoi(text); port < 1024 && *refused {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EACCES)}
		}
		return listen(ctx, network, address)
	}
}

func TestLowPortsThatAreRefusedAppearFurtherUp(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.207.1")
	refused := true
	ordinary(p, &refused)
	guest := upper(t)
	p.Set([]Request{service("web", 80, guest), service("tls", 443, guest), service("dns", 53, guest)})
	for i, want := range []uint16{8080, 8443, 8053} {
		one := p.Published()[i]
		if one.Host.Port() != want || one.Error != "" || !strings.Contains(one.Note, "sysctl net.ipv4.ip_unprivileged_port_start=80") {
			t.Errorf("got %+v, want port %d and a note with the command", one, want)
		}
		if got, err := ask(t, one.Host.String(), "x"); got != "X" {
			t.Errorf("%s: got %q and %v, want X", one.Host, got, err)
		}
	}
	p.mu.Lock()
	refused = false
	p.mu.Unlock()
	p.again()
	for i, want := range []uint16{80, 443, 53} {
		if one := p.Published()[i]; one.Host.Port() != want || one.Note != "" || one.Error != "" {
			t.Errorf("once allowed: got %+v, want port %d and no note", one, want)
		}
	}
}

func TestAFixedLowPortThatIsRefusedIsAnError(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.208.1")
	refused := true
	ordinary(p, &refused)
	err := p.Fix([]Request{{Name: "web", Protocol: TCP, Port: 80, Guest: netip.MustParseAddrPort("192.168.127.2:80")}})
	if !errors.Is(err, syscall.EACCES) {
		t.Errorf("got %v, want EACCES", err)
	}
}

func TestRefusesOtherThanLoopback(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0", "192.168.1.1", "::", "10.0.0.1"} {
		if _, err := New(t.Context(), netip.MustParseAddr(address), host{}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: got nil, want an error", address)
		}
	}
	if _, err := New(t.Context(), netip.Addr{}, host{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no address: got nil, want an error")
	}
}

// A guest that does not answer must look like a port where nothing listens, not like an empty answer.
func TestAGuestThatRefusesResetsTheClient(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.210.1")
	p.Set([]Request{service("web", 8001, netip.MustParseAddrPort("127.77.210.1:1"))})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.77.210.1:8001")
	if err == nil {
		defer func() { _ = conn.Close() }()
		_, err = io.ReadAll(conn)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestDatagrams(t *testing.T) {
	t.Parallel()
	p := start(t, "127.77.211.1")
	request := Request{Name: "dns", Namespace: "a", Service: "dns", Protocol: UDP, Port: 8053, Guest: netip.MustParseAddrPort("192.168.127.2:30053")}
	p.Set([]Request{request})
	if got := p.Published()[0].Error; got != "" {
		t.Fatalf("got error %q, want none", got)
	}
	taken := request
	taken.Service = "other"
	p.Set([]Request{request, taken})
	if got, want := p.Published()[1].Error, "held by Service a/dns"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}
