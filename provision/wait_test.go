package provision

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

func node(ready core.ConditionStatus) *core.Node {
	return &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: "skiff"},
		Status: core.NodeStatus{Conditions: []core.NodeCondition{{
			Type: core.NodeReady, Status: ready, Reason: "KubeletNotReady", Message: "no CNI configuration",
		}}},
	}
}

// A condition must see a change by its watch, and say what was missing when time is over.
func TestNodeReady(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset(node(core.ConditionFalse))
	condition := NodeReady(client, "skiff")
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := condition.Wait(short); err == nil || !strings.Contains(err.Error(), "no CNI configuration") {
		t.Errorf("got %v, want why the node is not Ready", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- condition.Wait(t.Context()) }()
	for watching(client) < 2 { // until the watch is there
		time.Sleep(time.Millisecond)
	}
	if _, err := client.CoreV1().Nodes().Update(t.Context(), node(core.ConditionTrue), meta.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func watching(client *fake.Clientset) int {
	count := 0
	for _, action := range client.Actions() {
		if action.GetVerb() == "watch" {
			count++
		}
	}
	return count
}

func TestSystemPods(t *testing.T) {
	t.Parallel()
	pods := map[string]runtime.Object{}
	add := func(name string, phase core.PodPhase, waiting string) {
		pod := &core.Pod{ObjectMeta: meta.ObjectMeta{Name: name}, Status: core.PodStatus{Phase: phase}}
		if waiting != "" {
			pod.Status.ContainerStatuses = []core.ContainerStatus{{
				State: core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: waiting}},
			}}
		}
		pods[name] = pod
	}
	for _, name := range []string{"etcd-skiff", "kube-apiserver-skiff", "kube-controller-manager-skiff", "kube-scheduler-skiff", "kube-proxy-abcde"} {
		add(name, core.PodRunning, "")
	}
	for _, test := range []struct {
		phase   core.PodPhase
		waiting string
		want    string
	}{
		{"", "", "coredns has no pod"},
		{core.PodPending, "ImagePullBackOff", "coredns-1 is Pending (ImagePullBackOff)"},
		{core.PodRunning, "", ""},
	} {
		if test.phase != "" {
			add("coredns-1", test.phase, test.waiting)
		}
		got := ""
		if err := systemPods(pods); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestWaitNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset(&core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: "default", Namespace: "default"}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var met []string
	err := Wait(ctx, testConfig(), nil, []Condition{NodeReady(client, "skiff"), DefaultServiceAccount(client)}, func(c Condition) { met = append(met, c.String()) })
	if !fail.Is(err, fail.WaitTimeout) || !strings.Contains(err.Error(), "node skiff is Ready: it has not registered yet") {
		t.Errorf("got %v, want WAIT_TIMEOUT that names the node", err)
	}
	if len(met) != 1 || met[0] != "the default service account exists" {
		t.Errorf("got %q met, want the service account", met)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if err := Wait(cancelled, testConfig(), nil, []Condition{NodeReady(client, "skiff")}, nil); !errors.Is(err, context.Canceled) || fail.Is(err, fail.WaitTimeout) {
		t.Errorf("got %v, want the cancellation", err)
	}
}

// dnsServer answers TCP queries with addr, and the first of them not at all.
func dnsServer(t *testing.T, addr netip.Addr) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for i := 0; ; i++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if i > 0 {
				serveDNS(conn, addr)
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func serveDNS(conn net.Conn, addr netip.Addr) {
	buffer := make([]byte, 512)
	n, err := conn.Read(buffer)
	var query dnsmessage.Message
	if err != nil || query.Unpack(buffer[2:n]) != nil {
		return
	}
	query.Response = true
	query.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: query.Questions[0].Name, Class: dnsmessage.ClassINET},
		Body:   &dnsmessage.AResource{A: addr.As4()},
	}}
	packed, err := query.Pack()
	if err == nil {
		_, _ = conn.Write(append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...))
	}
}

// rerouted is a Runner whose connections all go to one address.
type rerouted struct {
	machine.Runner
	to   string
	over interface {
		Dial(ctx context.Context, network, addr string) (net.Conn, error)
	}
	asked string
}

func (r *rerouted) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.asked = addr
	return r.over.Dial(ctx, network, r.to)
}

func TestClusterDNS(t *testing.T) {
	t.Parallel()
	ready := true
	slice := &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{Name: "kube-dns-1", Namespace: "kube-system", Labels: map[string]string{discovery.LabelServiceName: "kube-dns"}},
		Endpoints:  []discovery.Endpoint{{Conditions: discovery.EndpointConditions{Ready: &ready}}},
	}
	forward := sshtest.Start(t, nil).Runner(t)
	for name, test := range map[string]struct {
		answer string
		slice  []runtime.Object
		want   string
	}{
		"right":       {"10.96.0.1", []runtime.Object{slice}, ""},
		"wrong":       {"10.9.9.9", []runtime.Object{slice}, "it says 10.9.9.9"},
		"no endpoint": {"10.96.0.1", nil, "no pod of CoreDNS is ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &rerouted{to: dnsServer(t, netip.MustParseAddr(test.answer)), over: forward}
			limit := time.Minute
			if test.want != "" {
				limit = 5 * time.Second // enough for an answer on a busy host
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := ClusterDNS(runner, testConfig(), fake.NewClientset(test.slice...)).Wait(ctx)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			case test.want == "" && runner.asked != "10.96.0.10:53":
				t.Errorf("asked %q, want the Service's address", runner.asked)
			}
		})
	}
}

// thisHost runs commands on this host, without forwarding.
type thisHost struct{ machine.Runner }

func TestLookUpWithoutForwarding(t *testing.T) {
	t.Parallel()
	runner := thisHost{sshtest.Start(t, nil).Runner(t)}
	_, err := lookUp(t.Context(), runner, netip.MustParseAddr("127.0.0.1"), "kubernetes.default.svc.cluster.local.")
	if err == nil || !strings.Contains(err.Error(), "bash") { // nothing answers there
		t.Errorf("got %v, want an error of the command", err)
	}
}
