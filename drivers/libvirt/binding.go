//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"

	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
)

// bound is a connection through libvirt's library.
type bound struct{ conn *libvirt.Connect }

var _ connection = bound{}

// connect connects to libvirt. It loads the library, which need not be there.
func connect(uri string) (connection, error) {
	silence()
	conn, err := libvirt.NewConnect(uri)
	if err == nil {
		return bound{conn}, nil
	}
	said, ok := errors.AsType[libvirt.Error](err)
	if !ok {
		return nil, err
	}
	kind := errUnreachable
	switch said.Code {
	case libvirt.ERR_INTERNAL_ERROR:
		if said.Domain == libvirt.FROM_NONE { // of the binding itself, which has no other word for it
			kind = errNoLibrary
		}
	case libvirt.ERR_AUTH_FAILED, libvirt.ERR_AUTH_CANCELLED, libvirt.ERR_AUTH_UNAVAILABLE, libvirt.ERR_ACCESS_DENIED:
		kind = errRefused
	default:
		if refused(uri) {
			kind = errRefused
		}
	}
	return nil, fmt.Errorf("%w: %s", kind, said.Message)
}

func (b bound) Close() { _, _ = b.conn.Close() }

func (b bound) Version() (string, error) {
	library, err := b.conn.GetLibVersion()
	if err != nil {
		return "", b.explain(err)
	}
	qemu, err := b.conn.GetVersion()
	if err != nil {
		return "", b.explain(err)
	}
	return fmt.Sprintf("libvirt %s with QEMU %s", version(library), version(qemu)), nil
}

// version writes a version as libvirt counts it: a million for the first number, a thousand for the second.
func version(number uint32) string {
	return fmt.Sprintf("%d.%d.%d", number/1e6, number/1e3%1e3, number%1e3)
}

func (b bound) Capabilities() (string, error) {
	text, err := b.conn.GetCapabilities()
	return text, b.explain(err)
}

func (b bound) Domains() ([]string, error) {
	all, err := b.conn.ListAllDomains(0)
	if err != nil {
		return nil, b.explain(err)
	}
	var names []string
	var problems []error
	for _, one := range all {
		name, err := one.GetName()
		names, problems = append(names, name), append(problems, err, one.Free())
	}
	return names, b.explain(errors.Join(problems...))
}

func (b bound) Mark(name string) (text string, err error) {
	err = b.with(name, func(d *libvirt.Domain) error {
		text, err = d.GetMetadata(libvirt.DOMAIN_METADATA_ELEMENT, domain.Namespace, libvirt.DOMAIN_AFFECT_CURRENT)
		if said, ok := errors.AsType[libvirt.Error](err); ok && said.Code == libvirt.ERR_NO_DOMAIN_METADATA {
			return nil
		}
		return err
	})
	return text, err
}

func (b bound) Condition(name string) (now condition, err error) {
	err = b.with(name, func(d *libvirt.Domain) error {
		state, reason, err := d.GetState()
		switch state {
		case libvirt.DOMAIN_RUNNING, libvirt.DOMAIN_BLOCKED:
			now = running
		case libvirt.DOMAIN_PAUSED:
			now = paused
			switch libvirt.DomainPausedReason(reason) {
			case libvirt.DOMAIN_PAUSED_IOERROR:
				now = ioError
			case libvirt.DOMAIN_PAUSED_SAVE:
				now = saving
			}
		case libvirt.DOMAIN_SHUTDOWN:
			now = ending
		case libvirt.DOMAIN_SHUTOFF:
			now = off
		case libvirt.DOMAIN_CRASHED:
			now = crashed
		case libvirt.DOMAIN_PMSUSPENDED:
			now = suspended
		default:
			now = condition(fmt.Sprintf("in state %d", state))
		}
		return err
	})
	return now, err
}

func (b bound) Define(xml string) error {
	d, err := b.conn.DomainDefineXML(xml)
	if err != nil {
		return b.explain(err)
	}
	return d.Free()
}

func (b bound) Start(name string) error   { return b.with(name, (*libvirt.Domain).Create) }
func (b bound) Suspend(name string) error { return b.with(name, (*libvirt.Domain).Suspend) }
func (b bound) Resume(name string) error  { return b.with(name, (*libvirt.Domain).Resume) }

func (b bound) Press(name string) error {
	return b.with(name, func(d *libvirt.Domain) error { return d.ShutdownFlags(libvirt.DOMAIN_SHUTDOWN_ACPI_POWER_BTN) })
}

func (b bound) Grow(name string, bytes uint64) error {
	return b.with(name, func(d *libvirt.Domain) error {
		info, err := d.GetBlockInfo(domain.Disk, 0)
		if err != nil || info.Capacity > bytes {
			return err
		}
		return d.BlockResize(domain.Disk, bytes, libvirt.DOMAIN_BLOCK_RESIZE_BYTES)
	})
}

