package seed

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
)

// dnsLabel is what a host name may be (RFC 1123, section 2.1). Everything else that goes into the script is an address,
// which cannot hold anything that a shell reads otherwise, or is quoted.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// mtu is that of the virtual network: gvisor-tap-vsock's default, see its types.Configuration.
const mtu = 4000

// Script returns the script that the machine runs at each boot: it sets the host name, the network card and the SSH keys,
// whatever was there before. It starts few processes, as each takes long under emulation.
func Script(spec machine.Spec) ([]byte, error) {
	keys, err := parseKeys(spec.Identity)
	problems := []error{err}
	if !dnsLabel.MatchString(spec.Name) {
		problems = append(problems, fmt.Errorf("host name %q is not an RFC 1123 label", spec.Name))
	}
	if !dnsLabel.MatchString(spec.Cluster) {
		problems = append(problems, fmt.Errorf("cluster name %q is not an RFC 1123 label", spec.Cluster))
	}
	if network := spec.Network; !network.Address.IsValid() || !network.Gateway.IsValid() || network.Gateway.Zone() != "" {
		problems = append(problems, fmt.Errorf("address %s and gateway %s are not both addresses", network.Address, network.Gateway))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	var s strings.Builder
	s.WriteString("#!/bin/sh\n# Made by skiff for machine " + spec.Name + " of cluster " + spec.Cluster + "; runs at each boot. Changes are lost.\nset -eu\numask 022\n")
	hostName(&s, spec)
	network(&s, spec.Network)
	joined(&s, spec.Network.Joined)
	sshKeys(&s, keys)
	return []byte(s.String()), nil
}

func hostName(s *strings.Builder, spec machine.Spec) {
	write(s, "/proc/sys/kernel/hostname", spec.Name)
	write(s, "/etc/hostname", spec.Name)
	write(s, "/etc/hosts",
		"127.0.0.1 localhost",
		"::1 localhost ip6-localhost ip6-loopback",
		spec.Network.Address.Addr().String()+" "+spec.Name) // other names are the business of the network's DNS server
}

// network needs one process: ip reads all of its commands from a here-document, which the shell feeds it.
func network(s *strings.Builder, n machine.Network) {
	fmt.Fprintf(s, `ip -batch - <<'END'
link set dev eth0 mtu %d up
address replace %s dev eth0
route replace default via %s dev eth0
END
`, mtu, n.Address, n.Gateway)
	s.WriteString("if [ -L /etc/resolv.conf ]; then rm -f /etc/resolv.conf; fi\n")
	write(s, "/etc/resolv.conf", "nameserver "+n.Gateway.String())
}

// joined sets up a second card. The network behind it knows no pods, so they go there under the machine's address.
func joined(s *strings.Builder, address netip.Prefix) {
	if !address.IsValid() {
		return
	}
	fmt.Fprintf(s, `ip -batch - <<'END'
link set dev eth1 up
address replace %s dev eth1
END
nft -f - <<'END'
table ip skiff_joined {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr != %s oifname "eth1" masquerade
	}
}
END
`, address, address.Addr())
}

func sshKeys(s *strings.Builder, k keys) {
	s.WriteString("umask 077\n[ -d /root/.ssh ] || mkdir -p /root/.ssh\n")
	write(s, "/etc/ssh/ssh_host_ed25519_key", strings.Split(strings.TrimRight(k.host, "\n"), "\n")...)
	write(s, "/etc/ssh/ssh_host_ed25519_key.pub", k.hostPublic)
	write(s, "/root/.ssh/authorized_keys", k.authorized)
	// The umask does not reach files that were there already.
	s.WriteString("chmod 0600 /etc/ssh/ssh_host_ed25519_key /root/.ssh/authorized_keys\n")
}

// write adds a command that writes the lines to a file; printf is part of the shell, so it starts no process.
func write(s *strings.Builder, path string, lines ...string) {
	s.WriteString(`printf '%s\n'`)
	for _, line := range lines {
		s.WriteString(" \\\n  " + machine.Quote(line))
	}
	s.WriteString(" > " + path + "\n")
}

// keys are the keys of a machine in their canonical form, one line each but for the private one.
type keys struct{ host, hostPublic, authorized string }

// parseKeys reads the keys and writes them anew, so that nothing but a key gets through: no options, no second line.
func parseKeys(id machine.Identity) (keys, error) {
	host, err := ssh.ParsePrivateKey(id.HostKey)
	if err != nil {
		return keys{}, fmt.Errorf("read the SSH host key: %w", err)
	}
	if kind := host.PublicKey().Type(); kind != ssh.KeyAlgoED25519 {
		return keys{}, fmt.Errorf("the SSH host key is of type %s, not %s", kind, ssh.KeyAlgoED25519)
	}
	user, _, options, rest, err := ssh.ParseAuthorizedKey(id.AuthorizedKey)
	switch {
	case err != nil:
		return keys{}, fmt.Errorf("read the user's SSH key: %w", err)
	case len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0:
		return keys{}, errors.New("the user's SSH key is more than one key without options")
	}
	line := func(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }
	block, _ := pem.Decode(id.HostKey) // the parser above has found it
	return keys{host: string(pem.EncodeToMemory(block)), hostPublic: line(host.PublicKey()), authorized: line(user)}, nil
}
