package network_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/agent/network/networktest"
)

// hostService answers connections on a port of the host's 127.0.0.1 with "host".
func hostService(t *testing.T) uint16 {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	networktest.Answer(t, listener, "host")
	return netip.MustParseAddrPort(listener.Addr().String()).Port()
}

// reaches reports whether the guest gets the service's answer at that address.
func reaches(t *testing.T, guest *networktest.Guest, address string, port uint16) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := guest.DialContextTCP(ctx, net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	text, _ := io.ReadAll(conn)
	return string(text) == "host"
}

func TestTheHostsLoopbackIsReachedOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	n, socket := serve(t)
	guest := networktest.Join(t, socket)
	answer(t, guest, "80", "joined")
	read(t, n, "80")
	port, other := hostService(t), hostService(t)
	if reaches(t, guest, network.Host, port) {
		t.Error("by default the guest reaches a service of the host's 127.0.0.1")
	}
	n.SetAccess(network.Access{Ports: []uint16{port}})
	if !reaches(t, guest, network.Host, port) || reaches(t, guest, network.Host, other) {
		t.Error("with one port: want that one to be reached and no other")
	}
	n.SetAccess(network.Access{All: true})
	if !reaches(t, guest, network.Host, other) {
		t.Error("with all: the port is not reached")
	}
	n.SetAccess(network.Access{})
	if reaches(t, guest, network.Host, port) {
		t.Error("after it was taken back: the port is reached")
	}
}
