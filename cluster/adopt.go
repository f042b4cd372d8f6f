package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// tunnelPlace is the file on an adopted machine in which the agent's connection is noted; see package agent/tunnel.
const tunnelPlace = "/run/skiff-tunnel"

// mirrorThere is where an adopted machine asks for images: on itself, and the agent's connection leads on from there.
func mirrorThere() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:5000") }

// HostKeys finds out the SSH host key of a machine that is to be taken over, and whether it is to be trusted. The result
// is one authorized_keys line.
type HostKeys func(ctx context.Context, address netip.AddrPort) ([]byte, error)

// settleSSH decides which machine is taken over, from what is stored and what is wanted.
func settleSSH(c *config.Cluster, wanted *config.SSH, driver drivers.Driver) error {
	op := "use driver " + driver.Name()
	if _, adopts := driver.(drivers.Adopter); !adopts {
		if c.SSH != nil || wanted != nil {
			return fail.New(fail.FlagInvalid, op, "it makes its machines itself; --ssh-ip-address, --ssh-user, --ssh-key and --ssh-port are for --driver ssh").
				WithHint("Add --driver ssh to use a machine that exists, or leave these flags off.")
		}
		return nil
	}
	switch {
	case c.SSH == nil && (wanted == nil || !wanted.Address.IsValid()):
		return fail.New(fail.FlagInvalid, op, "it needs a machine that exists: --ssh-ip-address is missing").
			WithNext("skiff start -p %s --driver %s --ssh-ip-address ADDRESS --ssh-key FILE", c.Profile, driver.Name())
	case c.SSH == nil && wanted.KeyFile == "":
		return fail.New(fail.FlagInvalid, op, "--ssh-key is missing: the file of the private key that the machine lets in").
			WithNext("skiff start -p %s --driver %s --ssh-ip-address %s --ssh-key FILE", c.Profile, driver.Name(), wanted.Address.Addr())
	case c.SSH == nil:
		c.SSH = wanted
		return nil
	case wanted == nil:
		return nil
	}
	stored := *c.SSH
	if wanted.Address.IsValid() && (wanted.Address != stored.Address || wanted.User != stored.User) {
		return unchangeable(c.Profile, "ssh-ip-address", "its machine is %s@%s and cannot become %s@%s", stored.User, stored.Address, wanted.User, wanted.Address)
	}
	stored.KeyFile = cmp.Or(wanted.KeyFile, stored.KeyFile) // the same user may get another key
	c.SSH = &stored
	return nil
}

// sizeless refuses sizes for a machine that exists.
func sizeless(c config.Cluster, w Wanted) error {
	if c.SSH == nil || w.MemoryMiB == nil && w.CPUs == nil && w.DiskBytes == nil {
		return nil
	}
	return fail.New(fail.FlagInvalid, "read the size of the machine", "--memory, --cpus and --disk-size are for machines that skiff makes; this one is as large as it is").
		WithHint("Leave them off, on the command line as in the settings and the environment.")
}

// inspect looks at the machine of a new cluster that is to be taken over, before anything is made or changed anywhere.
func (m *Manager) inspect(ctx context.Context, c *config.Cluster) error {
	if c.SSH == nil {
		return nil
	}
	driver, err := m.driver(*c)
	if err != nil {
		return err
	}
	adopter, ok := driver.(drivers.Adopter)
	if !ok {
		return fmt.Errorf("driver %s takes no machines over", driver.Name())
	}
	if m.HostKeys == nil {
		return errors.New("nobody can say whether the machine's host key is to be trusted")
	}
	key, err := m.HostKeys(ctx, c.SSH.Address)
	if err != nil {
		return err
	}
	seen := *c.SSH
	seen.HostKey = string(key)
	c.SSH = &seen
	spec, err := m.spec(*c)
	if err != nil {
		return err
	}
	seen.Node, err = adopter.Inspect(ctx, spec)
	return err
}

// adopted changes the description of a machine to one that exists.
func adopted(spec *machine.Spec, c config.Cluster) error {
	key, err := os.ReadFile(c.SSH.KeyFile)
	if err != nil {
		return fail.New(fail.SSHLoginRefused, "use cluster "+c.Profile, "its SSH key cannot be read: %w", err).
			WithHint("Put the key back, or name another one that the machine lets in.").WithNext("skiff start -p %s --ssh-key FILE", c.Profile)
	}
	spec.SSH = machine.SSH{Address: c.SSH.Address, User: c.SSH.User, PrivateKey: key, HostKey: []byte(c.SSH.HostKey)}
	spec.Network = machine.Network{Mirror: mirrorThere()}
	if c.SSH.Node.IsValid() {
		spec.Network.Address = netip.PrefixFrom(c.SSH.Node, c.SSH.Node.BitLen())
	}
	return nil
}

// agentSSH changes the configuration of an agent to one that reaches its machine over SSH. The machine's SSH server is
// where the user named it, and needs not be published.
func agentSSH(a *agent.Config, c config.Cluster) {
	a.SSH = &agent.SSH{
		Address: c.SSH.Address, User: c.SSH.User, KeyFile: c.SSH.KeyFile, HostKey: c.SSH.HostKey, Mirror: mirrorThere(), Place: tunnelPlace,
	}
	a.Guest, a.GuestMAC, a.NetworkSocket = c.SSH.Node, "", ""
	a.Ports = []agent.Port{{Name: "apiserver", Host: apiPort, Guest: apiPort}}
}

// rekeyed reports whether another key is to be used from now on.
func (s *start) rekeyed() bool {
	return s.stored != nil && s.stored.SSH != nil && s.config.SSH != nil && s.stored.SSH.KeyFile != s.config.SSH.KeyFile
}

// rekey lets an agent go that has another key, and notes the new one.
func (s *start) rekey() Step {
	if s.config.SSH == nil {
		return Step{} // it has none
	}
	return Step{
		ID: "key", Text: "Use the SSH key " + s.config.SSH.KeyFile, Why: "another one was used until now",
		Do: func(ctx context.Context, _ Report) error {
			if err := s.Agents.Stop(ctx, s.files.AgentSocket(), s.files.AgentConfig()); err != nil {
				return wrap(fail.AgentFailed, err, "end the agent of cluster %s", s.config.Profile)
			}
			return s.save(s.config)
		},
	}
}

// words says what is done to a machine, which is another thing when it exists already.
type words struct{ create, boot, off string }

func wordsOf(c config.Cluster) words {
	if c.SSH == nil {
		return words{
			create: fmt.Sprintf("Create machine %s (%s, %d CPUs, %d MiB)", c.Profile, c.Driver, c.CPUs, c.MemoryMiB),
			boot:   "Boot machine " + c.Profile, off: "Power machine " + c.Profile + " off",
		}
	}
	place := c.SSH.User + "@" + c.SSH.Address.String()
	return words{
		create: fmt.Sprintf("Take over machine %s (%s)", place, c.Driver),
		boot:   "Equip machine " + place, off: "Stop Kubernetes on machine " + place,
	}
}
