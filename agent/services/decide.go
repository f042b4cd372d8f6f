// Package services decides which ports of a cluster's Services are published on the cluster's loopback address, and tells
// Kubernetes so. Opening the ports is package publish's.
package services

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/skiff-k8s/skiff/agent/publish"
)

// Place is where Services are published.
type Place struct {
	Address  netip.Addr        // the cluster's loopback address
	Guest    netip.Addr        // where kube-proxy answers at node ports
	Joined   netip.Addr        // the machine's in a network of the host; the zero Addr when there is none
	Reserved map[uint16]string // TCP ports of Address that skiff itself needs, and what for
}

// Decision is what follows from the Services of a cluster.
type Decision struct {
	Publish  []publish.Request // in the order of the Services' age; those that lost a port have Refused set
	Statuses []Status          // only those that differ from what Kubernetes has
	Refused  []Refusal
}

// Status is the load balancer status that a Service should have.
type Status struct {
	Service *corev1.Service
	Ingress []corev1.LoadBalancerIngress // empty: none
}

// Refusal is a port that a Service asked for and does not get.
type Refusal struct {
	Service *corev1.Service
	Reason  string // a sentence
}

// Decide is the whole policy. Services of type LoadBalancer get each port at its own number, and they and those of type
// NodePort get the node ports at theirs. Of two Services that want the same port the older gets it. Services with a
// load balancer class belong to somebody else (Kubernetes documentation, "Specifying class of load balancer
// implementation"). It changes nothing that it is given.
func Decide(list []*corev1.Service, place Place) Decision {
	sorted := slices.SortedFunc(slices.Values(list), older)
	d := decider{place: place, owners: map[key]string{}}
	for number, name := range place.Reserved {
		d.owners[key{publish.TCP, number}] = "skiff itself (" + name + ")"
	}
	// Load balancer ports first: a node port is a number that nobody chose, mostly.
	for _, service := range sorted {
		if balanced(service) {
			d.balance(service)
		}
	}
	for _, service := range sorted {
		if balanced(service) || service.Spec.Type == corev1.ServiceTypeNodePort {
			d.nodePorts(service)
		}
	}
	return d.Decision
}

// balanced reports whether the Service wants this load balancer.
func balanced(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil
}

func older(a, b *corev1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

type key struct {
	protocol publish.Protocol
	number   uint16
}

type decider struct {
	Decision
	place  Place
	owners map[key]string
}

func (d *decider) balance(service *corev1.Service) {
	published, whole := false, true
	for _, port := range service.Spec.Ports {
		request := d.request(service, port, port.Port)
		if port.NodePort == 0 && request.Refused == "" {
			request.Refused = fmt.Sprintf("port %d has no node port to lead to (allocateLoadBalancerNodePorts is off)", port.Port)
		}
		ok := d.add(service, request)
		published, whole = published || ok, whole && ok
	}
	d.status(service, published, published && whole)
}

func (d *decider) nodePorts(service *corev1.Service) {
	for _, port := range service.Spec.Ports {
		if port.NodePort != 0 {
			d.add(service, d.request(service, port, port.NodePort))
		}
	}
}

// request is the wish to have port, of the number on the host, lead to its node port.
func (d *decider) request(service *corev1.Service, port corev1.ServicePort, number int32) publish.Request {
	request := publish.Request{
		Name: cmp.Or(port.Name, fmt.Sprint(port.Port)), Namespace: service.Namespace, Service: service.Name,
		Port: uint16(number), Guest: netip.AddrPortFrom(d.place.Guest, uint16(port.NodePort)),
	}
	switch port.Protocol {
	case corev1.ProtocolUDP:
		request.Protocol = publish.UDP
	case corev1.ProtocolTCP, "":
		request.Protocol = publish.TCP
	default:
		request.Protocol = publish.Protocol(port.Protocol)
		request.Refused = fmt.Sprintf("port %d speaks %s, and only TCP and UDP can be published", number, port.Protocol)
	}
	return request
}

// add gives the request its port if nobody has it, and reports whether.
func (d *decider) add(service *corev1.Service, request publish.Request) bool {
	owner, taken := d.owners[key{request.Protocol, request.Port}]
	if taken && request.Refused == "" {
		request.Refused = fmt.Sprintf("port %d of %s belongs to %s", request.Port, d.place.Address, owner)
	}
	d.Publish = append(d.Publish, request)
	if request.Refused != "" {
		d.refuse(service, request.Refused)
		return false
	}
	d.owners[key{request.Protocol, request.Port}] = "Service " + service.Namespace + "/" + service.Name
	return true
}

func (d *decider) refuse(service *corev1.Service, reason string) {
	d.Refused = append(d.Refused, Refusal{service, reason})
}

// status notes the status to write, if it differs. Mode Proxy tells kube-proxy not to answer for the address inside the
// cluster (Kubernetes documentation, "Specifying IPMode of load balancer status"). At the address in the host's network it
// is kube-proxy that answers, at all ports of the Service: so only a Service that got all of them is there.
func (d *decider) status(service *corev1.Service, published, whole bool) {
	proxy, vip := corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP
	var want []corev1.LoadBalancerIngress
	if published {
		want = append(want, corev1.LoadBalancerIngress{IP: d.place.Address.String(), IPMode: &proxy})
	}
	if whole && d.place.Joined.IsValid() {
		want = append(want, corev1.LoadBalancerIngress{IP: d.place.Joined.String(), IPMode: &vip})
	}
	has := service.Status.LoadBalancer.Ingress
	ours := len(has) > 0 && has[0].IP == d.place.Address.String()
	if !slices.EqualFunc(has, want, sameIngress) && (published || ours) {
		d.Statuses = append(d.Statuses, Status{service, want})
	}
}

func sameIngress(a, b corev1.LoadBalancerIngress) bool {
	return a.IP == b.IP && a.IPMode != nil && *a.IPMode == *b.IPMode
}
