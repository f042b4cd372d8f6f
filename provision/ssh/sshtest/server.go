// Package sshtest is an SSH server inside the test's process. It runs commands with the host's own sh, or hands them to
// a function of the test.
package sshtest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// Command is one command that the client asked for.
type Command struct {
	Line           string // the command line; empty for a login shell
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       string // value of TERM, when the client asked for a terminal
	Size           ssh.Size
	Resize         <-chan ssh.Size // later sizes
}

// Handler runs one command and returns its exit status; -1 stands for "ended by a signal". ctx ends when the client
// closes the session or sends a signal.
type Handler func(ctx context.Context, cmd Command) int

// Server is a running server. Its fields and methods are safe for concurrent use.
type Server struct {
	Identity ssh.Identity
	address  netip.AddrPort
	config   *xssh.ServerConfig
	handler  Handler

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	lines    []string
}

// Start runs a server on a loopback port until the test ends. A nil handler means Shell.
func Start(t testing.TB, handler Handler) *Server {
	t.Helper()
	return StartAt(t, "127.0.0.1:0", handler)
}

// StartAt is Start at a given address.
func StartAt(t testing.TB, address string, handler Handler) *Server {
	t.Helper()
	identity, err := ssh.GenerateIdentity("sshtest")
	if err != nil {
		t.Fatal(err)
	}
	if handler == nil {
		handler = Shell
	}
	s := &Server{Identity: identity, handler: handler, conns: map[net.Conn]bool{}}
	s.config = serverConfig(t, identity)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = netip.MustParseAddrPort(listener.Addr().String())
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() { s.accept(ctx, listener, &running) })
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		s.Disconnect()
		running.Wait()
	})
	return s
}

func serverConfig(t testing.TB, identity ssh.Identity) *xssh.ServerConfig {
	t.Helper()
	hostKey, err := xssh.ParsePrivateKey(identity.HostKey)
	if err != nil {
		t.Fatal(err)
	}
	user, _, _, _, err := xssh.ParseAuthorizedKey(identity.UserPublicKey)
	if err != nil {
		t.Fatal(err)
	}
	config := &xssh.ServerConfig{
		PublicKeyCallback: func(_ xssh.ConnMetadata, key xssh.PublicKey) (*xssh.Permissions, error) {
			if string(key.Marshal()) != string(user.Marshal()) {
				return nil, errors.New("unknown user key")
			}
			return &xssh.Permissions{}, nil
		},
	}
	config.AddHostKey(hostKey)
	return config
}

// SSH says how a Runner reaches the server.
func (s *Server) SSH() machine.SSH {
	return machine.SSH{
		Address: s.address, User: "root", PrivateKey: s.Identity.UserKey, HostKey: s.Identity.HostPublicKey,
	}
}

// Runner returns a new Runner for the server, closed when the test ends.
func (s *Server) Runner(t testing.TB) *ssh.Runner {
	r := ssh.New(s.SSH())
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Disconnect ends all connections, as a lost network does.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Accepted returns how many connections have been accepted so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Lines returns the command lines so far, in the order of arrival.
func (s *Server) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// Shell is the Handler that runs the command line with the host's sh. As OpenSSH does it leaves the command running when
// the session is closed.
func Shell(_ context.Context, cmd Command) int {
	c := exec.Command("sh", "-c", cmd.Line) //nolint:noctx // see above
	c.Stdin, c.Stdout, c.Stderr = nil, cmd.Stdout, cmd.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := c.StdinPipe() // with c.Stdin, Wait would wait for the client's end of file
	if err != nil {
		return 127
	}
	if err := c.Start(); err != nil {
		return 127
	}
	go func() {
		_, _ = io.Copy(stdin, cmd.Stdin)
		_ = stdin.Close()
	}()
	_ = c.Wait()
	return c.ProcessState.ExitCode()
}

func (s *Server) accept(ctx context.Context, listener net.Listener, running *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.accepted++
		s.mu.Unlock()
		running.Go(func() {
			s.serve(ctx, conn, running)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(ctx context.Context, conn net.Conn, running *sync.WaitGroup) {
	defer conn.Close()
	client, channels, requests, err := xssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	running.Go(func() { serveRequests(ctx, client, requests) })
	for incoming := range channels {
		switch incoming.ChannelType() {
		case "session":
			channel, requests, err := incoming.Accept()
			if err != nil {
				return
			}
			go s.session(ctx, channel, requests)
		case "direct-tcpip":
			go forward(ctx, incoming)
		default:
			_ = incoming.Reject(xssh.UnknownChannelType, "no such channel")
		}
	}
}

// forward serves a direct-tcpip channel (RFC 4254, section 7.2).
func forward(ctx context.Context, incoming xssh.NewChannel) {
	var target struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := xssh.Unmarshal(incoming.ExtraData(), &target); err != nil {
		_ = incoming.Reject(xssh.ConnectionFailed, err.Error())
		return
	}
	address := net.JoinHostPort(target.Host, portText(target.Port))
	remote, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		_ = incoming.Reject(xssh.ConnectionFailed, err.Error())
		return
	}
	defer remote.Close()
	channel, requests, err := incoming.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	go xssh.DiscardRequests(requests)
	go func() {
		_, _ = io.Copy(remote, channel)
		if tcp, ok := remote.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	_, _ = io.Copy(channel, remote)
}

// trimMark takes the Runner's mark off a command line.
func trimMark(line string) string {
	if strings.HasPrefix(line, "export SKIFF_RUN=") {
		_, line, _ = strings.Cut(line, "; exec ")
	}
	return line
}
