package agent_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/skiff-k8s/skiff/agent/network/networktest"
)

// cluster is an API server in a fake guest, with one Service of type LoadBalancer.
type cluster struct {
	*httptest.Server
	patched chan string
}

// dropping ends the first few connections at once.
type dropping struct {
	net.Listener
	left int
}

func (d *dropping) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	for ; err == nil && d.left > 0; d.left-- {
		_ = conn.Close()
		conn, err = d.Listener.Accept()
	}
	return conn, err
}

// startCluster starts the API server; it is down for as many connections as drop says.
func startCluster(t *testing.T, guest *networktest.Guest, drop int) cluster {
	t.Helper()
	listener, err := guest.Listen("tcp", networktest.Address+":6443")
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{patched: make(chan string, 10)}
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /api/v1/services", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("sendInitialEvents") != "" { // an API server that cannot stream lists
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonInvalid, Code: 422,
			})
			return
		}
		if r.URL.Query().Get("watch") != "" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-done:
			case <-r.Context().Done():
			}
			return
		}
		_ = json.NewEncoder(w).Encode(corev1.ServiceList{
			TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			Items: []corev1.Service{{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
				Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Name: "http", Port: 8001, NodePort: 30080}}},
			}},
		})
	})
	mux.HandleFunc("GET /api/v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		full := corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}}}
		_ = json.NewEncoder(w).Encode(corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, Items: []corev1.Node{{Status: full}}})
	})
	mux.HandleFunc("PATCH /api/v1/namespaces/default/services/web/status", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.patched <- string(body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.Service{TypeMeta: metav1.TypeMeta{Kind: "Service", APIVersion: "v1"}})
	})
	c.Server = httptest.NewUnstartedServer(mux)
	_ = c.Listener.Close()
	c.Listener = &dropping{listener, drop}
	c.StartTLS()
	t.Cleanup(sync.OnceFunc(func() {
		close(done)
		c.CloseClientConnections()
		c.Close()
	}))
	return c
}

func (c cluster) kubeconfig(address string) []byte {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	text, _ := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"contexts": []any{map[string]any{"name": "test", "context": map[string]any{"cluster": "test", "user": "test"}}},
		"users":    []any{map[string]any{"name": "test", "user": map[string]any{}}},
		"clusters": []any{map[string]any{"name": "test", "cluster": map[string]any{
			"server": "https://" + address + ":6443", "certificate-authority-data": authority, "tls-server-name": "example.com",
		}}},
	})
	return text
}

// serveWeb serves what is behind the cluster's Service.
func serveWeb(t *testing.T, guest *networktest.Guest) {
	t.Helper()
	web, err := guest.Listen("tcp", networktest.Address+":30080")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	}()
	t.Cleanup(func() { _ = web.Close() })
}

// body asks url and returns what it says.
func body(t *testing.T, url string) string {
	t.Helper()
	response, err := get(t, http.DefaultClient, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPublishesServicesOfTheGuestsCluster(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.241.1")
	client := spawn(t, c)
	guest := networktest.Join(t, c.NetworkSocket)
	apiServer := startCluster(t, guest, 0)
	serveWeb(t, guest)
	if err := client.WatchKubernetes(t.Context(), []byte("nonsense")); err == nil {
		t.Error("WatchKubernetes with nonsense: got nil, want an error")
	}
	for range 2 {
		if err := client.WatchKubernetes(t.Context(), apiServer.kubeconfig("127.77.241.1")); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"status":{"loadBalancer":{"ingress":[{"ip":"127.77.241.1","ipMode":"Proxy"}]}}}`
	select {
	case got := <-apiServer.patched:
		if got != want {
			t.Errorf("the status: got %s, want %s", got, want)
		}
	case <-t.Context().Done():
		t.Fatal("the Service got no status")
	}
	if got := body(t, "http://127.77.241.1:8001"); got != "hello" {
		t.Errorf("the Service says %q, want %q", got, "hello")
	}
	got := status(t, client)
	var list []string
	for _, one := range got.Published {
		list = append(list, fmt.Sprintf("%s/%s/%s %s>%s %s", one.Namespace, one.Service, one.Name, one.Host, one.Guest, one.Error))
	}
	text := strings.Join(list, "\n")
	for _, want := range []string{
		"default/web/http 127.77.241.1:8001>192.168.127.2:30080 ", "default/web/http 127.77.241.1:30080>192.168.127.2:30080 ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %s in it", text, want)
		}
	}
	if !got.Watching || got.Health.APIServer != "" || !strings.Contains(got.Health.Kubelet, "the kubelet does not answer") {
		t.Errorf("got watching %v and health %+v, want an API server without a kubelet", got.Watching, got.Health)
	}
	if got.Health.Disk != "the machine's disk is nearly full" {
		t.Errorf("got health %+v, want the pressure on the disk that the node reports", got.Health)
	}
	if _, err := guest.Listen("tcp", networktest.Address+":10250"); err != nil {
		t.Fatal(err)
	}
	if got := status(t, client); got.Health.Kubelet != "" {
		t.Errorf("got %+v, want that the kubelet answers", got.Health)
	}
}

// An API server that is down when the watch begins must not keep its Services from being published later.
func TestWaitsForTheAPIServer(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.242.1")
	client := spawn(t, c)
	guest := networktest.Join(t, c.NetworkSocket)
	apiServer := startCluster(t, guest, 2)
	serveWeb(t, guest) // a port without anything behind it is reset, and the reset may come before the connection is used
	if err := client.Published(t.Context()); err != nil {
		t.Errorf("Published before anything is watched: %v", err)
	}
	if err := client.WatchKubernetes(t.Context(), apiServer.kubeconfig("127.77.242.1")); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := client.Published(soon); err == nil {
		t.Error("Published while the API server is down: got nil, want to wait")
	}
	if err := client.Published(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := body(t, "http://127.77.242.1:8001"); got != "hello" {
		t.Errorf("the Service says %q, want %q", got, "hello")
	}
}
