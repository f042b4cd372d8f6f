package provision

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The machine gets what containerd needs to ask the mirror, and not the mirror's own key. A cluster that has been made
// without gets it at its next start, as another fingerprint of the certificates says.
func TestTheMachineGetsTheMirrorsClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := NewConfig("dev", netip.MustParseAddr("127.77.0.1"))
	old, err := EnsurePKI(dir, config, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config.Mirror = netip.MustParseAddrPort("192.168.127.1:5000")
	pki, err := EnsurePKI(dir, config, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(pki.Renewed, " ") != "mirror/client mirror/server" || pki.Fingerprint() == old.Fingerprint() {
		t.Errorf("got %v made, and the fingerprint %s after %s; want the mirror's two and another one", pki.Renewed, pki.Fingerprint(), old.Fingerprint())
	}
	guest := map[string]string{}
	for _, file := range pki.Guest() {
		guest[file.Path] = string(file.Body)
	}
	const want = `[host."https://192.168.127.1:5000"]
  capabilities = ["pull", "resolve"]
  ca = "/etc/kubernetes/pki/ca.crt"
  client = [["/etc/kubernetes/pki/mirror/client.crt", "/etc/kubernetes/pki/mirror/client.key"]]
`
	if got := guest["/etc/containerd/certs.d/_default/hosts.toml"]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for path, there := range map[string]bool{
		"/etc/kubernetes/pki/mirror/client.crt": true, "/etc/kubernetes/pki/mirror/client.key": true,
		"/etc/kubernetes/pki/mirror/server.crt": false, "/etc/kubernetes/pki/mirror/server.key": false,
	} {
		if (guest[path] != "") != there {
			t.Errorf("%s: got %q, want it on the machine: %t", path, guest[path], there)
		}
	}
}
