package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/provision"
)

// Listen opens a socket, as net.ListenConfig does.
type Listen func(ctx context.Context, network, address string) (net.Listener, error)

// sshPort is where every cluster publishes its machine's SSH, beside the port of the API server.
const sshPort = 2222

// trial returns an address of 127.77.0.0/16 that no cluster has, which begin at 127.77.1.1. Processes that look at the
// same time mostly have different ones, and so do the two tries of one.
func trial(try int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 77, 0, byte(1 + (os.Getpid()*2+try)%254)})
}

// loopback sends a byte to where clusters are published. A firewall, or a network namespace whose loopback is down, may
// keep it from arriving.
func (h Host) loopback(ctx context.Context) []Finding {
	address := trial(0)
	listener, err := h.Listen(ctx, "tcp", netip.AddrPortFrom(address, 0).String())
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return []Finding{failure(alias(), "This host has no address such as 127.77.1.1, at which clusters are published.")}
	}
	if err != nil {
		return []Finding{failure(listenable(err), "Nothing can be published at addresses such as 127.77.1.1: %v.", err)}
	}
	defer func() { _ = listener.Close() }()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = conn.Write([]byte{1})
			_ = conn.Close()
		}
	}()
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", listener.Addr().String())
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		return []Finding{failure(up(), "Connections to addresses such as 127.77.1.1 do not arrive: %v. Is the loopback interface down, or does a firewall block it?", err)}
	}
	return []Finding{good("Connections to addresses such as 127.77.1.1 arrive.")}
}

// alias is the command that gives the loopback interface the first cluster's address, where that needs one.
func alias() string {
	if runtime.GOOS == "darwin" {
		return "sudo ifconfig lo0 alias 127.77.1.1"
	}
	return up()
}

// up is the command that switches the loopback interface on.
func up() string {
	if runtime.GOOS == "darwin" {
		return "sudo ifconfig lo0 up"
	}
	return "sudo ip link set lo up"
}

// listenable is the command after which sockets can be opened that could not be.
func listenable(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return "ulimit -n 4096"
	case errors.Is(err, syscall.EADDRINUSE) && runtime.GOOS == "linux": // no port is left that nobody asked for by number
		return "sudo sysctl net.ipv4.ip_local_port_range='16384 65000'"
	}
	return alias()
}

// ports tries the ports that clusters publish.
func (h Host) ports(ctx context.Context) []Finding {
	var findings []Finding
	refused := []string{}
	for _, port := range []uint16{sshPort, provision.APIServerPort, 80, 443} {
		err := h.try(ctx, port)
		switch {
		case err == nil:
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return []Finding{unknown("this host has no address such as 127.77.1.1 to try ports at.")}
		case errors.Is(err, syscall.EACCES):
			refused = append(refused, strconv.Itoa(int(port)))
		default:
			findings = append(findings, taken(port, err))
		}
	}
	if len(refused) > 0 {
		findings = append(findings, warning(publish.AllowLowPorts,
			"Ports %s are refused to ordinary users, so ingress and Services of these ports are published at 8080, 8443 and so on instead.", strings.Join(refused, " and ")))
	}
	if len(findings) == 0 {
		return []Finding{good("Ports %d, %d, 80 and 443 can be published.", sshPort, provision.APIServerPort)}
	}
	return findings
}