func (b bound) Destroy(name string) error {
	return b.with(name, func(d *libvirt.Domain) error {
		err := d.DestroyFlags(libvirt.DOMAIN_DESTROY_GRACEFUL)
		if said, ok := errors.AsType[libvirt.Error](err); ok && said.Code == libvirt.ERR_SYSTEM_ERROR { // QEMU does not react
			err = d.Destroy()
		}
		if said, ok := errors.AsType[libvirt.Error](err); ok && said.Code == libvirt.ERR_OPERATION_INVALID {
			return nil // it has ended by itself
		}
		return err
	})
}

// Save has libvirt write down that the guest runs when it is restored, whatever it does now.
func (b bound) Save(name string) error {
	return b.with(name, func(d *libvirt.Domain) error { return d.ManagedSave(libvirt.DOMAIN_SAVE_RUNNING) })
}

func (b bound) Abort(name string) error { return b.with(name, (*libvirt.Domain).AbortJob) }

func (b bound) Saved(name string) (saved bool, err error) {
	err = b.with(name, func(d *libvirt.Domain) (err error) {
		saved, err = d.HasManagedSaveImage(0)
		return err
	})
	return saved, err
}

// Restore looks first whether libvirt can read how the saved domain is defined: when it cannot, starting the domain would
// boot it.
func (b bound) Restore(name string) error {
	return b.with(name, func(d *libvirt.Domain) error {
		_, err := d.ManagedSaveGetXMLDesc(0)
		if err == nil {
			err = d.CreateWithFlags(libvirt.DOMAIN_START_PAUSED)
		}
		if said, ok := errors.AsType[libvirt.Error](err); ok && b.alive() {
			return fmt.Errorf("%w: %s", errNotRestored, said.Message)
		}
		return err
	})
}

func (b bound) Forget(name string) error {
	return b.with(name, func(d *libvirt.Domain) error { return d.ManagedSaveRemove(0) })
}

func (b bound) Undefine(name string) error {
	return b.with(name, func(d *libvirt.Domain) error {
		return d.UndefineFlags(libvirt.DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
			libvirt.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | libvirt.DOMAIN_UNDEFINE_NVRAM)
	})
}

func (b bound) Network(name string) (text string, active bool, err error) {
	err = b.withNetwork(name, func(n *libvirt.Network) (err error) {
		if active, err = n.IsActive(); err == nil {
			text, err = n.GetXMLDesc(0)
		}
		return err
	})
	return text, active, err
}

func (b bound) Leases(network string) (addresses []string, err error) {
	err = b.withNetwork(network, func(n *libvirt.Network) error {
		leases, err := n.GetDHCPLeases()
		for _, lease := range leases {
			addresses = append(addresses, lease.IPaddr)
		}
		return err
	})
	return addresses, err
}

func (b bound) Reserve(network, host string) error {
	return b.changeHosts(network, host, libvirt.NETWORK_UPDATE_COMMAND_ADD_LAST)
}

func (b bound) Release(network, host string) error {
	return b.changeHosts(network, host, libvirt.NETWORK_UPDATE_COMMAND_DELETE)
}

// changeHosts changes the network as it is now, when it is active, and as it will be, when it is to last.
func (b bound) changeHosts(network, host string, command libvirt.NetworkUpdateCommand) error {
	return b.withNetwork(network, func(n *libvirt.Network) error {
		active, err := n.IsActive()
		if err != nil {
			return err
		}
		lasting, err := n.IsPersistent()
		if err != nil {
			return err
		}
		var flags libvirt.NetworkUpdateFlags
		if active {
			flags |= libvirt.NETWORK_UPDATE_AFFECT_LIVE
		}
		if lasting {
			flags |= libvirt.NETWORK_UPDATE_AFFECT_CONFIG
		}
		const anywhere = -1 // libvirt finds the address range by itself
		return n.Update(command, libvirt.NETWORK_SECTION_IP_DHCP_HOST, anywhere, host, flags)
	})
}

// withNetwork does something with the network of that name.
func (b bound) withNetwork(name string, do func(*libvirt.Network) error) error {
	n, err := b.conn.LookupNetworkByName(name)
	if err != nil {
		return b.explain(err)
	}
	defer func() { _ = n.Free() }()
	return b.explain(do(n))
}

// with does something with the domain of that name.
func (b bound) with(name string, do func(*libvirt.Domain) error) error {
	d, err := b.conn.LookupDomainByName(name)
	if err != nil {
		return b.explain(err)
	}
	defer func() { _ = d.Free() }()
	return b.explain(do(d))
}

// explain tells apart what the driver needs to.
func (b bound) explain(err error) error {
	said, ok := errors.AsType[libvirt.Error](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return err
	case said.Code == libvirt.ERR_NO_DOMAIN:
		return errNoDomain
	case said.Code == libvirt.ERR_NO_NETWORK:
		return errNoNetwork
	case said.Code == libvirt.ERR_ACCESS_DENIED:
		return fmt.Errorf("%w: %s", errRefused, said.Message)
	}
	if !b.alive() {
		return fmt.Errorf("%w: %s", errLost, said.Message)
	}
	return errors.New(said.Message)
}

func (b bound) alive() bool {
	alive, err := b.conn.IsAlive()
	return err == nil && alive
}
