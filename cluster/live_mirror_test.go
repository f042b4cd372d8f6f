package cluster

import (
	"net/netip"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/store"
)

// A machine is told to ask the mirror over TLS once the agent that answers knows how: one that an older skiff has started
// answers as before, until the next start brings another.
func TestTheMirrorOfTheAgentThatRuns(t *testing.T) {
	t.Parallel()
	files := store.Home{State: t.TempDir(), Run: t.TempDir()}.Cluster("dev")
	target := Target{Config: config.Cluster{Profile: "dev", Address: netip.MustParseAddr("127.77.3.1")}, Files: files}
	running := agent.Config{
		Profile: "dev", Address: target.Config.Address, NetworkSocket: "/run/net.sock", APISocket: "/run/agent.sock",
		Guest: guestAddress.Addr(), GuestMAC: guestMAC,
	}
	check := func(what, want string) {
		t.Helper()
		if err := store.Folder(files.Dir); err != nil {
			t.Fatal(err)
		}
		if err := running.Save(files.AgentConfig()); err != nil {
			t.Fatal(err)
		}
		got, err := LiveKubernetes{}.config(target)
		if err != nil || got.Mirror.String() != want {
			t.Errorf("%s: got %s (%v), want %s", what, got.Mirror, err, want)
		}
	}
	check("an agent of an older skiff", netip.AddrPort{}.String())
	running.MirrorTLS = &agent.MirrorTLS{}
	check("this skiff's agent", "192.168.127.1:5000")
	running.SSH = &agent.SSH{Address: netip.MustParseAddrPort("192.0.2.7:22"), Mirror: mirrorThere()}
	check("over SSH", "127.0.0.1:5000")
}
