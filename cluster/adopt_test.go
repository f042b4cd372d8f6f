package cluster_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// adopter is the fake driver as one that takes machines over.
type adopter struct {
	*fake.Driver
	specs   *[]machine.Spec // of those that were inspected and created
	refused error
}

var _ drivers.Adopter = adopter{}

func (a adopter) Inspect(_ context.Context, spec machine.Spec) (netip.Addr, error) {
	*a.specs = append(*a.specs, spec)
	return netip.MustParseAddr("192.0.2.7"), a.refused
}

func (a adopter) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	*a.specs = append(*a.specs, spec)
	return a.Driver.Create(ctx, spec)
}

const testHostKey = "ssh-ed25519 AAAA pinned\n"

// adopts gives the world a driver that takes machines over, and returns what it was asked for and how often a host key was.
func (w *world) adopts(refused error) (specs *[]machine.Spec, keys *int) {
	specs, keys = new([]machine.Spec), new(int)
	w.Drivers = func(string) (drivers.Driver, error) { return adopter{fake.New(w.driver), specs, refused}, nil }
	w.HostKeys = func(context.Context, netip.AddrPort) ([]byte, error) {
		*keys++
		return []byte(testHostKey), nil
	}
	return specs, keys
}

// there is a machine that exists.
func (w *world) there() *config.SSH {
	key := filepath.Join(w.t.TempDir(), "key")
	w.must(os.WriteFile(key, []byte("a private key"), 0o600))
	return &config.SSH{Address: netip.MustParseAddrPort("192.0.2.1:22"), User: "root", KeyFile: key}
}

func TestAdopts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	specs, keys := w.adopts(nil)
	o := w.options()
	o.Wanted.SSH = w.there()
	w.starts(o)
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
	if *keys != 1 {
		t.Errorf("the host key was asked for %d times, want once", *keys)
	}
	made := (*specs)[len(*specs)-1]
	if made.SSH.Address != o.Wanted.SSH.Address || string(made.SSH.HostKey) != testHostKey || string(made.SSH.PrivateKey) != "a private key" ||
		made.Network.Address.Addr().String() != "192.0.2.7" || made.Network.Socket != "" || len(made.Identity.AuthorizedKey) == 0 {
		t.Errorf("the machine was described as %+v", made)
	}
	config, err := agent.Load(w.Home.Cluster("dev").AgentConfig())
	w.must(err)
	if config.SSH == nil || config.SSH.HostKey != testHostKey || config.Guest.String() != "192.0.2.7" || config.SSH.Mirror != made.Network.Mirror {
		t.Errorf("the agent's configuration is %+v", config)
	}
	// It stays the same machine, whether it is named again or not; nobody is asked again.
	w.stops()
	w.starts(w.options())
	again := w.there()
	o.Wanted.SSH = again
	if got := w.starts(o).Config.SSH; got.KeyFile != again.KeyFile || got.HostKey != testHostKey || !got.Node.IsValid() {
		t.Errorf("with another key file: got %+v", got)
	}
	if *keys != 1 {
		t.Errorf("the host key of a known machine was asked for")
	}
	other := w.there()
	other.Address = netip.MustParseAddrPort("192.0.2.9:22")
	o.Wanted.SSH = other
	w.fails(o, fail.SpecImmutable)
}

// An agent that has ended takes nothing with it: pods go on, and so does the machine.
func TestAdoptedMachineOutlivesItsAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adopts(nil)
	o := w.options()
	o.Wanted.SSH = w.there()
	o.DryRun = true
	show := func(name string, plan cluster.Plan) {
		t.Helper()
		text := plan.String()
		if c, err := w.Load("dev"); err == nil {
			text = strings.ReplaceAll(text, c.Address.String(), "ADDRESS")
		}
		golden.Compare(t, filepath.Join("testdata", "plans", name+".golden"), []byte(text))
	}
	show("adopt", w.starts(o).Plan)
	o.DryRun = false
	w.starts(o)
	w.killAgent()
	o.DryRun = true
	show("adopted-agent-dead", w.starts(o).Plan)
	o.DryRun = false
	w.starts(o)
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// A refused machine leaves no trace on this host either.
func TestRefusedMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adopts(fail.New(fail.MachineTooSmall, "take over", "too small"))
	o := w.options()
	o.Wanted.SSH = w.there()
	w.fails(o, fail.MachineTooSmall)
	if _, err := os.Stat(w.Home.Cluster("dev").Dir); err == nil {
		t.Error("a folder of the cluster was made")
	}
	w.HostKeys = func(context.Context, netip.AddrPort) ([]byte, error) {
		return nil, fail.New(fail.SSHHostKeyUnknown, "trust", "nobody knows it")
	}
	w.fails(o, fail.SSHHostKeyUnknown)
}

