// Package provision makes a machine into a Kubernetes cluster of one node, through a machine.Runner: it makes keys,
// certificates and configuration on the host, pushes them, lets kubeadm bring the control plane up as static pods, and
// waits until the cluster is usable. It knows nothing of drivers. The user's kubeconfig is in package kubeconfig, the
// Runner over SSH in package ssh.
package provision

import (
	"io"
	"net/netip"
	"time"

	"github.com/skiff-k8s/skiff/tuning"
)

// Config says what cluster a machine should become. Use NewConfig for the usual values.
type Config struct {
	ClusterName       string         // the profile; the machine itself does not know it
	NodeName          string         // also the guest's host name
	NodeAddress       netip.Addr     // of the machine, as its pods see it
	HostAddress       netip.Addr     // where the API server is published on the host
	HostPort          uint16         // at that address; in the guest it is always 6443
	Mirror            netip.AddrPort // where containerd asks for images first, over TLS; invalid: the machine keeps what it has
	KubernetesVersion string         // "v1.37.2"
	EtcdVersion       string         // tag of the container image that the guest image has, "3.7.3"; needed by Up alone
	CoreDNSVersion    string         // the same, "v1.15.0"
	PodCIDR           netip.Prefix
	ServiceCIDR       netip.Prefix
	DNSDomain         string
	CertificateLife   time.Duration
	Provisioned       bool     // Up has been done with the cluster's keys: they are never replaced, nor is the machine reset
	APIServerNames    []string // further DNS names in the API server's certificate
	APIServerIPs      []netip.Addr
	Extra             []Arg       // further settings of components, applied in this order
	Bootstrap         []byte      // of the guest image: the objects that the API server would begin with creating; may be empty
	Offline           bool        // the machine pulls no container images
	Tuning            tuning.Plan // for what executes the machine
	// Stalled, which may be nil, is told what a wait without progress waits for, and why that does not come. It may be called
	// from any goroutine, and not after the call that waits has returned.
	Stalled func(text string)
	Log     io.Writer // gets what the guest's commands print; nil: nowhere
}

// Arg is one setting of one component, as in --extra-config component.key=value.
type Arg struct {
	Component string // kubelet, apiserver, controller-manager, scheduler, etcd or proxy
	Key       string // a flag without dashes; for kubelet and proxy a field of their configuration, dots for nesting
	Value     string
}

// APIServerPort is the API server's port in the guest.
const APIServerPort = 6443

// NewConfig returns the Config of a cluster with skiff's usual network (site/content/design). The versions of etcd and CoreDNS
// are those of the cluster's guest image, which the caller knows.
func NewConfig(cluster string, host netip.Addr) Config {
	return Config{
		ClusterName:       cluster,
		NodeName:          "skiff",
		NodeAddress:       netip.MustParseAddr("192.168.127.2"),
		HostAddress:       host,
		HostPort:          APIServerPort,
		KubernetesVersion: "v1.37.2",
		PodCIDR:           netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR:       netip.MustParsePrefix("10.96.0.0/12"),
		DNSDomain:         "cluster.local",
		CertificateLife:   26280 * time.Hour, // config.DefaultCertExpiration
		Tuning:            tuning.Hardware(),
	}
}

// ServiceAddress is the n-th address for Services: 1 is the API server's, 10 cluster DNS's (kubeadm,
// app/constants, GetAPIServerVirtualIP and GetDNSIP).
func (c Config) ServiceAddress(n int) netip.Addr {
	addr := c.ServiceCIDR.Masked().Addr()
	for range n {
		addr = addr.Next()
	}
	return addr
}

// DNSAddress is that of cluster DNS.
func (c Config) DNSAddress() netip.Addr { return c.ServiceAddress(10) }

// nodeURL is the API server as the node reaches it.
func (c Config) nodeURL() string {
	return "https://" + netip.AddrPortFrom(c.NodeAddress, APIServerPort).String()
}

// hostURL is the API server as the host reaches it.
func (c Config) hostURL() string {
	return "https://" + netip.AddrPortFrom(c.HostAddress, c.HostPort).String()
}

// extra returns the settings of a component.
func (c Config) extra(component string) []Arg {
	var args []Arg
	for _, arg := range c.Extra {
		if arg.Component == component {
			args = append(args, arg)
		}
	}
	return args
}
