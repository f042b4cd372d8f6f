package domain

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
)

// Network is what a machine that joins a network of libvirt depends on: its IPv4 addresses.
type Network struct {
	prefix   netip.Prefix // with the host's own address
	from, to netip.Addr   // of the range that DHCP gives away
	reserved map[netip.Addr]string
}

// ReadNetwork reads a network's definition (libvirt documentation, "Network XML format"). One without a range of IPv4
// addresses for DHCP gives an error: nobody knows then which addresses are free.
func ReadNetwork(text string) (Network, error) {
	var definition struct {
		IPs []struct {
			Family  string `xml:"family,attr"`
			Address string `xml:"address,attr"`
			Netmask string `xml:"netmask,attr"`
			Prefix  string `xml:"prefix,attr"`
			Ranges  []struct {
				Start netip.Addr `xml:"start,attr"`
				End   netip.Addr `xml:"end,attr"`
			} `xml:"dhcp>range"`
			Hosts []struct {
				MAC string     `xml:"mac,attr"`
				IP  netip.Addr `xml:"ip,attr"`
			} `xml:"dhcp>host"`
		} `xml:"ip"`
	}
	if err := xml.Unmarshal([]byte(text), &definition); err != nil {
		return Network{}, fmt.Errorf("read the definition of the network: %w", err)
	}
	for _, ip := range definition.IPs {
		if ip.Family == "ipv6" || len(ip.Ranges) == 0 {
			continue
		}
		prefix, err := prefixOf(ip.Address, ip.Netmask, ip.Prefix)
		if err != nil {
			return Network{}, fmt.Errorf("read the definition of the network: %w", err)
		}
		n := Network{prefix: prefix, from: ip.Ranges[0].Start, to: ip.Ranges[0].End, reserved: map[netip.Addr]string{}}
		for _, host := range ip.Hosts {
			n.reserved[host.IP] = strings.ToLower(host.MAC)
		}
		return n, nil
	}
	return Network{}, errors.New("it has no range of IPv4 addresses for DHCP")
}

// prefixOf puts together what is written in two ways.
func prefixOf(address, netmask, bits string) (netip.Prefix, error) {
	if bits != "" {
		return netip.ParsePrefix(address + "/" + bits)
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, err
	}
	mask, err := netip.ParseAddr(netmask)
	if err != nil {
		return netip.Prefix{}, err
	}
	length, all := net.IPMask(mask.AsSlice()).Size()
	if all != addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("%q is no netmask", netmask)
	}
	return netip.PrefixFrom(addr, length), nil
}

// Reserved returns the address that the network keeps for the card with that MAC address; the zero Prefix when none.
func (n Network) Reserved(mac string) netip.Prefix {
	for address, owner := range n.reserved {
		if owner == mac {
			return n.with(address)
		}
	}
	return netip.Prefix{}
}

// Choose returns the highest address of the range that nobody has; taken are those that DHCP has given away. DHCP itself
// looks anywhere in the range, people mostly at its beginning.
func (n Network) Choose(taken []netip.Addr) (netip.Prefix, error) {
	used := map[netip.Addr]bool{n.prefix.Addr(): true}
	for _, address := range taken {
		used[address] = true
	}
	for address := n.to; address.IsValid() && !address.Less(n.from); address = address.Prev() {
		if n.reserved[address] == "" && !used[address] {
			return n.with(address), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no address from %s to %s is free", n.from, n.to)
}

// Fits refuses an address that another card has, or that is not the network's.
func (n Network) Fits(address netip.Prefix) error {
	if n.with(address.Addr()) != address || !n.prefix.Contains(address.Addr()) {
		return fmt.Errorf("it has the addresses %s", n.prefix.Masked())
	}
	if owner := n.reserved[address.Addr()]; owner != "" {
		return fmt.Errorf("it keeps the address for %s", owner)
	}
	return nil
}

// Overlaps reports whether the network has addresses of another one.
func (n Network) Overlaps(other netip.Prefix) bool { return n.prefix.Overlaps(other) }

func (n Network) with(address netip.Addr) netip.Prefix {
	return netip.PrefixFrom(address, n.prefix.Bits())
}

// Reservation is the entry by which a network's DHCP server gives an address to one card alone.
func Reservation(mac string, address netip.Addr) (string, error) {
	text, err := xml.Marshal(struct {
		XMLName xml.Name   `xml:"host"`
		MAC     string     `xml:"mac,attr"`
		IP      netip.Addr `xml:"ip,attr"`
	}{MAC: mac, IP: address})
	return string(text), err
}

// MAC returns the address of the machine's card in a network of libvirt, which is the same for the same machine. Its first
// half is QEMU's, as libvirt has it.
func MAC(spec machine.Spec) string {
	sum := identity(spec)
	digits := hex.EncodeToString(sum[16:19])
	return "52:54:00:" + digits[:2] + ":" + digits[2:4] + ":" + digits[4:]
}