// try listens on a port for a moment. That another process has it counts only when it has it at every address: two
// addresses are tried.
func (h Host) try(ctx context.Context, port uint16) (err error) {
	for i := range 2 {
		var listener net.Listener
		listener, err = h.Listen(ctx, "tcp", netip.AddrPortFrom(trial(i), port).String())
		if err == nil {
			return listener.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return err
}

// taken is the finding for a port that a program holds at every address of the host, those of clusters included.
func taken(port uint16, err error) Finding {
	show := fmt.Sprintf("sudo ss -ltnp 'sport = :%d'", port)
	if runtime.GOOS == "darwin" {
		show = fmt.Sprintf("sudo lsof -nP -iTCP:%d -sTCP:LISTEN", port)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return unknown("port %d cannot be tried: %v.", port, err)
	}
	if port < 1024 {
		return warning(show, "Port %d is held by a program that listens on every address, so no Service is published there; the command shows which.", port)
	}
	return failure(show, "Port %d is held by a program that listens on every address, and every cluster needs it; the command shows which.", port)
}

// routes looks for networks of this host, such as a VPN's, that programs in a cluster take for the cluster's own. The
// host's way to clusters is not looked at: 127.77.0.0/16 is always local, and the machines' network, 192.168.127.0/24,
// lives inside the agent's process, where no route of the host reaches.
func (h Host) routes(context.Context) []Finding {
	seen, err := h.hostRoutes()
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	cluster := provision.NewConfig("", netip.Addr{})
	inside := []struct {
		name   string
		prefix netip.Prefix
	}{
		{"its Services", cluster.ServiceCIDR},
		{"its pods", cluster.PodCIDR},
		{"its machine", netip.PrefixFrom(cluster.NodeAddress, 24).Masked()},
	}
	var findings []Finding
	for _, route := range seen {
		for _, own := range inside {
			if !route.prefix.Overlaps(own.prefix) {
				continue
			}
			hidden := own.prefix // of a larger network only a part, which may well be empty
			if route.prefix.Bits() > hidden.Bits() {
				hidden = route.prefix
			}
			if hidden == route.prefix {
				findings = append(findings, warning("", "Programs in a cluster do not reach %s (%s): a cluster has these addresses for %s.", hidden, route.device, own.name))
				continue
			}
			findings = append(findings, good("Programs in a cluster reach %s (%s) but for %s, which are addresses for %s.", route.prefix, route.device, hidden, own.name))
		}
	}
	if len(findings) == 0 {
		return []Finding{good("No network of this host has addresses that a cluster uses inside.")}
	}
	return findings
}

// route is a network that this host reaches through a device.
type route struct {
	prefix netip.Prefix
	device string
}

// hostRoutes returns the routes of this host but for the default one and loopback; where the system does not list them
// in a file, the networks of its interfaces.
func (h Host) hostRoutes() ([]route, error) {
	raw, err := os.ReadFile(h.root("proc", "net", "route"))
	if errors.Is(err, fs.ErrNotExist) {
		return interfaceRoutes()
	}
	if err != nil {
		return nil, err
	}
	return parseRoutes(string(raw))
}

// parseRoutes reads /proc/net/route: a heading, then lines of device, destination, gateway, flags, and four further
// fields, the fourth of which is the mask (Linux, net/ipv4/fib_trie.c, fib_route_seq_show). Addresses are hexadecimal in
// the order of the host's bytes.
func parseRoutes(table string) ([]route, error) {
	var routes []route
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[0] == "Iface" || fields[0] == "lo" {
			continue
		}
		address, err := hexAddress(fields[1])
		if err != nil {
			return nil, fmt.Errorf("/proc/net/route: %w", err)
		}
		mask, err := hexAddress(fields[7])
		if err != nil {
			return nil, fmt.Errorf("/proc/net/route: %w", err)
		}
		ones, _ := net.IPMask(mask.AsSlice()).Size()
		if ones > 0 {
			routes = append(routes, route{netip.PrefixFrom(address, ones), fields[0]})
		}
	}
	return routes, nil
}

// hexAddress reads an address as the kernel prints it, as a number in the order of the host's bytes.
func hexAddress(text string) (netip.Addr, error) {
	number, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return netip.Addr{}, err
	}
	var raw [4]byte
	binary.NativeEndian.PutUint32(raw[:], uint32(number))
	return netip.AddrFrom4(raw), nil
}

func interfaceRoutes() ([]route, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var routes []route
	for _, one := range interfaces {
		addresses, err := one.Addrs()
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			prefix, err := netip.ParsePrefix(address.String())
			if err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
				routes = append(routes, route{prefix.Masked(), one.Name})
			}
		}
	}
	return routes, nil
}

// gateway is the address that this host sends to what it has no other way to, as far as Linux tells.
func (h Host) gateway() (netip.Addr, bool) {
	raw, _ := os.ReadFile(h.root("proc", "net", "route"))
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		if address, err := hexAddress(fields[2]); err == nil && !address.IsUnspecified() {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// dns looks whether this host knows where to ask for names: what guests ask goes there.
func (h Host) dns(context.Context) []Finding {
	raw, err := os.ReadFile(h.root("etc", "resolv.conf"))
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	var servers []string
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	if len(servers) == 0 {
		const text = "/etc/resolv.conf names no DNS server, so clusters resolve no names but their own"
		if _, err := os.Stat(h.root("run", "systemd", "resolve", "resolv.conf")); err == nil {
			return []Finding{warning("sudo ln -sf /run/systemd/resolve/resolv.conf /etc/resolv.conf", "%s; systemd-resolved knows some.", text)}
		}
		if gateway, ok := h.gateway(); ok {
			return []Finding{warning(fmt.Sprintf("echo nameserver %s | sudo tee -a /etc/resolv.conf", gateway), "%s; in most networks the gateway is one.", text)}
		}
		return []Finding{warning("echo nameserver ADDRESS | sudo tee -a /etc/resolv.conf", "%s. ADDRESS is that of your network's server.", text)}
	}
	return []Finding{good("Names from outside a cluster are looked up at %s.", strings.Join(servers, ", "))}
}
