package agent

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/skiff-k8s/skiff/agent/sleep"
)

// Dialer connects to an address, as net.Dialer.DialContext does.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// published is the agent's own way to what it publishes. Through the virtual network it is shorter, it does not depend on the
// ports being published, and nothing that the agent does by itself counts as asking something of the machine.
type published struct {
	config Config
	link   link
}

// DialContext leads an address that is published to the guest, and every other where it says.
func (p published) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	target, err := netip.ParseAddrPort(address)
	if err == nil && target.Addr() == p.config.Address {
		for _, port := range p.config.Ports {
			if port.Host == target.Port() {
				return p.link.DialContext(ctx, netip.AddrPortFrom(p.config.Guest, port.Guest))
			}
		}
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

// Ports of the guest whose connections are not like others.
const (
	sshPort       = 22
	apiServerPort = 6443
)

// kinds says what traffic on the ports that every cluster publishes means.
func kinds(c Config) map[netip.AddrPort]sleep.Kind {
	return map[netip.AddrPort]sleep.Kind{
		netip.AddrPortFrom(c.Guest, sshPort):       sleep.Session,
		netip.AddrPortFrom(c.Guest, apiServerPort): sleep.Beating,
	}
}

// pulling keeps the machine awake while it is given a part of an image: somebody asked for a pod. Whether there is such an image a
// machine asks again and again, also for ever, as when its name is wrong: that does not count.
func pulling(images http.Handler, sleeper *sleep.Sleeper) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			defer sleeper.Hold()()
		}
		images.ServeHTTP(w, r)
	})
}
