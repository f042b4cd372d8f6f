package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/agent/tunnel"
	"github.com/skiff-k8s/skiff/machine"
)

// link is how the agent reaches the machine, and the machine the agent: a virtual network, or an SSH connection.
type link interface {
	publish.Network
	// Connected reports whether the machine is there. It says nothing of what runs on it.
	Connected() bool
	// open keeps the link up until ctx ends, and returns where the machine asks for images.
	open(ctx context.Context, group *errgroup.Group) (net.Listener, error)
}

// newLink makes the link that the configuration asks for; nothing is connected yet.
func newLink(c Config, log *slog.Logger) (link, error) {
	if c.SSH == nil {
		virtual, err := network.New(c.Guest, c.GuestMAC, c.HostAccess, log)
		return virtualLink{virtual, c.NetworkSocket}, err
	}
	key, err := os.ReadFile(c.SSH.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the SSH key: %w", err)
	}
	target := machine.SSH{Address: c.SSH.Address, User: c.SSH.User, PrivateKey: key, HostKey: []byte(c.SSH.HostKey)}
	return sshLink{tunnel.New(target, c.SSH.Mirror, c.SSH.Place, log)}, nil
}

// dialTimeout is how long a guest may take to accept a connection.
const dialTimeout = 15 * time.Second

type virtualLink struct {
	*network.Network
	socket string
}

var _ link = virtualLink{}

// DialContext gives up a guest that does not answer within dialTimeout.
func (v virtualLink) DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return v.Network.DialContext(ctx, address)
}

func (v virtualLink) open(ctx context.Context, group *errgroup.Group) (net.Listener, error) {
	machines, err := listen(v.socket)
	if err != nil {
		return nil, fmt.Errorf("listen for the machine: %w", err)
	}
	group.Go(func() error { return v.Serve(ctx, machines) })
	return v.Listen(mirrorPort)
}

type sshLink struct{ *tunnel.Tunnel }

var _ link = sshLink{}

// DialContext gives up a machine that does not answer within dialTimeout.
func (s sshLink) DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return s.Tunnel.DialContext(ctx, address)
}

func (s sshLink) open(ctx context.Context, group *errgroup.Group) (net.Listener, error) {
	group.Go(func() error { s.Run(ctx); return nil })
	return s.Listener(), nil
}

// SSH is a machine that is reached over SSH rather than in a virtual network.
type SSH struct {
	Address netip.AddrPort `json:"address"`
	User    string         `json:"user"`
	KeyFile string         `json:"keyFile"` // private key, OpenSSH PEM
	HostKey string         `json:"hostKey"` // pinned; one authorized_keys line
	Mirror  netip.AddrPort `json:"mirror"`  // where the machine asks for images, on the machine itself; a loopback address
	Place   string         `json:"place"`   // file on the machine in which the connection is noted; see package tunnel
}

// validate names what is wrong with it.
func (s *SSH) validate() error {
	switch {
	case !s.Address.IsValid() || s.Address.Port() == 0:
		return fmt.Errorf("ssh.address: %q is not an address and a port", s.Address)
	case !s.Mirror.Addr().IsLoopback():
		return fmt.Errorf("ssh.mirror: %q is not a loopback address", s.Mirror)
	}
	return nil
}