// A machine that is out of reach in the middle keeps what it has, and the next start goes on; so does one whose libvirt has ended.
func TestUnreachableStays(t *testing.T) {
	t.Parallel()
	for _, loss := range []fail.ID{fail.SSHUnreachable, fail.LibvirtLost} {
		t.Run(string(loss), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.options()
			if loss == fail.SSHUnreachable {
				w.adopts(nil)
				o.Wanted.SSH = w.there()
			}
			w.breaks(clustertest.Fault{Point: "kubernetes.up", How: string(loss)})
			w.fails(o, loss)
			if c, err := w.Load("dev"); err != nil || (c.SSH == nil) != (o.Wanted.SSH == nil) || c.Provisioned {
				t.Errorf("after the loss: got %+v (%v), want an unfinished cluster", c, err)
			}
			w.breaks()
			w.starts(w.options())
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
		})
	}
}

// A machine that exists is as large as it is, for a new cluster as for an old one.
func TestAdoptedMachineHasNoSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adopts(nil)
	o := w.options()
	o.Wanted.SSH = w.there()
	o.Wanted.MemoryMiB = new(4096)
	w.fails(o, fail.FlagInvalid)
	o.Wanted.MemoryMiB = nil
	w.starts(o)
	o = w.options()
	o.Wanted.CPUs = new(4)
	w.fails(o, fail.FlagInvalid)
}

// What another machine can carry is not this host's to say.
func TestAdoptsFromASmallHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adopts(nil)
	w.Facts = host.Facts{CPUs: 1, MemoryMiB: 1024}
	o := w.options()
	o.Wanted.SSH = w.there()
	w.starts(o)
	w.starts(w.options())
}

// stoppable counts how often an agent was ended.
type stoppable struct {
	cluster.Agents
	ends *int
}

func (s stoppable) Stop(ctx context.Context, socket, configFile string) error {
	*s.ends++
	return s.Agents.Stop(ctx, socket, configFile)
}

// Forgetting a machine that is out of reach must not leave an agent that tries to reach it for ever.
func TestForgetsUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adopts(nil)
	o := w.options()
	o.Wanted.SSH = w.there()
	w.starts(o)
	ends := 0
	w.Agents = stoppable{w.Agents, &ends}
	w.driver = failing(fake.Delete)
	w.adopts(nil)
	if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, nil); err == nil || ends != 0 {
		t.Fatalf("got %v, and the agent was ended %d times; want an error, and the agent as it was", err, ends)
	}
	if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev", Force: true}, nil); err != nil {
		t.Fatal(err)
	}
	if ends != 1 {
		t.Errorf("the agent was ended %d times, want once", ends)
	}
	w.gone()
}

// asked notes of which machines it is asked for a handle.
type asked struct {
	adopter
	at *[]machine.SSH
}

func (a asked) Machine(spec machine.Spec) machine.Machine {
	*a.at = append(*a.at, spec.SSH)
	return a.adopter.Machine(spec)
}

// A machine that exists is given back also when the cluster's description cannot be read.
func TestDeleteGivesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adopts(nil)
	o := w.options()
	o.Wanted.SSH = w.there()
	w.starts(o)
	driver := asked{adopter{fake.New(fake.Options{Name: "remote"}), new([]machine.Spec), nil}, new([]machine.SSH)}
	w.Every = []drivers.Driver{fake.New(fake.Options{}), driver}
	w.Drivers = func(name string) (drivers.Driver, error) {
		if name != driver.Name() {
			t.Errorf("the driver %q was looked for, want %q", name, driver.Name())
		}
		return driver, nil
	}
	w.must(os.WriteFile(w.Home.Cluster("dev").File(), []byte("a: ["), 0o600))
	w.deletes()
	w.gone()
	if len(*driver.at) != 1 || (*driver.at)[0].Address != o.Wanted.SSH.Address || string((*driver.at)[0].HostKey) != testHostKey {
		t.Errorf("got %+v, want the machine at %s with its host key", *driver.at, o.Wanted.SSH.Address)
	}
}

func TestWrongDriverForMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.Wanted.SSH = w.there()
	w.fails(o, fail.FlagInvalid) // a driver that makes its machines
	w.adopts(nil)
	o.Wanted.SSH = nil
	w.fails(o, fail.FlagInvalid) // no machine named
	o.Wanted.SSH = w.there()
	o.Wanted.SSH.KeyFile = ""
	w.fails(o, fail.FlagInvalid)
}
