package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// forwardingAPI is an API server with the pod d/web, whose every port answers what it gets in capitals, after its own number. It
// speaks SPDY through a WebSocket, as the API server has since Kubernetes 1.31 (KEP-4006). A value in broken breaks the
// connection of a port forward.
func forwardingAPI(t *testing.T) (api *httptest.Server, broken chan<- struct{}) {
	t.Helper()
	breaks := make(chan struct{})
	upgrader := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}, CheckOrigin: func(*http.Request) bool { return true }}
	api = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/d/pods/web/portforward" || r.Header.Get("Authorization") != "Bearer "+secret {
			http.Error(w, `pods "`+r.URL.Path+`" not found`, http.StatusNotFound)
			return
		}
		upgraded, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		tunnel := portforward.NewTunnelingConnection("server", upgraded)
		streams, err := spdy.NewServerConnection(tunnel, func(stream httpstream.Stream, replied <-chan struct{}) error {
			go func() {
				<-replied
				if stream.Headers().Get("streamType") == "data" {
					shout(stream)
				}
				_ = stream.Close() // of the two streams of a connection, the one for errors ends without any
			}()
			return nil
		})
		if err != nil {
			t.Errorf("speak SPDY: %v", err)
			return
		}
		defer func() { _ = streams.Close() }()
		select {
		case <-streams.CloseChan():
		case <-breaks:
		}
	}))
	t.Cleanup(api.Close)
	return api, breaks
}

// shout answers on a stream of a port until there is nothing more to answer.
func shout(stream httpstream.Stream) {
	_, _ = fmt.Fprintf(stream, "%s:", stream.Headers().Get("port"))
	buffer := make([]byte, 64<<10)
	for {
		n, err := stream.Read(buffer)
		_, _ = stream.Write(bytes.ToUpper(buffer[:n]))
		if err != nil {
			return
		}
	}
}

func dial(t *testing.T, port string) (net.Conn, error) {
	t.Helper()
	var dialer net.Dialer
	return dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
}

