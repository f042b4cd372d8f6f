package ssh

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/ext4"
)

// folders are those whose content is in the end as it was before: what skiff, the container runtime and Kubernetes make in
// them has no list. Arguments of scripts, separated by spaces.
const folders = "/etc/kubernetes /etc/containerd /etc/cni /etc/skiff /etc/systemd/system/kubelet.service.d /opt/cni /usr/libexec/kubernetes " +
	"/var/lib/containerd /var/lib/cni /var/lib/etcd /var/lib/kubelet /var/lib/kube-proxy /var/log/containers /var/log/pods"

// settings are the kernel settings that change, those of the guest image and those of the kubelet, below /proc/sys. The last
// two change with ip_forward (Linux, net/ipv4/devinet.c, inet_forward_change), so they come after it.
const settings = "fs/inotify/max_user_instances fs/inotify/max_user_watches kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic " +
	"kernel/panic_on_oops net/bridge/bridge-nf-call-ip6tables net/bridge/bridge-nf-call-iptables net/ipv4/conf/all/route_localnet " +
	"net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv6/conf/default/forwarding vm/max_map_count vm/overcommit_memory vm/panic_on_oom " +
	"net/ipv4/conf/all/accept_redirects net/ipv4/conf/default/accept_redirects"

// part is one file, or link, that is put on the machine.
type part struct {
	path   string // there
	mode   uint32 // permission bits
	digest string // SHA-256, hexadecimal; of a link its target
	size   int64
	link   string           // target; empty for a file
	open   func() io.Reader // nil for a link
}

// parts are all that is put on the machine, taken out of the guest image's disk.
type parts struct {
	list []part
	disk *ext4.FS
}

// openParts opens the disk of the guest image, whose manifest has the digests of its programs.
func openParts(disk string) (*parts, error) {
	manifest, err := images.ReadManifest(filepath.Dir(disk))
	if err != nil {
		return nil, err
	}
	p := &parts{}
	if p.disk, err = ext4.Open(disk); err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for _, component := range manifest.Components {
		digests[component.Name] = component.Digest
	}
	if err := errors.Join(p.programs(digests), p.texts()); err != nil {
		_ = p.disk.Close()
		return nil, fmt.Errorf("take parts out of the guest image %q: %w", disk, err)
	}
	return p, nil
}

func (p *parts) close() { _ = p.disk.Close() }

// programs adds what runs outside of containers.
func (p *parts) programs(digests map[string]string) error {
	const bin, cni = "/usr/local/bin/", "/opt/cni/bin/"
	for _, name := range []string{
		bin + "containerd", bin + "containerd-shim-runc-v2", bin + "ctr", bin + "runc", bin + "kube",
		cni + "bridge", cni + "host-local", cni + "loopback", cni + "portmap",
	} {
		digest := digests[path.Base(name)]
		if digest == "" {
			return fmt.Errorf("its manifest has no digest of %s", path.Base(name))
		}
		file, err := p.disk.Lookup(name)
		if err != nil {
			return err
		}
		open := func() io.Reader { return &checked{from: file.Reader(), want: digest, sum: sha256.New(), name: name} }
		p.list = append(p.list, part{path: name, mode: uint32(file.Mode.Perm()), digest: digest, size: file.Size, open: open})
	}
	for _, name := range []string{"kubeadm", "kubectl", "kubelet"} {
		file, err := p.disk.Lookup(bin + name)
		if err != nil {
			return err
		}
		target, err := file.Target()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p.list = append(p.list, part{path: bin + name, link: target, digest: "link:" + target})
	}
	return nil
}

// texts adds configuration. Some of it differs from the image's where a machine that exists differs from a guest.
func (p *parts) texts() error {
	for _, one := range []struct {
		name   string
		change func(string) (string, error)
	}{
		{"/etc/cni/net.d/10-skiff.conflist", nil},
		{"/etc/containerd/config.toml", nil},
		{"/etc/skiff/network.nft", anyCard},
		{"/etc/sysctl.d/90-skiff.conf", cautious},
		{"/etc/systemd/system/containerd.service", nil},
		{"/etc/systemd/system/kubelet.service", nil},
		{"/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", nil},
		{"/etc/systemd/system/skiff-network.service", nil},
	} {
		file, err := p.disk.Lookup(one.name)
		if err != nil {
			return err
		}
		content, err := io.ReadAll(file.Reader())
		if err != nil {
			return err
		}
		if one.change != nil {
			changed, err := one.change(string(content))
			if err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			content = []byte(changed)
		}
		p.add(one.name, content)
	}
	// The guest has them by other ways: its initrd, and a kernel that has them built in.
	p.add("/etc/modules-load.d/skiff.conf", []byte("br_netfilter\noverlay\n"))
	return nil
}

func (p *parts) add(name string, content []byte) {
	sum := sha256.Sum256(content)
	p.list = append(p.list, part{
		path: name, mode: 0o644, digest: hex.EncodeToString(sum[:]), size: int64(len(content)), open: func() io.Reader { return bytes.NewReader(content) },
	})
}

// anyCard lets pods out by whatever card the machine has. In the guest it is always the same.
func anyCard(rules string) (string, error) {
	const guest = `oifname "eth0"`
	if !strings.Contains(rules, guest) {
		return "", errors.New("no card is found in it")
	}
	return strings.ReplaceAll(rules, guest, `oifname != "cni0"`), nil
}

// cautious leaves out what is at the cost of others: a guest may lose seconds of writes when its host fails, and keep little
// memory free; a machine that does other work too must not.
func cautious(settings string) (string, error) {
	var kept []string
	for line := range strings.Lines(settings) {
		if !strings.HasPrefix(line, "vm.dirty_") && !strings.HasPrefix(line, "vm.min_free_kbytes") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, ""), nil
}

// checked is a reader that fails at the end when what was read has not the digest that it should have.
type checked struct {
	from io.Reader
	sum  hash.Hash
	want string
	name string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want {
			return n, fmt.Errorf("%s in the guest image has the digest %s, its manifest says %s", c.name, got, c.want)
		}
	}
	return n, err
}

// args are those of put.sh.
func (p part) args() []string {
	mode := strconv.FormatUint(uint64(p.mode), 8)
	if p.link != "" {
		mode = "link"
	}
	return []string{p.path, mode, p.digest, strconv.FormatInt(p.size, 10), p.link}
}
