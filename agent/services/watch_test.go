package services_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/agent/services"
)

// ports is a Publisher that only remembers.
type ports struct {
	mu      sync.Mutex
	numbers []uint16
	changed chan struct{}
}

func (p *ports) Set(requests []publish.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbers = nil
	for _, request := range requests {
		if request.Refused == "" {
			p.numbers = append(p.numbers, request.Port)
		}
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// await returns once exactly these ports are published.
func (p *ports) await(t *testing.T, want ...uint16) {
	t.Helper()
	for {
		p.mu.Lock()
		got := slices.Clone(p.numbers)
		p.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-p.changed:
		case <-t.Context().Done():
			t.Fatalf("got ports %v, want %v", got, want)
		}
	}
}

func watch(t *testing.T, client *fake.Clientset) *ports {
	t.Helper()
	published := &ports{changed: make(chan struct{}, 1)}
	w := &services.Watcher{Client: client, Place: place(), Publisher: published, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	return published
}

// awaitStatus returns once the Service has the address, or has none when it is empty.
func awaitStatus(t *testing.T, client *fake.Clientset, name, want string) {
	t.Helper()
	for t.Context().Err() == nil {
		s, err := client.CoreV1().Services("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			got += ingress.IP
		}
		if got == want {
			return
		}
	}
	t.Fatalf("Service %s never had the address %q", name, want)
}

func TestFollowsServices(t *testing.T) {
	t.Parallel()
	web := service(1, "web", corev1.ServiceTypeLoadBalancer, port("http", 80, 30080))
	client := fake.NewClientset(web)
	published := watch(t, client)
	published.await(t, 80, 30080)
	awaitStatus(t, client, "web", "127.77.220.1")

	other := service(2, "other", corev1.ServiceTypeNodePort, port("http", 80, 30081))
	if _, err := client.CoreV1().Services("default").Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	published.await(t, 80, 30080, 30081)

	plain := web.DeepCopy()
	plain.Spec.Type, plain.Spec.Ports = corev1.ServiceTypeClusterIP, []corev1.ServicePort{port("http", 80, 0)}
	if _, err := client.CoreV1().Services("default").Update(t.Context(), plain, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	published.await(t, 30081)

	if err := client.CoreV1().Services("default").Delete(t.Context(), "other", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	published.await(t)
}

func TestTheLoserOfAPortIsToldOnce(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset(
		service(1, "old", corev1.ServiceTypeLoadBalancer, port("http", 80, 30080)),
		service(2, "young", corev1.ServiceTypeLoadBalancer, port("http", 80, 30081)))
	for range 2 { // an agent that has restarted says it again, in the same words
		published := watch(t, client)
		published.await(t, 80, 30080, 30081)
		awaitStatus(t, client, "old", "127.77.220.1")
	}
	for {
		events, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(events.Items) == 0 {
			continue
		}
		event := events.Items[0]
		want := "port 80 of 127.77.220.1 belongs to Service default/old"
		if len(events.Items) != 1 || event.InvolvedObject.Name != "young" || event.Message != want || event.Type != "Warning" {
			t.Errorf("got %+v, want one warning at young: %q", events.Items, want)
		}
		break
	}
	awaitStatus(t, client, "young", "")
}

func TestWritesAStatusThatFailedAgainAndARightOneNever(t *testing.T) {
	t.Parallel()
	right := with(service(1, "right", corev1.ServiceTypeLoadBalancer, port("http", 81, 30081)), ours)
	client := fake.NewClientset(right, service(2, "web", corev1.ServiceTypeLoadBalancer, port("http", 80, 30080)))
	var mu sync.Mutex
	attempts := map[string]int{}
	client.PrependReactor("patch", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		name := action.(clienttesting.PatchAction).GetName()
		attempts[name]++
		return attempts[name] < 3, nil, errors.New("the API server is busy")
	})
	watch(t, client)
	awaitStatus(t, client, "web", "127.77.220.1")
	mu.Lock()
	defer mu.Unlock()
	if attempts["web"] != 3 || attempts["right"] != 0 {
		t.Errorf("got attempts %v, want 3 for web and none for right", attempts)
	}
}

func TestDecideRefersToTheGuest(t *testing.T) {
	t.Parallel()
	d := services.Decide([]*corev1.Service{service(1, "web", corev1.ServiceTypeLoadBalancer, port("http", 80, 30080))}, place())
	if got, want := d.Publish[0].Guest, netip.MustParseAddrPort("192.168.127.2:30080"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
