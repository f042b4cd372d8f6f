package cluster

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/store"
)

// The virtual network of every cluster; see package agent.
var (
	guestAddress = netip.MustParsePrefix("192.168.127.2/24") //nolint:gochecknoglobals // a constant of a type that has none
	gateway      = netip.MustParseAddr("192.168.127.1")      //nolint:gochecknoglobals // the same
)

// spec describes the machine of a cluster. Keys are left out when they are not there yet, as is the command line of an
// image that is not installed: such a spec is good for asking and deleting, not for creating.
func (m *Manager) spec(c config.Cluster) (machine.Spec, error) {
	files := m.Home.Cluster(c.Profile)
	own := files.Node(node)
	base := m.Home.BaseImage(c.Image)
	manifest, err := images.ReadManifest(base)
	if err != nil && !missing(err) {
		return machine.Spec{}, err
	}
	spec := machine.Spec{
		Cluster: c.Profile, Name: node, Dir: own.Dir, RunDir: own.Run,
		CPUs: c.CPUs, MemoryMiB: c.MemoryMiB, DiskBytes: c.DiskBytes,
		Image: machine.Image{
			Digest:  c.Image,
			Disk:    filepath.Join(base, images.DiskName),
			Kernel:  filepath.Join(base, images.KernelName),
			Initrd:  filepath.Join(base, images.InitrdName),
			Cmdline: manifest.Cmdline,
		},
		Network: machine.Network{Socket: files.NetworkSocket(), MAC: guestMAC, Address: guestAddress, Gateway: gateway, Joined: c.NetworkAddress},
		SSH:     machine.SSH{Address: netip.AddrPortFrom(c.Address, sshPort), User: sshUser},
	}
	if err := identify(&spec, own); err != nil || c.SSH == nil {
		return spec, err
	}
	return spec, adopted(&spec, c)
}

// identify fills in the keys that lie in the node's folder.
func identify(spec *machine.Spec, own store.Node) error {
	host, err := readKey(own.HostKey())
	if err != nil || host == nil {
		return err
	}
	user, err := readKey(own.UserKey())
	if err != nil || user == nil {
		return err
	}
	if spec.SSH.HostKey, err = ssh.PublicKey(host, "skiff"); err != nil {
		return err
	}
	if spec.Identity.AuthorizedKey, err = ssh.PublicKey(user, "skiff"); err != nil {
		return err
	}
	spec.Identity.HostKey, spec.SSH.PrivateKey = host, user
	return nil
}

// readKey returns nil when there is no such file.
func readKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return key, err
}

// agentConfig is what the cluster's agent is started with.
func (m *Manager) agentConfig(c config.Cluster) agent.Config {
	files := m.Home.Cluster(c.Profile)
	config := agent.Config{
		Profile:       c.Profile,
		Address:       c.Address,
		NetworkSocket: files.NetworkSocket(),
		APISocket:     files.AgentSocket(),
		LogFile:       files.AgentLog(),
		Guest:         guestAddress.Addr(),
		GuestMAC:      guestMAC,
		Joined:        joinedAddress(c),
		Mirror:        filepath.Join(m.Home.BaseImage(c.Image), images.MirrorName),
		Cache:         m.Home.MirrorCache(),
		Offline:       c.Offline,
		AutoPause:     c.AutoPause.Duration(),
		Ports: []agent.Port{
			{Name: "ssh", Host: sshPort, Guest: 22},
			{Name: "apiserver", Host: apiPort, Guest: apiPort},
		},
	}
	if c.SSH != nil {
		agentSSH(&config, c)
	}
	return config
}

// joinedAddress is the address in the network that the machine joined; the zero Addr when it joined none.
func joinedAddress(c config.Cluster) (none netip.Addr) {
	if !c.NetworkAddress.IsValid() {
		return none
	}
	return c.NetworkAddress.Addr()
}
