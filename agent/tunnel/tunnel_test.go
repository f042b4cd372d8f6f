package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/agent/tunnel"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

// open runs a tunnel to server until the test ends and returns where the machine reaches its listener.
func open(t *testing.T, server *sshtest.Server, place string) (*tunnel.Tunnel, netip.AddrPort) {
	t.Helper()
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(free.Addr().String())
	_ = free.Close()
	tun := tunnel.New(server.SSH(), at, place, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		tun.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if _, err := tun.Listener().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after the end: got %v, want %v", err, net.ErrClosed)
		}
	})
	return tun, at
}

// ask connects to at, until something listens there, and returns all that it says.
func ask(t *testing.T, at netip.AddrPort) string {
	t.Helper()
	for t.Context().Err() == nil {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.String())
		if err != nil {
			continue
		}
		text, err := io.ReadAll(conn)
		_ = conn.Close()
		if err == nil && len(text) > 0 {
			return string(text)
		}
	}
	return ""
}

func TestSurvivesTheLossOfTheConnection(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	tun, at := open(t, server, filepath.Join(t.TempDir(), "run/tunnel"))
	go func() {
		for n := 1; ; n++ {
			conn, err := tun.Listener().Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, "answer")
			_ = conn.Close()
		}
	}()
	for range 3 {
		if got := ask(t, at); got != "answer" {
			t.Errorf("got %q from the listener, want %q", got, "answer")
		}
		if !tun.Connected() {
			t.Error("Connected: got false, want true")
		}
		server.Disconnect()
	}
	// The other direction needs no waiting: a dial makes the connection anew.
	echo, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		if conn, err := echo.Accept(); err == nil {
			_, _ = io.WriteString(conn, "pong")
			_ = conn.Close()
		}
	}()
	conn, err := tun.DialContext(t.Context(), netip.MustParseAddrPort(echo.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "pong" {
		t.Errorf("got %q (%v), want %q", got, err, "pong")
	}
}

// A server process that has not noticed the loss would hold the port.
func TestEndsTheServerProcessOfBefore(t *testing.T) {
	t.Parallel()
	began := func(pid int) string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Skip("this system has no /proc")
		}
		return strings.Fields(string(stat))[21]
	}
	for name, test := range map[string]struct {
		time func(pid int) string
		ends bool
	}{
		"noted":                 {began, true},
		"another of its number": {func(int) string { return "1" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := exec.CommandContext(t.Context(), "sleep", "600")
			if err := left.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- left.Wait() }()
			place := filepath.Join(t.TempDir(), "tunnel")
			if err := os.WriteFile(place, fmt.Appendf(nil, "%d %s\n", left.Process.Pid, test.time(left.Process.Pid)), 0o600); err != nil {
				t.Fatal(err)
			}
			tun, at := open(t, sshtest.Start(t, nil), place)
			go func() {
				if conn, err := tun.Listener().Accept(); err == nil {
					_, _ = io.WriteString(conn, "up")
					_ = conn.Close()
				}
			}()
			ask(t, at)
			select {
			case <-ended:
				if !test.ends {
					t.Error("a process that was not noted has ended")
				}
			default:
				if test.ends {
					<-ended // the signal is on its way; a test that hangs here has failed
				} else {
					_ = left.Process.Kill()
					<-ended
				}
			}
		})
	}
}

func TestCarriesNoDatagrams(t *testing.T) {
	t.Parallel()
	tun, _ := open(t, sshtest.Start(t, nil), filepath.Join(t.TempDir(), "tunnel"))
	if _, err := tun.ForwardUDP(netip.AddrPort{}, netip.AddrPort{}); !errors.Is(err, tunnel.ErrUDP) {
		t.Errorf("got %v, want %v", err, tunnel.ErrUDP)
	}
}
