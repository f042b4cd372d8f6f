package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

var _ drivers.Joiner = (*Machine)(nil)

// network returns the network that machines join. One that is not of use gives fail.LibvirtNetwork.
func (d *Driver) network(c connection) (domain.Network, error) {
	name := d.options.Network
	virsh := "virsh -c " + machine.Quote(d.options.URI)
	refuse := func(err error, next string) (domain.Network, error) {
		return domain.Network{}, fail.New(fail.LibvirtNetwork, "join network "+name, "%w", err).WithNext("%s", next)
	}
	text, active, err := c.Network(name)
	switch {
	case errors.Is(err, errNoNetwork):
		return refuse(err, virsh+" net-list --all")
	case err != nil:
		return domain.Network{}, err
	case !active:
		return refuse(errors.New("it is not active"), virsh+" net-start "+machine.Quote(name))
	}
	network, err := domain.ReadNetwork(text)
	if err != nil {
		return refuse(err, virsh+" net-dumpxml "+machine.Quote(name))
	}
	return network, nil
}

// Joined returns the address that the network keeps for the machine.
func (m *Machine) Joined(ctx context.Context) (address netip.Prefix, err error) {
	if m.driver.options.Network == "" {
		return address, nil
	}
	err = m.driver.do(ctx, m.driver.limits.answer, func(_ context.Context, c connection) error {
		network, err := m.driver.network(c)
		address = network.Reserved(domain.MAC(m.spec))
		return err
	})
	return address, err
}

// joinTries is how often an address is looked for: others may take one in between.
const joinTries = 5

// join sees to it that the network keeps an address for the machine, and returns it: the one that it had before, unless it
// has none yet. Without a network it is the zero Prefix.
func (m *Machine) join(c connection) (address netip.Prefix, err error) {
	if m.driver.options.Network == "" {
		return address, nil
	}
	for range joinTries {
		if address, err = m.tryJoin(c); err == nil || fail.Known(err) {
			break
		}
	}
	return address, err
}

func (m *Machine) tryJoin(c connection) (netip.Prefix, error) {
	name, mac, had := m.driver.options.Network, domain.MAC(m.spec), m.spec.Network.Joined
	network, err := m.driver.network(c)
	if err != nil {
		return had, err
	}
	refuse := func(format string, args ...any) (netip.Prefix, error) {
		return had, fail.New(fail.LibvirtNetwork, "join network "+name, format, args...).
			WithNext("virsh -c %s net-dumpxml %s", machine.Quote(m.driver.options.URI), machine.Quote(name))
	}
	if network.Overlaps(m.spec.Network.Address) {
		return refuse("it has addresses of the cluster's own network, %s", m.spec.Network.Address.Masked())
	}
	address := network.Reserved(mac)
	switch {
	case address.IsValid() && (address == had || !had.IsValid()):
		return address, nil
	case address.IsValid():
		return refuse("it keeps the address %s for the machine, which has %s", address.Addr(), had.Addr())
	case had.IsValid():
		if err := network.Fits(had); err != nil {
			return refuse("the machine has the address %s: %w", had.Addr(), err)
		}
		address = had
	default:
		if address, err = m.choose(c, network); err != nil {
			return refuse("%w", err)
		}
	}
	host, err := domain.Reservation(mac, address.Addr())
	if err == nil {
		err = c.Reserve(name, host)
	}
	if err != nil {
		err = fmt.Errorf("keep the address %s of network %s: %w", address.Addr(), name, err)
	}
	return address, err
}

func (m *Machine) choose(c connection, network domain.Network) (netip.Prefix, error) {
	leases, err := c.Leases(m.driver.options.Network)
	if err != nil {
		return netip.Prefix{}, err
	}
	var taken []netip.Addr
	for _, lease := range leases {
		if address, err := netip.ParseAddr(lease); err == nil {
			taken = append(taken, address)
		}
	}
	return network.Choose(taken)
}

// joinedBefore returns the network of the machine's domain; empty when it joined none.
func (m *Machine) joinedBefore(c connection) (string, error) {
	text, err := c.Mark(m.domain)
	if err != nil {
		return "", err
	}
	mark, err := domain.ReadMark(text)
	return mark.Network, err
}

// leave gives the machine's address in a network back. A network that is gone has nothing of it.
func (m *Machine) leave(c connection, name string) error {
	if name == "" {
		return nil
	}
	text, _, err := c.Network(name)
	if errors.Is(err, errNoNetwork) {
		return nil
	}
	if err != nil {
		return err
	}
	network, err := domain.ReadNetwork(text)
	if err != nil {
		return nil //nolint:nilerr // it is another one than the one that was joined
	}
	mac := domain.MAC(m.spec)
	address := network.Reserved(mac)
	if !address.IsValid() {
		return nil
	}
	host, err := domain.Reservation(mac, address.Addr())
	if err == nil {
		err = c.Release(name, host)
	}
	if err != nil {
		return fmt.Errorf("give the address %s of network %s back: %w", address.Addr(), name, err)
	}
	return nil
}

// writeSeed makes the seed disk of the machine, whose second card has that address.
func (m *Machine) writeSeed(ctx context.Context, joined netip.Prefix) error {
	spec := m.spec
	spec.Network.Joined = joined
	return seed.Write(ctx, m.files.Seed, spec)
}
