package provision

import (
	"fmt"
	"net/netip"
	"path/filepath"
)

// hostsFile is containerd's file of where it asks for images (containerd, docs/hosts.md). It is read at each pull.
const hostsFile = "hosts.toml"

// hosts names the mirror, which every registry is asked for first; what it does not have comes from the registry itself.
// The client's certificate tells the mirror the node's containerd from any pod.
func hosts(mirror netip.AddrPort) []byte {
	return fmt.Appendf(nil, `[host."https://%s"]
  capabilities = ["pull", "resolve"]
  ca = "%s/ca.crt"
  client = [["%[2]s/%[3]s.crt", "%[2]s/%[3]s.key"]]
`, mirror, pkiDir, mirrorClient)
}

// MirrorFiles are the files of the cluster's folder of keys, dir, that the mirror needs: its certificate, its key, and the
// certificate of the only client that it answers.
func MirrorFiles(dir string) (certificate, key, client string) {
	server := filepath.Join(dir, filepath.FromSlash(mirrorServer))
	return server + ".crt", server + ".key", filepath.Join(dir, filepath.FromSlash(mirrorClient)) + ".crt"
}
