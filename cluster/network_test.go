package cluster_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// joinable is a driver whose machines can join networks of the host.
type joinable struct {
	drivers.Driver
	network string
}

func (d joinable) With(settings drivers.Settings) (drivers.Driver, error) {
	d.network = settings.Network
	return d, nil
}

func (d joinable) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	vm, err := d.Driver.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return joinedMachine{vm.(*fake.Machine), d.network}, nil
}

func (d joinable) Machine(spec machine.Spec) machine.Machine {
	return joinedMachine{d.Driver.Machine(spec).(*fake.Machine), d.network}
}

type joinedMachine struct {
	*fake.Machine
	network string
}

func (m joinedMachine) Joined(context.Context) (netip.Prefix, error) {
	if m.network == "" {
		return netip.Prefix{}, nil
	}
	return netip.MustParsePrefix("192.168.150.254/24"), nil
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Drivers = func(string) (drivers.Driver, error) { return joinable{Driver: fake.New(w.driver)}, nil }
	o := w.options()
	o.Wanted.Network = new("lan")
	wantAddress := func() {
		t.Helper()
		address, err := w.Address(t.Context(), "dev")
		c, loadErr := w.Load("dev")
		if err != nil || loadErr != nil || address.String() != "192.168.150.254" || c.NetworkAddress.Bits() != 24 || c.Network != "lan" || !c.Address.IsLoopback() {
			t.Errorf("got the address %s (%v) of %+v (%v), want that in the network", address, err, c, loadErr)
		}
	}
	w.starts(o)
	wantAddress()
	own, err := agent.Load(w.Home.Cluster("dev").AgentConfig())
	if err != nil || own.Joined.String() != "192.168.150.254" {
		t.Errorf("the agent was started with %+v (%v), want the address in the network", own, err)
	}

	// The network is kept, and is not exchanged.
	w.stops()
	w.starts(w.options())
	wantAddress()
	o.Wanted.Network = new("other")
	if _, err := w.Start(t.Context(), o, w.sink); !fail.Is(err, fail.SpecImmutable) {
		t.Errorf("start with another network: got error %v, want %s", err, fail.SpecImmutable)
	}

	// A start that was cut off before it wrote the address down is made up for.
	c, err := w.Load("dev")
	w.must(err)
	c.NetworkAddress = netip.Prefix{}
	content, err := c.Marshal()
	w.must(err)
	w.must(os.WriteFile(w.Home.Cluster("dev").File(), content, 0o600))
	w.stops()
	w.starts(w.options())
	wantAddress()
}

func TestNetworkOfAnotherDriver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.Wanted.Network, o.Wanted.LibvirtURI = new("a lan"), new("qemu:///system")
	_, err := w.Start(t.Context(), o, w.sink)
	if !fail.Is(err, fail.FlagInvalid) {
		t.Errorf("got error %v, want %s", err, fail.FlagInvalid)
	}
	if _, err := w.Load("dev"); !fail.Is(err, fail.ClusterNotFound) {
		t.Errorf("after a start that was refused: got error %v, want %s", err, fail.ClusterNotFound)
	}
}

// The API server can be used at the address in the network: its certificate has it.
func TestCertificateOfNetworkAddress(t *testing.T) {
	t.Parallel()
	files := store.Home{State: t.TempDir(), Run: t.TempDir()}.Cluster("dev")
	address := netip.MustParsePrefix("192.168.150.254/24")
	target := cluster.Target{Files: files, Config: config.Cluster{
		Profile: "dev", Address: netip.MustParseAddr("127.77.9.1"), KubernetesVersion: cluster.KubernetesVersion, NetworkAddress: address,
	}}
	if err := (cluster.LiveKubernetes{}).Prepare(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(files.PKI(), "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err == nil {
		err = certificate.VerifyHostname(address.Addr().String())
	}
	if err != nil {
		t.Error(err)
	}
}
