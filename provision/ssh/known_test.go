package ssh_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

func TestFindHostKey(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	address := server.SSH().Address
	other, err := ssh.GenerateIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	line := func(authorized []byte) string {
		key, _, _, _, err := xssh.ParseAuthorizedKey(authorized)
		if err != nil {
			t.Fatal(err)
		}
		return knownhosts.Line([]string{address.String()}, key) + "\n"
	}
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absent := filepath.Join(t.TempDir(), "none")

	key, err := ssh.FindHostKey(t.Context(), address, []string{absent, file(line(server.Identity.HostPublicKey))})
	if want := strings.TrimSuffix(string(server.Identity.HostPublicKey), " sshtest\n"); err != nil || strings.TrimSpace(string(key)) != want {
		t.Errorf("known: got %q (%v), want %q", key, err, want)
	}

	_, err = ssh.FindHostKey(t.Context(), address, []string{absent, file("")})
	var unknown *ssh.UnknownHostKeyError
	if !errors.As(err, &unknown) || unknown.Kind != "ssh-ed25519" || !strings.HasPrefix(unknown.Fingerprint, "SHA256:") {
		t.Fatalf("unknown: got %v, want an UnknownHostKeyError with the key", err)
	}
	if _, err := ssh.FindHostKey(t.Context(), address, []string{file(unknown.Line + "\n")}); err != nil {
		t.Errorf("after the line that the error has was added: %v", err)
	}

	_, err = ssh.FindHostKey(t.Context(), address, []string{file(line(other.HostPublicKey))})
	var changed *ssh.HostKeyError
	if !errors.As(err, &changed) || changed.Got != unknown.Fingerprint || changed.File == "" {
		t.Errorf("changed: got %v, want a HostKeyError with the key and the file", err)
	}

	_, err = ssh.FindHostKey(t.Context(), address, []string{file("@revoked " + unknown.Line + "\n")})
	if !errors.As(err, &changed) {
		t.Errorf("revoked: got %v, want a HostKeyError", err)
	}

	if _, err := ssh.FindHostKey(t.Context(), closedPort(t), nil); !ssh.Lost(err) {
		t.Errorf("nothing there: got %v, want a DialError", err)
	}
	if lines := server.Lines(); len(lines) != 0 {
		t.Errorf("commands were run: %q", lines)
	}
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func TestErrorsOfTheConnection(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	run := func(target machine.SSH) error {
		runner := ssh.New(target)
		defer runner.Close()
		_, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"true"}})
		return err
	}
	stranger, err := ssh.GenerateIdentity("stranger")
	if err != nil {
		t.Fatal(err)
	}
	target := server.SSH()
	target.PrivateKey = stranger.UserKey
	var login *ssh.LoginError
	if err := run(target); !errors.As(err, &login) || login.User != "root" || ssh.Lost(err) {
		t.Errorf("with a key that the server does not know: got %v, want a LoginError", err)
	}
	target = server.SSH()
	target.Address = closedPort(t)
	if err := run(target); !ssh.Lost(err) || errors.As(err, &login) {
		t.Errorf("where nothing listens: got %v, want a DialError", err)
	}
	// Something that accepts and hangs up.
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	target.Address = netip.MustParseAddrPort(listener.Addr().String())
	if err := run(target); !ssh.Lost(err) {
		t.Errorf("where no SSH server answers: got %v, want a DialError", err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	runner := server.Runner(t)
	at := closedPort(t).String()
	listener, err := runner.Listen(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Runner(t).Listen(t.Context(), at); err == nil {
		t.Error("got a second listener on the same port")
	}
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "ping")
	_ = conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "ping" {
		t.Errorf("got %q (%v), want %q", got, err, "ping")
	}
	if !runner.Connected() {
		t.Error("Connected: got false, want true")
	}
	server.Disconnect()
	if _, err := listener.Accept(); err == nil {
		t.Error("got a connection from a listener whose SSH connection is lost")
	}
	for end := time.Now().Add(time.Minute); runner.Connected(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("Connected after the loss: got true for a minute, want false")
		}
	}
	again, err := runner.Listen(t.Context(), at)
	if err != nil {
		t.Fatalf("after the loss: %v", err)
	}
	_ = again.Close()
}
