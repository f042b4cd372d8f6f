// Package agent is the background process of one cluster on the host. It runs the virtual network that the machine joins,
// publishes ports of the guest and Services of Kubernetes on the cluster's loopback address, serves a registry mirror
// inside the network, and pauses a machine of which nobody asks anything. Other processes of skiff start it with Spawn and talk to it through a Client. Of Kubernetes it knows
// Services, and whether the API server answers; machines it leaves to drivers.
package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/store"
)

// Config is what an agent is started with. It stays as it is for the agent's life; what its Client can change begins so.
type Config struct {
	Skiff         string     `json:"skiff,omitempty"` // version that wrote the file
	Profile       string     `json:"profile"`
	Address       netip.Addr `json:"address"`           // the cluster's loopback address; nothing is published elsewhere
	NetworkSocket string     `json:"networkSocket"`     // unix socket on which the virtual network waits for the machine
	APISocket     string     `json:"apiSocket"`         // unix socket of the agent's own API; its lock lies next to it
	LogFile       string     `json:"logFile"`           // where Spawn sends the agent's output
	Console       string     `json:"console,omitempty"` // file to which the hypervisor appends what the machine says; the agent bounds it
	Guest         netip.Addr `json:"guest"`             // the machine's address inside the virtual network
	GuestMAC      string     `json:"guestMAC"`
	Joined        netip.Addr `json:"joined,omitzero"`  // the machine's in a network of the host, where Services answer too; may be none
	Mirror        string     `json:"mirror,omitempty"` // folder of an OCI image layout with the bundle's images; may be empty
	// MirrorTLS lets nobody but the node's containerd ask the mirror, which then uses the logins of the host's user. Without it
	// everyone in the network may ask, and no login is used.
	MirrorTLS *MirrorTLS `json:"mirrorTLS,omitempty"`
	Cache     string     `json:"cache,omitempty"` // folder of the mirror's cache, shared by all agents; empty: none
	Offline   bool       `json:"offline,omitempty"`
	// AutoPause is how long nobody asks anything of the machine before it is paused; 0: for ever. See Client.AutoPause.
	AutoPause time.Duration `json:"autoPause,omitempty"`
	// HostAccess is what the machine may reach of this host's 127.0.0.1; the zero Access is nothing. Not used with SSH. See
	// Client.HostAccess.
	HostAccess network.Access `json:"hostAccess,omitzero"`
	// Insecure are the registries that the mirror may ask without TLS; see Client.InsecureRegistries.
	Insecure []string `json:"insecureRegistries,omitempty"`
	SSH      *SSH     `json:"ssh,omitempty"` // instead of a virtual network; NetworkSocket and GuestMAC are not used then
	Ports    []Port   `json:"ports"`         // published as long as the agent runs; a taken one keeps it from starting
}

// Port is one TCP port of the guest that every cluster publishes.
type Port struct {
	Name  string `json:"name"`
	Host  uint16 `json:"host"` // on Config.Address
	Guest uint16 `json:"guest"`
}

// Published is one port as it stands.
type Published = publish.Published

// Load reads a file that Save wrote. A field that this version does not have gives an error that wraps *store.OtherError where
// another version wrote the file.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := store.ReadJSON(data, &c); err != nil {
		return Config{}, fmt.Errorf("read the agent's configuration %s: %w", path, err)
	}
	return c, c.validate()
}

// Save writes the configuration in one step, readable by its owner only.
func (c Config) Save(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o600)
}

// validate names all problems at once.
func (c Config) validate() error {
	var problems []error
	if !c.Address.IsLoopback() {
		problems = append(problems, fmt.Errorf("address: %q is not a loopback address", c.Address))
	}
	sockets := map[string]string{"apiSocket": c.APISocket}
	if c.SSH == nil {
		sockets["networkSocket"] = c.NetworkSocket
	}
	for name, path := range sockets {
		if !filepath.IsAbs(path) {
			problems = append(problems, fmt.Errorf("%s: %q is not an absolute path", name, path))
		}
	}
	if !c.Guest.Is4() {
		problems = append(problems, fmt.Errorf("guest: %q is not an IPv4 address", c.Guest))
	}
	if c.SSH != nil {
		problems = append(problems, c.SSH.validate())
	} else if _, err := net.ParseMAC(c.GuestMAC); err != nil {
		problems = append(problems, fmt.Errorf("guestMAC: %w", err))
	}
	if c.AutoPause < 0 {
		problems = append(problems, fmt.Errorf("autoPause: %s is less than nothing", c.AutoPause))
	}
	for i, port := range c.Ports {
		if port.Host == 0 || port.Guest == 0 {
			problems = append(problems, fmt.Errorf("ports[%d]: host and guest must be above 0", i))
		}
	}
	return errors.Join(problems...)
}
