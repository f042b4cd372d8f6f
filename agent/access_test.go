package agent_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/agent/network/networktest"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// service answers each connection to a port of this host's 127.0.0.1 with "host".
func service(t *testing.T) (port uint16) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	networktest.Answer(t, listener, "host")
	return netip.MustParseAddrPort(listener.Addr().String()).Port()
}

// reaches reports whether the guest gets the answer of a service.
func reaches(t *testing.T, guest *networktest.Guest, port uint16) bool {
	t.Helper()
	conn, err := guest.DialContextTCP(t.Context(), net.JoinHostPort(network.Host, strconv.Itoa(int(port))))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	text, _ := io.ReadAll(conn)
	return string(text) == "host"
}

// What the guest reaches of this host is as the agent was started, and as it was told last.
func TestHostAccessOfARunningAgent(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.225.1")
	first, second := service(t), service(t)
	c.HostAccess = network.Access{Ports: []uint16{first}}
	client := spawn(t, c)
	guest := networktest.Join(t, c.NetworkSocket)
	check := func(what string, access network.Access, firstOpen, secondOpen bool) {
		t.Helper()
		if got := status(t, client).HostAccess; got.All != access.All || !slices.Equal(got.Ports, access.Ports) {
			t.Errorf("%s: status says %+v, want %+v", what, got, access)
		}
		if got1, got2 := reaches(t, guest, first), reaches(t, guest, second); got1 != firstOpen || got2 != secondOpen {
			t.Errorf("%s: the guest reaches the first service: %t, the second: %t; want %t and %t", what, got1, got2, firstOpen, secondOpen)
		}
	}
	for !reaches(t, guest, first) { // the guest needs a moment to join
		if t.Context().Err() != nil {
			t.Fatal("the guest does not reach the service that the agent was started with")
		}
	}
	check("at first", c.HostAccess, true, false)
	for _, access := range []network.Access{{Ports: []uint16{second}}, {All: true}, {}} {
		if err := client.HostAccess(t.Context(), access); err != nil {
			t.Fatal(err)
		}
		check("later", access, access.All, access.All || len(access.Ports) > 0)
	}
}

// A machine that is reached over SSH is in no network of the agent.
func TestHostAccessOverSSH(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.224.1")
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, identity.UserKey, 0o600); err != nil {
		t.Fatal(err)
	}
	c.SSH = &agent.SSH{Address: netip.MustParseAddrPort("127.77.224.9:22"), User: "root", KeyFile: key, Mirror: netip.MustParseAddrPort("127.0.0.1:5000")}
	client := spawn(t, c)
	if err := client.HostAccess(t.Context(), network.Access{}); err != nil {
		t.Errorf("none: got %v, want nil", err)
	}
	if err := client.HostAccess(t.Context(), network.Access{All: true}); err == nil {
		t.Error("all: got nil, want an error")
	}
}

func TestInsecureRegistriesOfARunningAgent(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.222.1")
	c.Insecure = []string{"first.lan"}
	client := spawn(t, c)
	if got := status(t, client).InsecureRegistries; !slices.Equal(got, c.Insecure) {
		t.Errorf("at first status says %q, want %q", got, c.Insecure)
	}
	for _, want := range [][]string{{"second.lan:5000", "10.1.0.0/16"}, nil} {
		if err := client.InsecureRegistries(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got := status(t, client).InsecureRegistries; !slices.Equal(got, want) {
			t.Errorf("status says %q, want %q", got, want)
		}
	}
}
