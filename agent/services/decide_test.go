package services_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/skiff-k8s/skiff/agent/services"
	"github.com/skiff-k8s/skiff/internal/golden"
)

func place() services.Place {
	return services.Place{
		Address: netip.MustParseAddr("127.77.220.1"), Guest: netip.MustParseAddr("192.168.127.2"),
		Reserved: map[uint16]string{2222: "ssh", 6443: "apiserver"},
	}
}

// service makes a Service; age says in which order they came, the oldest first.
func service(age int, name string, kind corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-of-" + name),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(age), 0)),
		},
		Spec: corev1.ServiceSpec{Type: kind, Ports: ports},
	}
}

func port(name string, number, node int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: number, NodePort: node, Protocol: corev1.ProtocolTCP}
}

func with(s *corev1.Service, change func(*corev1.Service)) *corev1.Service {
	change(s)
	return s
}

func ours(s *corev1.Service) {
	mode := corev1.LoadBalancerIPModeProxy
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "127.77.220.1", IPMode: &mode}}
}

// readable writes a decision as a person would check it.
func readable(d services.Decision) string {
	var b strings.Builder
	for _, r := range d.Publish {
		if r.Refused != "" {
			continue
		}
		fmt.Fprintf(&b, "publish %s/%d of %s (%s) to %s\n", r.Protocol, r.Port, r.Service, r.Name, r.Guest)
	}
	for _, s := range d.Statuses {
		fmt.Fprintf(&b, "status of %s:", s.Service.Name)
		for _, i := range s.Ingress {
			fmt.Fprintf(&b, " %s %s", i.IP, *i.IPMode)
		}
		b.WriteString("\n")
	}
	for _, r := range d.Refused {
		fmt.Fprintf(&b, "refuse %s: %s\n", r.Service.Name, r.Reason)
	}
	return b.String()
}

func TestDecide(t *testing.T) {
	t.Parallel()
	class := "example.com/other"
	const lb, np, ip = corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort, corev1.ServiceTypeClusterIP
	for name, list := range map[string][]*corev1.Service{
		"nothing":       nil,
		"load-balancer": {service(1, "web", lb, port("http", 80, 30080), port("https", 443, 30443))},
		"node-port":     {service(1, "web", np, port("", 8080, 30080))},
		"not-for-us": {
			service(1, "kubernetes", ip, port("https", 443, 0)),
			service(2, "name", corev1.ServiceTypeExternalName),
			with(service(3, "classy", lb, port("http", 80, 30080)), func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }),
		},
		"written-already":    {with(service(1, "web", lb, port("http", 80, 30080)), ours)},
		"older-wins":         {service(2, "young", lb, port("http", 80, 30081)), service(1, "old", lb, port("http", 80, 30080))},
		"reserved":           {service(1, "mine", lb, port("ssh", 2222, 30022), port("http", 80, 30080))},
		"loses-what-it-had":  {service(1, "old", lb, port("http", 80, 30080)), with(service(2, "young", lb, port("http", 80, 30081)), ours)},
		"no-node-ports":      {service(1, "web", lb, port("http", 80, 0))},
		"balancer-over-node": {service(1, "node", np, port("http", 80, 30080)), service(2, "web", lb, port("http", 30080, 31000))},
		"protocols": {service(1, "dns", lb,
			corev1.ServicePort{Name: "udp", Port: 53, NodePort: 30053, Protocol: corev1.ProtocolUDP},
			corev1.ServicePort{Name: "tcp", Port: 53, NodePort: 30054},
			corev1.ServicePort{Name: "sctp", Port: 54, NodePort: 30055, Protocol: corev1.ProtocolSCTP})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden.Compare(t, "testdata/"+name+".golden", []byte(readable(services.Decide(list, place()))))
		})
	}
}

// Where the machine has an address in a network of the host, a Service that got all of its ports is there too.
func TestDecideJoined(t *testing.T) {
	t.Parallel()
	const lb = corev1.ServiceTypeLoadBalancer
	joined := place()
	joined.Joined = netip.MustParseAddr("192.168.150.254")
	written := func(s *corev1.Service) {
		vip := corev1.LoadBalancerIPModeVIP
		ours(s)
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: "192.168.150.254", IPMode: &vip})
	}
	for name, list := range map[string][]*corev1.Service{
		"joined":                 {service(1, "web", lb, port("http", 80, 30080), port("https", 443, 30443))},
		"joined-later":           {with(service(1, "web", lb, port("http", 80, 30080)), ours)},
		"joined-written-already": {with(service(1, "web", lb, port("http", 80, 30080)), written)},
		"joined-not-whole":       {service(1, "old", lb, port("http", 80, 30080)), with(service(2, "young", lb, port("http", 80, 30081), port("https", 443, 30444)), written)},
		"joined-loses-all":       {service(1, "old", lb, port("http", 80, 30080)), with(service(2, "young", lb, port("http", 80, 30081)), written)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden.Compare(t, "testdata/"+name+".golden", []byte(readable(services.Decide(list, joined))))
		})
	}
}
