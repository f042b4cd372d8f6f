package network

import (
	"log/slog"
	"net/netip"
	"testing"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	o := newOutside(Access{Ports: []uint16{5432}}, slog.New(slog.DiscardHandler))
	for address, want := range map[string]string{
		Host + ":5432":       "127.0.0.1:5432",
		Host + ":22":         "",
		"127.0.0.1:5432":     "", // by its own address too: only the name is promised
		"127.77.1.1:6443":    "",
		"0.0.0.0:5432":       "",
		"0.1.2.3:5432":       "",
		Gateway + ":5432":    "",
		"192.168.127.9:80":   "",
		"169.254.169.254:80": "",
		"224.0.0.251:5353":   "",
		"255.255.255.255:67": "",
		"192.0.2.7:443":      "192.0.2.7:443",
		"10.0.0.5:443":       "10.0.0.5:443",
	} {
		got, ok := o.target(netip.MustParseAddrPort(address))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: got %s and %t, want %q", address, got, ok, want)
		}
	}
}
