package libvirt

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// joining returns a driver whose machines join the network lan.
func joining(t *testing.T, libvirt *standIn) *Driver {
	t.Helper()
	d := newDriver(t, libvirt, fake.NewRunner(t.TempDir(), nil))
	d.options.URI, d.options.Network = SystemURI, "lan"
	return d
}

func wantJoined(t *testing.T, m *Machine, want string) netip.Prefix {
	t.Helper()
	got, err := m.Joined(t.Context())
	if err != nil || got.String() != want {
		t.Errorf("got the address %s (%v), want %s", got, err, want)
	}
	return got
}

// A machine keeps its address in the network from Create to Delete, and has it on its seed disk.
func TestJoin(t *testing.T) {
	t.Parallel()
	lan := &standInNetwork{leases: []string{"192.168.150.254", "fd00::2"}, busy: 2}
	libvirt := &standIn{networks: map[string]*standInNetwork{"lan": lan}}
	d, spec := joining(t, libvirt), testSpec(t)
	m := created(t, d, spec)
	const address = "192.168.150.251/24" // .254 is leased, and others were faster with .253 and .252
	spec.Network.Joined = wantJoined(t, m, address)
	definition, err := libvirt.read("", m.domain)
	for _, want := range []string{`<source network="lan"></source>`, `<mac address="` + domain.MAC(spec) + `"></mac>`} {
		if err != nil || !strings.Contains(definition.XML, want) {
			t.Errorf("got %s (%v), want it with %s", definition.XML, err, want)
		}
	}
	seeded := func(what string) {
		t.Helper()
		disk, err := os.ReadFile(m.files.Seed)
		if err != nil || !strings.Contains(string(disk), "address replace "+address+" dev eth1\n") {
			t.Errorf("%s: the seed disk (%v) lacks the address", what, err)
		}
	}
	seeded("after Create")
	later := d.Machine(spec).(*Machine)
	if err := errors.Join(os.Remove(m.files.Seed), later.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	seeded("after Start")
	// Somebody defined the network anew.
	lan.hosts = nil
	if err := errors.Join(later.Stop(t.Context()), later.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	_ = wantJoined(t, later, address)
	if err := d.Machine(machine.Spec{Cluster: spec.Cluster, Name: spec.Name, Dir: spec.Dir}).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(lan.hosts) != 0 {
		t.Errorf("after Delete the network keeps %q", lan.hosts)
	}
}

// An address that somebody else has got is not taken from them.
func TestAddressLost(t *testing.T) {
	t.Parallel()
	lan := &standInNetwork{}
	libvirt := &standIn{networks: map[string]*standInNetwork{"lan": lan}}
	d, spec := joining(t, libvirt), testSpec(t)
	spec.Network.Joined = wantJoined(t, created(t, d, spec), "192.168.150.254/24")
	m := d.Machine(spec)
	for what, hosts := range map[string][]string{
		"another's":         {`<host mac="52:54:00:00:00:01" ip="192.168.150.254"></host>`},
		"not the machine's": {`<host mac="` + domain.MAC(spec) + `" ip="192.168.150.9"></host>`},
	} {
		lan.hosts = hosts
		if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtNetwork) {
			t.Errorf("%s: Start gave error %v, want %s", what, err, fail.LibvirtNetwork)
		}
	}
	spec.Network.Joined = netip.MustParsePrefix("192.168.151.9/24")
	lan.hosts = nil
	if err := d.Machine(spec).Start(t.Context()); !fail.Is(err, fail.LibvirtNetwork) {
		t.Errorf("of another network: Start gave error %v, want %s", err, fail.LibvirtNetwork)
	}
	spec.Network.Address = netip.MustParsePrefix("192.168.150.2/16")
	if err := d.Machine(spec).Start(t.Context()); !fail.Is(err, fail.LibvirtNetwork) || !strings.Contains(err.Error(), "own network") {
		t.Errorf("over the cluster's own: Start gave error %v, want %s", err, fail.LibvirtNetwork)
	}
}

// A network that cannot be joined is known before anything is made.
func TestNetworkCannotBeJoined(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		networks map[string]*standInNetwork
		remedy   string
	}{
		"not there":  {nil, "virsh -c qemu:///system net-list --all"},
		"not active": {map[string]*standInNetwork{"lan": {inactive: true}}, "virsh -c qemu:///system net-start lan"},
		"a bridge":   {map[string]*standInNetwork{"lan": {without: true}}, "virsh -c qemu:///system net-dumpxml lan"},
	} {
		d, spec := joining(t, &standIn{networks: test.networks}), testSpec(t)
		var found drivers.Finding
		for _, one := range d.Check(t.Context()) {
			if one.Name == "network" {
				found = one
			}
		}
		if found.Level != drivers.Failure || found.ID != fail.LibvirtNetwork || found.Remedy != test.remedy {
			t.Errorf("%s: Check gave %+v, want a failure with the remedy %s", name, found, test.remedy)
		}
		if _, err := d.Create(t.Context(), spec); !fail.Is(err, fail.LibvirtNetwork) {
			t.Errorf("%s: Create gave error %v, want %s", name, err, fail.LibvirtNetwork)
		}
		_ = wantState(t, d.Machine(spec), machine.Absent)
	}
	d := joining(t, &standIn{networks: map[string]*standInNetwork{"lan": {}}})
	if findings := d.Check(t.Context()); len(findings) != 3 || findings[1].Level != drivers.Good {
		t.Errorf("of a network that can be joined: got %+v", findings)
	}
}

// A creation that fails or is cancelled gives the address back.
func TestCreationGivesAddressBack(t *testing.T) {
	t.Parallel()
	lan := &standInNetwork{}
	libvirt := &standIn{networks: map[string]*standInNetwork{"lan": lan}, fail: map[string]error{"Define": errors.New("no luck")}}
	d := joining(t, libvirt)
	if _, err := d.Create(t.Context(), testSpec(t)); err == nil {
		t.Error("Create gave no error")
	}
	if len(lan.hosts) != 0 {
		t.Errorf("the network keeps %q", lan.hosts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Create(ctx, testSpec(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Create gave error %v, want %v", err, context.Canceled)
	}
	if len(lan.hosts) != 0 {
		t.Errorf("the network keeps %q", lan.hosts)
	}
}

// A network that is gone is nothing that a machine could leave.
func TestDeleteWithoutItsNetwork(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{networks: map[string]*standInNetwork{"lan": {}}}
	m := created(t, joining(t, libvirt), testSpec(t))
	delete(libvirt.networks, "lan")
	if err := m.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	_ = wantState(t, m, machine.Absent)
}