// refused waits until nothing listens on a port.
func refused(t *testing.T, port string) {
	t.Helper()
	for {
		conn, err := dial(t, port)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// through sends a text through a forwarded port, and checks the answer.
func through(t *testing.T, port, sent, want string) {
	t.Helper()
	conn, err := dial(t, port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != want {
		t.Errorf("through port %s: got %.80q (%d bytes) and %v, want %.80q (%d bytes)", port, got, len(got), err, want, len(want))
	}
}

func (s *served) forward(t *testing.T, asked Forward) (Forward, Problem, int) {
	t.Helper()
	body, _ := json.Marshal(asked)
	response := s.do(t, "POST", "/clusters/dev/portforward", string(body), nil)
	var begun Forward
	var problem Problem
	into := any(&begun)
	if response.StatusCode != http.StatusOK {
		into = &problem
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	return begun, problem, response.StatusCode
}

func (s *served) forwarded(t *testing.T) []Forward {
	t.Helper()
	var list []Forward
	if err := json.NewDecoder(s.do(t, "GET", "/clusters/dev/portforward/list", "", nil).Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestForward(t *testing.T) {
	t.Parallel()
	api, _ := forwardingAPI(t)
	s := serve(t, api)
	first, _, code := s.forward(t, Forward{Namespace: "d", Pod: "web", TargetPort: "8080", Service: "shop", ServiceNamespace: "d"})
	if code != http.StatusOK || first.ID == "" || first.Status != "Running" || first.Cluster != "dev" {
		t.Fatalf("forward without a port: got %d %+v, want one that runs", code, first)
	}
	through(t, first.Port, "hello", "8080:HELLO")
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	through(t, first.Port, large, "8080:"+strings.ToUpper(large))

	second, _, code := s.forward(t, Forward{Namespace: "d", Pod: "web", TargetPort: "9090"})
	if code != http.StatusOK || second.ID == first.ID || second.Port == first.Port {
		t.Fatalf("a second forward: got %d %+v, want another ID and port than %+v", code, second, first)
	}
	through(t, second.Port, "x", "9090:X")
	if list := s.forwarded(t); len(list) != 2 || list[0] != first || list[1] != second {
		t.Errorf("list: got %+v, want %+v and %+v", list, first, second)
	}

	// One that is stopped stays in the list; its port is free, and is had again when it is chosen.
	s.do(t, "DELETE", "/clusters/dev/portforward", `{"id":"`+first.ID+`","stopOrDelete":true}`, nil)
	refused(t, first.Port)
	if list := s.forwarded(t); len(list) != 2 || list[0].Status != "Stopped" || list[0].Error != "" || list[1].Status != "Running" {
		t.Errorf("list after a stop: got %+v, want the first stopped without an error", list)
	}
	again, _, code := s.forward(t, Forward{ID: first.ID, Namespace: "d", Pod: "web", TargetPort: "8080", Port: first.Port})
	if code != http.StatusOK || again.ID != first.ID || again.Port != first.Port {
		t.Fatalf("the stopped one begun again at its port: got %d %+v, want ID %s and port %s", code, again, first.ID, first.Port)
	}
	through(t, again.Port, "again", "8080:AGAIN")

	// A taken port is refused: one of another program, and one of another forward.
	var listen net.ListenConfig
	other, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for _, port := range []string{strconv.Itoa(other.Addr().(*net.TCPAddr).Port), second.Port} {
		_, problem, code := s.forward(t, Forward{Namespace: "d", Pod: "web", TargetPort: "8080", Port: port})
		if code != http.StatusConflict || problem.ID != string(fail.PortInUse) || !strings.Contains(problem.Message, "port "+port+" of 127.0.0.1 is taken") || !strings.Contains(problem.Advice, "another port") {
			t.Errorf("forward at taken port %s: got %d %+v, want 409 that says so and advises another port", port, code, problem)
		}
	}
	if _, problem, code := s.forward(t, Forward{Namespace: "d", Pod: "absent", TargetPort: "8080"}); code < 400 || !strings.Contains(problem.Message, "d/absent") {
		t.Errorf("forward to a pod that is not there: got %d %+v, want a failure that names it", code, problem)
	}
	if list := s.forwarded(t); len(list) != 2 {
		t.Errorf("list after what was refused: got %+v, want the two that run", list)
	}

	// One that is deleted is stopped, too.
	s.do(t, "DELETE", "/clusters/dev/portforward", `{"id":"`+second.ID+`"}`, nil)
	refused(t, second.Port)
	if list := s.forwarded(t); len(list) != 1 || list[0] != again {
		t.Errorf("list after a deletion: got %+v, want %+v", list, again)
	}
}

// TestForwardBreaks: a port forward whose connection to the pod breaks says so, and its port is free.
func TestForwardBreaks(t *testing.T) {
	t.Parallel()
	api, broken := forwardingAPI(t)
	s := serve(t, api)
	begun, _, _ := s.forward(t, Forward{Namespace: "d", Pod: "web", TargetPort: "8080"})
	broken <- struct{}{}
	refused(t, begun.Port)
	for s.forwarded(t)[0].Status == "Running" { // its port is free a moment before
		if t.Context().Err() != nil {
			return
		}
	}
	if one := s.forwarded(t)[0]; one.Status != "Stopped" || !strings.Contains(one.Error, "lost connection") {
		t.Errorf("a forward whose connection broke: got %+v, want it stopped with the reason", one)
	}
}

// TestForwardEndsWithTheCommand: a port forward ends with the dashboard, and Serve waits for that.
func TestForwardEndsWithTheCommand(t *testing.T) {
	t.Parallel()
	api, _ := forwardingAPI(t)
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeKubeconfig(t, kubeconfig, api)
	s := New(Options{Profile: "dev", Kubeconfig: kubeconfig, Clusters: &fakeClusters{}, Start: func(context.Context, cluster.Sink) error { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	var begun Forward
	for begun.Port == "" { // until Serve lets forwards begin
		if begun, err = s.forwards.begin(t.Context(), Forward{Namespace: "d", Pod: "web", TargetPort: "8080"}); err != nil && !fail.Is(err, fail.Interrupted) {
			t.Fatal(err)
		}
	}
	through(t, begun.Port, "hello", "8080:HELLO")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: got %v, want nil", err)
	}
	if conn, err := dial(t, begun.Port); err == nil {
		_ = conn.Close()
		t.Errorf("port %s after the end of the dashboard: got a connection, want none", begun.Port)
	}
	if list := s.forwards.all(); len(list) != 1 || list[0].Status != "Stopped" || list[0].Error != "" {
		t.Errorf("list after the end of the dashboard: got %+v, want it stopped", list)
	}
}
