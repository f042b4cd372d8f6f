package domain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
)

// lan is a network as libvirt describes it.
const lan = `<network connections='1'>
  <name>lan</name>
  <forward mode='nat'/>
  <bridge name='virbr1' stp='on' delay='0'/>
  <ip family='ipv6' address='fd00::1' prefix='64'><dhcp><range start='fd00::2' end='fd00::9'/></dhcp></ip>
  <ip address='192.168.150.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.150.8' end='192.168.150.11'/>
      <host mac='52:54:00:AA:00:01' ip='192.168.150.11'/>
      <host mac='52:54:00:aa:00:02' name='far' ip='192.168.150.200'/>
    </dhcp>
  </ip>
</network>`

func TestNetwork(t *testing.T) {
	t.Parallel()
	n, err := domain.ReadNetwork(lan)
	if err != nil {
		t.Fatal(err)
	}
	for mac, want := range map[string]string{
		"52:54:00:aa:00:01": "192.168.150.11/24", "52:54:00:aa:00:02": "192.168.150.200/24", "52:54:00:aa:00:03": "invalid Prefix",
	} {
		if got := n.Reserved(mac).String(); got != want {
			t.Errorf("got address %s of %s, want %s", got, mac, want)
		}
	}
	taken := []netip.Addr{netip.MustParseAddr("192.168.150.10")}
	if got, err := n.Choose(taken); err != nil || got.String() != "192.168.150.9/24" {
		t.Errorf("Choose: got %s (%v), want the highest that is free", got, err)
	}
	taken = append(taken, netip.MustParseAddr("192.168.150.9"), netip.MustParseAddr("192.168.150.8"))
	if got, err := n.Choose(taken); err == nil {
		t.Errorf("Choose where nothing is free: got %s, want an error", got)
	}
	for address, good := range map[string]bool{
		"192.168.150.9/24": true, "192.168.150.77/24": true, "192.168.150.11/24": false, "192.168.150.9/16": false, "192.168.151.9/24": false,
	} {
		if err := n.Fits(netip.MustParsePrefix(address)); (err == nil) != good {
			t.Errorf("Fits(%s): got error %v, want it to fit: %t", address, err, good)
		}
	}
	if !n.Overlaps(netip.MustParsePrefix("192.168.0.0/16")) || n.Overlaps(netip.MustParsePrefix("192.168.127.2/24")) {
		t.Error("it cannot be told which networks overlap")
	}
}

func TestReadNetworkRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no XML":      "<network",
		"a bridge":    `<network><forward mode='bridge'/><bridge name='br0'/></network>`,
		"no DHCP":     `<network><ip address='192.168.150.1' prefix='24'/></network>`,
		"IPv6 alone":  lan[:strings.Index(lan, "  <ip address")] + "</network>",
		"no netmask":  strings.Replace(lan, "255.255.255.0", "255.0.255.0", 1),
		"no address":  strings.Replace(lan, "192.168.150.1'", "here'", 1),
		"no range":    strings.Replace(lan, "192.168.150.8", "here", 1),
		"bits beyond": strings.Replace(lan, "netmask='255.255.255.0'", "prefix='33'", 1),
	} {
		if n, err := domain.ReadNetwork(text); err == nil {
			t.Errorf("%s: got %+v, want an error", name, n)
		}
	}
	if n, err := domain.ReadNetwork(strings.Replace(lan, "netmask='255.255.255.0'", "prefix='25'", 1)); err != nil || n.Reserved("52:54:00:aa:00:01").Bits() != 25 {
		t.Errorf("with a prefix: got %+v (%v), want one of 25 bits", n, err)
	}
}

func TestReservation(t *testing.T) {
	t.Parallel()
	mac := domain.MAC(testSpec())
	got, err := domain.Reservation(mac, netip.MustParseAddr("192.168.150.9"))
	if want := `<host mac="` + mac + `" ip="192.168.150.9"></host>`; err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	if !strings.HasPrefix(mac, "52:54:00:") || len(mac) != len("52:54:00:00:00:00") || mac != domain.MAC(testSpec()) {
		t.Errorf("got the MAC address %s", mac)
	}
}
