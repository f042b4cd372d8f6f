package cluster

import (
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/store"
)

// The virtual network of every cluster; see package agent.
var (
	guestAddress = netip.MustParsePrefix("192.168.127.2/24") //nolint:gochecknoglobals // a constant of a type that has none
	gateway      = netip.MustParseAddr("192.168.127.1")      //nolint:gochecknoglobals // the same
)

// spec describes the machine of a cluster. Keys are left out when they are not there yet, as is the command line of an
// image that is not installed: such a spec is good for asking and deleting, not for creating. So is the one that comes with
// fail.StateCorrupt, fail.ChecksumMismatch or fail.StateNewer, for damaged keys and an image that is damaged or not known.
func (m *Manager) spec(c config.Cluster) (machine.Spec, error) {
	files := m.Home.Cluster(c.Profile)
	own := files.Node(node)
	base := m.Home.BaseImage(c.Image)
	manifest, damage := images.ReadManifest(base)
	if missing(damage) {
		damage = nil
	}
	spec := machine.Spec{
		Cluster: c.Profile, Name: node, Dir: own.Dir, RunDir: own.Run,
		CPUs: c.CPUs, MemoryMiB: c.MemoryMiB, DiskBytes: c.DiskBytes,
		Image:   imageIn(base, c.Image, manifest),
		Network: machine.Network{Socket: files.NetworkSocket(), MAC: guestMAC, Address: guestAddress, Gateway: gateway, Joined: c.NetworkAddress},
		SSH:     machine.SSH{Address: netip.AddrPortFrom(c.Address, sshPort), User: sshUser},
	}
	spec.Image.Boots = filepath.Join(m.Built, images.BootsName) // with the image that was built: who installs it has no use for more
	if err := cmp.Or(damage, identify(&spec, own)); err != nil || c.SSH == nil {
		return spec, err
	}
	return spec, adopted(&spec, c)
}

// imageIn names the files of an image in a folder.
func imageIn(dir, digest string, manifest images.Manifest) machine.Image {
	return machine.Image{
		Digest:  digest,
		Disk:    filepath.Join(dir, images.DiskName),
		Kernel:  filepath.Join(dir, images.KernelName),
		Initrd:  filepath.Join(dir, images.InitrdName),
		Cmdline: manifest.Cmdline, Emulator: manifest.Emulator(dir),
	}
}

// Nameless describes what all machines of that size (MiB) have in common that new clusters get of the image in dir: boots are
// saved for such.
func Nameless(dir string, manifest images.Manifest, cpus, memoryMiB int) machine.Spec {
	spec := machine.Spec{
		CPUs: cpus, MemoryMiB: memoryMiB, DiskBytes: config.MinDiskBytes,
		Image:   imageIn(dir, manifest.Digest, manifest),
		Network: machine.Network{MAC: guestMAC},
	}
	spec.Image.Boots = filepath.Join(dir, images.BootsName)
	return spec
}

// identify fills in the keys that lie in the node's folder. Those that are no keys give fail.StateCorrupt.
func identify(spec *machine.Spec, own store.Node) error {
	host, err := readKey(own.HostKey())
	if err != nil || host == nil {
		return err
	}
	user, err := readKey(own.UserKey())
	if err == nil && user == nil {
		err = fs.ErrNotExist // it is made before the host's
	}
	if err != nil {
		return corruptKey(spec.Cluster, own.UserKey(), err)
	}
	if spec.SSH.HostKey, err = ssh.PublicKey(host, "skiff"); err != nil {
		return corruptKey(spec.Cluster, own.HostKey(), err)
	}
	if spec.Identity.AuthorizedKey, err = ssh.PublicKey(user, "skiff"); err != nil {
		return corruptKey(spec.Cluster, own.UserKey(), err)
	}
	spec.Identity.HostKey, spec.SSH.PrivateKey = host, user
	return nil
}

// corruptKey is the error of a key without which nobody gets into the cluster's machine.
func corruptKey(profile, path string, err error) error {
	return fail.New(fail.StateCorrupt, "use cluster "+profile, "the key in %s cannot be used: %w", path, err).
		WithHint("Put the key back from a copy, or remove the cluster: without the key nobody gets into its machine.").
		WithNext("skiff delete -p %s", profile)
}

// keyless gives fail.StateCorrupt when a machine that was made has lost its keys. A new machine has none yet.
func (m *Manager) keyless(c config.Cluster, spec machine.Spec, state machine.State) error {
	if c.SSH != nil || !c.Provisioned || state == machine.Absent || len(spec.SSH.PrivateKey) > 0 {
		return nil
	}
	return corruptKey(c.Profile, m.Home.Cluster(c.Profile).Node(node).HostKey(), fs.ErrNotExist)
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
	certificate, key, client := provision.MirrorFiles(files.PKI())
	config := agent.Config{
		Skiff:         m.Version,
		Profile:       c.Profile,
		Address:       c.Address,
		NetworkSocket: files.NetworkSocket(),
		APISocket:     files.AgentSocket(),
		LogFile:       files.AgentLog(),
		Guest:         guestAddress.Addr(),
		GuestMAC:      guestMAC,
		Joined:        joinedAddress(c),
		Mirror:        filepath.Join(m.Home.BaseImage(c.Image), images.MirrorName),
		MirrorTLS:     &agent.MirrorTLS{Certificate: certificate, Key: key, Client: client},
		Cache:         m.Home.MirrorCache(),
		Offline:       c.Offline,
		AutoPause:     c.AutoPause.Duration(),
		HostAccess:    network.Access(c.HostAccess),
		Insecure:      c.InsecureRegistries,
		Ports: []agent.Port{
			{Name: "ssh", Host: sshPort, Guest: 22},
			{Name: "apiserver", Host: apiPort, Guest: apiPort},
		},
	}
	if vm, err := m.part(c); err == nil { // of a machine that is unknown nothing is bounded
		if appender, ok := vm.(drivers.Appender); ok {
			config.Console = appender.ConsoleLog()
		}
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
