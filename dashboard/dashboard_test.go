package dashboard

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

// fakeClusters is the cluster dev; its fields are what it answers.
type fakeClusters struct {
	mu         sync.Mutex
	status     cluster.Status
	err        error
	tool       string
	kubeconfig string
	calls      []string
	hold       chan struct{} // when not nil, changes take until it is closed
	addons     []cluster.AddonStatus
}

func (f *fakeClusters) call(ctx context.Context, what string, sink cluster.Sink) error {
	f.mu.Lock()
	f.calls = append(f.calls, what)
	hold, err := f.hold, f.err
	f.mu.Unlock()
	if sink != nil {
		sink(cluster.Event{Kind: cluster.Began, Index: 1, Steps: 2, Text: "Do " + what})
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (f *fakeClusters) called() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, "; ")
}

func (f *fakeClusters) set(status cluster.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

func (f *fakeClusters) Load(string) (config.Cluster, error) {
	return config.Cluster{Profile: "dev", Address: netip.MustParseAddr("127.77.1.1"), KubernetesVersion: "v1.37.2"}, nil
}

func (f *fakeClusters) Status(context.Context, string) (cluster.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, f.err
}

func (f *fakeClusters) Kubectl(context.Context, string) (tool, kubeconfig string, err error) {
	return f.tool, f.kubeconfig, f.err
}

func (f *fakeClusters) Addons(context.Context, string) ([]cluster.AddonStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.addons), f.err
}

func (f *fakeClusters) EnableAddon(ctx context.Context, _, name string, sink cluster.Sink) error {
	if err := f.call(ctx, "enable "+name, sink); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, one := range f.addons {
		f.addons[i].Enabled = one.Enabled || one.Name == name
	}
	return nil
}

func (f *fakeClusters) DisableAddon(ctx context.Context, _, name string, sink cluster.Sink) error {
	return f.call(ctx, "disable "+name, sink)
}

func (f *fakeClusters) Snapshots(context.Context, string) ([]cluster.Snapshot, error) {
	return nil, f.err
}

func (f *fakeClusters) SaveSnapshot(ctx context.Context, o cluster.SaveOptions, sink cluster.Sink) (cluster.Snapshot, error) {
	return cluster.Snapshot{Name: o.Name}, f.call(ctx, "save "+o.Name+" "+o.Description, sink)
}

func (f *fakeClusters) RestoreSnapshot(ctx context.Context, o cluster.RestoreOptions, sink cluster.Sink) (cluster.Started, error) {
	return cluster.Started{}, f.call(ctx, "restore "+o.Name, sink)
}

func (f *fakeClusters) DeleteSnapshot(ctx context.Context, _, name string, sink cluster.Sink) error {
	return f.call(ctx, "delete "+name, sink)
}

var _ Clusters = (*fakeClusters)(nil)

// served is a Server on a real port, and a browser that it has let in.
type served struct {
	*Server
	clusters *fakeClusters
	origin   string
	cookie   *http.Cookie
	client   *http.Client
}

// serve serves the dashboard of a cluster whose API server is api, which may be nil.
func serve(t *testing.T, api *httptest.Server, edit ...func(*Options)) *served {
	t.Helper()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	clusters := &fakeClusters{status: cluster.Status{Host: cluster.Running, APIServer: cluster.Running},
		addons: []cluster.AddonStatus{{Name: "ingress", Description: "Traefik", Profile: "dev", Enabled: true}}}
	options := Options{Profile: "dev", Version: "v1.2.3", Port: address.Port, Clusters: clusters, Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"),
		Start:  func(ctx context.Context, sink cluster.Sink) error { return clusters.call(ctx, "start", sink) },
		Assets: fstest.MapFS{"index.html.gz": {Data: zipped(t, "<title>skiff</title>")}, "static/a-1.js.gz": {Data: zipped(t, "let a")}}}
	if api != nil {
		writeKubeconfig(t, options.Kubeconfig, api)
	}
	for _, one := range edit {
		one(&options)
	}
	s := &served{Server: New(options), clusters: clusters, origin: "http://" + net.JoinHostPort(HostName, fmt.Sprint(address.Port))}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	s.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address.String()) // whatever the resolver makes of skiff.localhost
	}}}
	s.cookie = s.letIn(t)
	return s
}

func (s *served) letIn(t *testing.T) *http.Cookie {
	t.Helper()
	answer := s.do(t, "GET", strings.TrimPrefix(s.URL(), s.origin), "", nil)
	if answer.StatusCode != http.StatusOK || len(answer.Cookies()) != 1 {
		t.Fatalf("open: got %s with cookies %v, want 200 with one", answer.Status, answer.Cookies())
	}
	return answer.Cookies()[0]
}

// do sends a request with the cookie; headers change it, and Host is one of them.
func (s *served) do(t *testing.T, method, path, body string, headers map[string]string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.origin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if s.cookie != nil {
		request.AddCookie(s.cookie)
	}
	for name, value := range headers {
		if request.Header.Set(name, value); name == "Host" {
			request.Host = value
		}
	}
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func text(t *testing.T, response *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func zipped(t *testing.T, content string) []byte {
	t.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}

// secret is the token of the cluster's administrator in the kubeconfig.
const secret = "administrator"

func writeKubeconfig(t *testing.T, path string, api *httptest.Server) {
	t.Helper()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	encoded, _ := json.Marshal(authority) // base64
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"dev",
		"clusters":[{"name":"dev","cluster":{"server":%q,"certificate-authority-data":%s}}],
		"contexts":[{"name":"dev","context":{"cluster":"dev","user":"dev"}}],
		"users":[{"name":"dev","user":{"token":%q}}]}`, api.URL, encoded, secret)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// apiServer is an API server that tells what it was asked, in JSON, and speaks HTTP/2.
func apiServer(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echo(w, r)
			return
		}
		w.Header().Set("Set-Cookie", "theirs=1")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Content-Security-Policy", "default-src *")
		_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "query": r.URL.Query(), "header": r.Header, "proto": r.Proto})
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// echo takes a connection over, tells the header of the request, and sends back what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Seen: %s|%s|%s|%s\r\n\r\n",
		r.Header.Get("Origin"), r.Header.Get("Cookie"), r.Header.Get("Sec-Websocket-Protocol"), r.Header.Get("Authorization"))
	_, _ = io.Copy(conn, buffered)
}

func TestToken(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.cookie = nil
	used := strings.TrimPrefix(s.URL(), s.origin)
	first := s.do(t, "GET", used, "", map[string]string{"Sec-Fetch-Site": "cross-site"}) // as from a file, or a link in a chat
	if got := first.Header.Get("Refresh"); first.StatusCode != http.StatusOK || got != "0; url=/" {
		t.Errorf("open: got %s with Refresh %q, want 200 that leads on: a redirect would lose the cookie", first.Status, got)
	}
	cookie := first.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Name != "skiff-"+portOf(s.host) {
		t.Errorf("cookie: got %+v, want one of this port, HttpOnly and SameSite=Strict", cookie)
	}
	for name, path := range map[string]string{"used": used, "wrong": openPath + "?token=wrong", "empty": openPath + "?token=", "none": openPath} {
		if got := s.do(t, "GET", path, "", nil); got.StatusCode != http.StatusForbidden || len(got.Cookies()) > 0 || !strings.Contains(text(t, got), "skiff dashboard") {
			t.Errorf("token that is %s: got %s with cookies %v, want 403 that says what to run, without a cookie", name, got.Status, got.Cookies())
		}
	}
	if got := s.do(t, "POST", strings.TrimPrefix(s.URL(), s.origin), "", nil); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST of a token: got %s, want 401", got.Status)
	}
}

func TestTokenEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := newTokens(time.Now)
		old, kept := all.mint(), all.mint()
		time.Sleep(tokenLife)
		if !all.spend(kept) {
			t.Errorf("a token of %s: got refused, want good", tokenLife)
		}
		time.Sleep(time.Second)
		if all.spend(old) {
			t.Errorf("a token of more than %s: got good, want refused", tokenLife)
		}
		all.mint()
		if all.mint(); len(all.good) != 2 {
			t.Errorf("tokens: got %d, want 2: those that ended are forgotten", len(all.good))
		}
	})
}

func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	s := serve(t, apiServer(t))
	port := portOf(s.host)
	for _, test := range []struct {
		name    string
		method  string
		path    string
		headers map[string]string
		want    int
	}{
		{"the page", "GET", "/", nil, 200},
		{"a link in the page", "GET", "/", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"an address that was typed", "GET", "/", map[string]string{"Sec-Fetch-Site": "none"}, 200},
		{"its own request", "POST", "/skiff/start", map[string]string{"Origin": s.origin, "Sec-Fetch-Site": "same-origin"}, 202},
		{"without the cookie", "GET", "/skiff/state", map[string]string{"Cookie": ""}, 401},
		{"a wrong cookie", "GET", "/skiff/state", map[string]string{"Cookie": "skiff-" + port + "=wrong"}, 401},
		{"the cookie of another port", "GET", "/skiff/state", map[string]string{"Cookie": "skiff-1=" + s.tokens.cookie}, 401},
		{"another name of the host", "GET", "/skiff/state", map[string]string{"Host": "127.0.0.1:" + port}, 421},
		{"a foreign name", "GET", "/skiff/state", map[string]string{"Host": "evil.example:" + port}, 421},
		{"its name without the port", "GET", "/skiff/state", map[string]string{"Host": HostName}, 421},
		{"its name with a dot", "GET", "/skiff/state", map[string]string{"Host": HostName + ".:" + port}, 421},
		{"a foreign name with a token", "GET", openPath, map[string]string{"Host": "evil.example:" + port}, 421},
		{"a foreign origin", "GET", "/skiff/state", map[string]string{"Origin": "http://evil.example"}, 403},
		{"another port's origin", "GET", "/skiff/state", map[string]string{"Origin": "http://" + HostName + ":1"}, 403},
		{"the origin of a sandbox", "POST", "/skiff/start", map[string]string{"Origin": "null"}, 403},
		{"another site", "GET", "/skiff/state", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another port", "GET", "/skiff/state", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"a form of another site", "POST", "/skiff/start", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a file of another site", "GET", "/static/a-1.js", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a WebSocket of another site", "GET", "/clusters/dev/api/v1/pods", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "http://evil.example"}, 403},
		{"a WebSocket without the cookie", "GET", "/clusters/dev/api/v1/pods", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Cookie": ""}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.do(t, test.method, test.path, "", test.headers)
			if got.StatusCode != test.want {
				t.Errorf("%s %s with %v: got %s, want %d", test.method, test.path, test.headers, got.Status, test.want)
			}
			for name, want := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
				if !strings.Contains(got.Header.Get(name), want) {
					t.Errorf("%s: got %q, want %q in it", name, got.Header.Get(name), want)
				}
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	got := s.do(t, "GET", "/", "", nil).Header.Get("Content-Security-Policy")
	for _, want := range []string{"script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'", "style-src 'self' 'unsafe-inline'"} {
		if !strings.Contains(got+";", want) {
			t.Errorf("policy: got %q, want %q in it", got, want)
		}
	}
}

// seen is what apiServer answers with.
type seen struct {
	Path, Proto string
	Query       map[string][]string
	Header      http.Header
}

func (s *served) seen(t *testing.T, path string, headers map[string]string) (seen, http.Header) {
	t.Helper()
	response := s.do(t, "GET", path, "", headers)
	var got seen
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: got %s and %v, want what the API server was asked", path, response.Status, err)
	}
	return got, response.Header
}

func TestProxy(t *testing.T) {
	t.Parallel()
	s := serve(t, apiServer(t))
	got, header := s.seen(t, "/clusters/dev/api/v1/namespaces/default/pods?limit=5", map[string]string{
		"Origin": s.origin, "Referer": s.origin + "/", "Authorization": "Bearer mine", "X-Forwarded-For": "1.2.3.4",
	})
	if got.Path != "/api/v1/namespaces/default/pods" || got.Query["limit"][0] != "5" || got.Proto != "HTTP/2.0" {
		t.Errorf("request: got %+v, want the path and query over HTTP/2", got)
	}
	for name, want := range map[string]string{"Cookie": "", "Origin": "", "Referer": "", "Authorization": "Bearer " + secret, "X-Forwarded-For": ""} {
		if have := got.Header.Get(name); have != want {
			t.Errorf("%s at the API server: got %q, want %q", name, have, want)
		}
	}
	if policies := header.Values("Content-Security-Policy"); len(policies) != 1 || policies[0] != sealedPolicy {
		t.Errorf("policy of an answer: got %q, want only %q", policies, sealedPolicy)
	}
	for _, name := range []string{"Set-Cookie", "Access-Control-Allow-Origin"} {
		if header.Get(name) != "" {
			t.Errorf("%s of an answer: got %q, want none", name, header.Get(name))
		}
	}
	if other := s.do(t, "GET", "/clusters/other/api/v1/pods", "", nil); other.StatusCode != http.StatusNotFound {
		t.Errorf("another cluster: got %s, want 404", other.Status)
	}
}

func TestWatchesLast(t *testing.T) {
	t.Parallel()
	s := serve(t, apiServer(t))
	for path, want := range map[string]string{
		"api/v1/pods?watch=1":                       watchSeconds,
		"api/v1/pods?watch=true&timeoutSeconds=600": watchSeconds,
		"api/v1/pods?watch=0":                       "",
		"api/v1/pods?timeoutSeconds=5":              "5",
	} {
		got, _ := s.seen(t, "/clusters/dev/"+path, nil)
		if have := strings.Join(got.Query["timeoutSeconds"], ","); have != want {
			t.Errorf("%s: got timeoutSeconds=%s, want %s", path, have, want)
		}
	}
}

// TestWatchesOutliveTheServersTimeout: an API server ends a watch after its --min-request-timeout, unless the watch asks for
// longer (k8s.io/apiserver, pkg/endpoints/handlers/get.go). What happens after that time still arrives.
func TestWatchesOutliveTheServersTimeout(t *testing.T) {
	t.Parallel()
	const minRequestTimeout = 1800 // seconds
	passed, added, watching := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		watching <- struct{}{}
		<-passed
		if asked, _ := strconv.Atoi(r.FormValue("timeoutSeconds")); asked <= minRequestTimeout {
			return
		}
		<-added
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	api.EnableHTTP2 = true
	api.StartTLS()
	t.Cleanup(api.Close)
	s := serve(t, api)
	watches := []string{"/api/v1/pods", "/apis/apps/v1/deployments"}
	var bodies []io.Reader
	for _, path := range watches {
		bodies = append(bodies, s.do(t, "GET", "/clusters/dev"+path+"?watch=1&resourceVersion=1", "", nil).Body)
		<-watching
	}
	close(passed)
	close(added)
	for i, path := range watches {
		if got, err := io.ReadAll(bodies[i]); err != nil || string(got) != path {
			t.Errorf("watch of %s after the server's timeout: got %q and %v, want what was added", path, got, err)
		}
	}
}

// TestLogsAreBounded: a log may have gigabytes, and the page keeps the last lines of it.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, apiServer(t))
	for path, want := range map[string]string{
		"api/v1/namespaces/d/pods/web/log?follow=true":                     "10000",
		"api/v1/namespaces/d/pods/web/log?follow=true&tailLines=100":       "100",
		"api/v1/namespaces/d/pods/web/log?tailLines=0":                     "0",
		"api/v1/namespaces/d/pods/web/log?tailLines=-1":                    "10000",
		"api/v1/namespaces/d/pods/web/log?tailLines=10001":                 "10000",
		"api/v1/namespaces/d/pods/web/log?tailLines=x":                     "10000",
		"api/v1/namespaces/d/pods/log?container=web":                       "",
		"api/v1/namespaces/log/pods":                                       "",
		"apis/apps/v1/namespaces/d/deployments/log?tailLines=untouched":    "untouched",
		"apis/example.com/v1/namespaces/d/widgets/w/log?tailLines=20000":   "20000",
		"api/v1/namespaces/d/pods/web/log?tailLines=20000&follow=false":    "10000",
		"api/v1/namespaces/d/pods/web/log?limitBytes=5&sinceTime=2031&a=b": "10000",
	} {
		got, _ := s.seen(t, "/clusters/dev/"+path, nil)
		if have := strings.Join(got.Query["tailLines"], ","); have != want {
			t.Errorf("%s: got tailLines=%s, want %s", path, have, want)
		}
		if strings.Contains(path, "a=b") && (got.Query["limitBytes"][0] != "5" || got.Query["sinceTime"][0] != "2031") {
			t.Errorf("%s: got %v, want the rest of the query as it was", path, got.Query)
		}
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	api := apiServer(t)
	s := serve(t, api)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+portOf(s.host))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "GET /clusters/dev/api/v1/namespaces/d/pods/p/exec HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nCookie: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Protocol: v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.bWluZQ\r\n\r\n", s.host, s.origin, s.cookie)
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	head := string(buffer[:n])
	if !strings.HasPrefix(head, "HTTP/1.1 101") || !strings.Contains(head, "X-Seen: "+api.URL+"||v4.channel.k8s.io|Bearer "+secret+"\r\n") {
		t.Fatalf("upgrade: got %q, want 101 of a request with the API server's own origin, without Cookie and the browser's token", head)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, buffer[:5]); err != nil || string(buffer[:5]) != "hello" {
		t.Errorf("echo: got %q and %v, want hello", buffer[:5], err)
	}
}

func TestNoPagesOfWorkloads(t *testing.T) {
	t.Parallel()
	s := serve(t, apiServer(t))
	for path, refused := range map[string]bool{
		"api/v1/namespaces/d/services/web/proxy/":          true,
		"api/v1/namespaces/d/services/http:web:80/proxy":   true,
		"api/v1/namespaces/d/pods/web:8080/proxy/index":    true,
		"api/v1/nodes/skiff:10250/proxy/logs/":             true,
		"api/v1/namespaces/d/pods/web/%70roxy/":            true,
		"api/v1/namespaces/d/pods/web%2fproxy/":            true,
		"api/v1/namespaces/d/pods/x%2f%2e%2e/web/proxy/":   true,
		"api/v1/namespaces/d/x/%2e%2e/pods/web/proxy/":     true,
		"api/v1/namespaces/d//pods/web/proxy/":             true,
		"api/v1/proxy/namespaces/d/pods/web/":              true,
		"api/v1/namespaces/d/pods/web/log?container=proxy": false,
		"api/v1/namespaces/d/pods/proxy":                   false,
		"api/v1/namespaces/proxy/pods":                     false,
		"api/v1/namespaces/proxy/services/web":             false,
		"api/v1/nodes/skiff":                               false,
		"apis/apps/v1/namespaces/d/deployments/web/scale":  false,
		"apis/metrics.k8s.io/v1beta1/nodes":                false,
	} {
		got := s.do(t, "GET", "/clusters/dev/"+path, "", nil)
		if (got.StatusCode != http.StatusOK) != refused {
			t.Errorf("%s: got %s, want refused %v", path, got.Status, refused)
		}
	}
}

func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	api := apiServer(t)
	s := serve(t, api)
	api.Close()
	got := s.do(t, "GET", "/clusters/dev/version", "", nil)
	if body := text(t, got); got.StatusCode != http.StatusBadGateway || !strings.Contains(body, `"kind":"Status"`) {
		t.Errorf("without an API server: got %s %s, want 502 as a Status", got.Status, body)
	}
	// The cluster is recreated, with other keys: the next request uses them.
	again := apiServer(t)
	writeKubeconfig(t, s.options.Kubeconfig, again)
	s.seen(t, "/clusters/dev/version", nil)
	if err := os.Remove(s.options.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	if got := s.do(t, "GET", "/clusters/dev/version", "", nil); got.StatusCode != http.StatusBadGateway {
		t.Errorf("without a kubeconfig: got %s, want 502", got.Status)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for path, want := range map[string]string{
		"/": "<title>skiff</title>", "/c/dev/pods": "<title>skiff</title>", "/c/dev/customresources/a.example.com": "<title>skiff</title>",
		"/static/a-1.js": "let a", "/static/absent.js": "404 page not found\n", "/favicon.ico": "404 page not found\n",
	} {
		response := s.do(t, "GET", path, "", nil)
		if got := text(t, response); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
		if keep := response.Header.Get("Cache-Control"); strings.Contains(keep, "immutable") != (want == "let a") {
			t.Errorf("%s: got Cache-Control %q", path, keep)
		}
	}
	plain := s.do(t, "GET", "/static/a-1.js", "", map[string]string{"Accept-Encoding": "identity"})
	if got := text(t, plain); got != "let a" || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("for a browser without gzip: got %q as %q", got, plain.Header.Get("Content-Encoding"))
	}
	if got := s.do(t, "GET", "/static/a-1.js", "", map[string]string{"Accept-Encoding": "gzip"}); got.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("for a browser with gzip: got it as %q", got.Header.Get("Content-Encoding"))
	}
	none := serve(t, nil, func(o *Options) { o.Assets = fstest.MapFS{} })
	if got := text(t, none.do(t, "GET", "/", "", nil)); !strings.Contains(got, "make dashboard build") {
		t.Errorf("built without the page: got %q, want it to say how to build it", got)
	}
}

func TestLicenses(t *testing.T) {
	t.Parallel()
	if got, err := licenses(fstest.MapFS{"licenses.txt.gz": {Data: zipped(t, "MIT")}}); err != nil || string(got) != "MIT" {
		t.Errorf("licences: got %q and %v, want MIT", got, err)
	}
	if _, err := licenses(fstest.MapFS{}); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("licences of a program without the page: got %v, want %v", err, ErrNotBuilt)
	}
}

func TestPhases(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for want, status := range map[Phase]cluster.Status{
		Running:  {Host: cluster.Running, APIServer: cluster.Running},
		Starting: {Host: cluster.Running, APIServer: cluster.Stopped, Note: "its agent has ended"},
		Paused:   {Host: cluster.Paused},
		Stopped:  {Host: cluster.Stopped},
		Absent:   {Host: cluster.Nonexistent},
		Broken:   {Host: "Error"},
	} {
		s.clusters.set(status)
		var got State
		if err := json.NewDecoder(s.do(t, "GET", "/skiff/state", "", nil).Body).Decode(&got); err != nil || got.Phase != want || got.Note != status.Note || got.Profile != "dev" {
			t.Errorf("%+v: got %+v and %v, want phase %s", status, got, err, want)
		}
	}
}

// next reads states until one is as wanted.
func next(t *testing.T, events io.Reader, wanted func(State) bool) {
	t.Helper()
	buffer := make([]byte, 64<<10)
	var all string
	for {
		n, err := events.Read(buffer)
		all += string(buffer[:n])
		for {
			one, rest, whole := strings.Cut(all, "\n\n")
			if !whole {
				break
			}
			all = rest
			var state State
			if err := json.Unmarshal([]byte(strings.TrimPrefix(one, "data: ")), &state); err != nil {
				t.Fatal(err)
			}
			if wanted(state) {
				return
			}
		}
		if err != nil {
			t.Fatalf("the states ended with %v before the one that was wanted", err)
		}
	}
}

// TestStart: the page of a cluster that is stopped starts it and hears how that goes.
func TestStart(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.clusters.hold = make(chan struct{})
	s.clusters.set(cluster.Status{Host: cluster.Stopped})
	events := s.do(t, "GET", "/skiff/states", "", nil).Body
	next(t, events, func(state State) bool { return state.Phase == Stopped && state.Job == nil })
	if got := s.do(t, "POST", "/skiff/start", "", nil); got.StatusCode != http.StatusAccepted {
		t.Fatalf("start: got %s, want 202", got.Status)
	}
	next(t, events, func(state State) bool {
		return state.Job != nil && state.Job.Text == "Do start" && state.Job.Steps == 2
	})
	if got := s.do(t, "POST", "/skiff/start", "", nil); got.StatusCode != http.StatusConflict {
		t.Errorf("a second start: got %s, want 409", got.Status)
	}
	s.clusters.set(cluster.Status{Host: cluster.Running, APIServer: cluster.Running})
	close(s.clusters.hold)
	next(t, events, func(state State) bool { return state.Phase == Running && state.Job.Ended && state.Job.Error == nil })
}

func TestJobs(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, test := range []struct{ method, path, body, call string }{
		{"POST", "/skiff/addons/ingress/enable", "", "enable ingress"},
		{"POST", "/skiff/addons/ingress/disable", "", "disable ingress"},
		{"POST", "/skiff/snapshots", `{"name":"clean","description":"before"}`, "save clean before"},
		{"POST", "/skiff/snapshots/clean/restore", "", "restore clean"},
		{"DELETE", "/skiff/snapshots/clean", "", "delete clean"},
	} {
		if got := s.do(t, test.method, test.path, test.body, nil); got.StatusCode != http.StatusAccepted {
			t.Fatalf("%s %s: got %s, want 202", test.method, test.path, got.Status)
		}
		next(t, s.do(t, "GET", "/skiff/states", "", nil).Body, func(state State) bool { return state.Job.Ended })
		if got := s.clusters.called(); !strings.HasSuffix(got, test.call) {
			t.Errorf("%s %s: got %q, want %q at its end", test.method, test.path, got, test.call)
		}
	}
	s.clusters.err = fail.New(fail.SnapshotNotFound, "delete", "there is no snapshot").WithNext("skiff snapshot list")
	s.do(t, "DELETE", "/skiff/snapshots/absent", "", nil)
	next(t, s.do(t, "GET", "/skiff/states", "", nil).Body, func(state State) bool {
		return state.Job.Ended && state.Job.Error != nil && state.Job.Error.ID == "SNAPSHOT_NOT_FOUND" && state.Job.Error.Next == "skiff snapshot list" && state.Job.Error.Advice != ""
	})
	for path, body := range map[string]string{"/skiff/snapshots": `{"name":"NO/good"}`, "/skiff/snapshots?": "no JSON", "/skiff/snapshots?a": `{"description":"a\nb"}`} {
		if got := s.do(t, "POST", path, body, nil); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s with %s: got %s, want 400", path, body, got.Status)
		}
	}
	if got := s.do(t, "POST", "/skiff/addons/ingress/explode", "", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown verb: got %s, want 404", got.Status)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for path, want := range map[string]string{"/skiff/addons": `"Name":"ingress"`, "/skiff/snapshots": "[]", "/config": `"name":"dev"`} {
		if got := text(t, s.do(t, "GET", path, "", nil)); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s in it", path, got, want)
		}
	}
}

// TestServeEnds: the end of the dashboard interrupts what its page began, and waits for that.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	clusters := &fakeClusters{hold: make(chan struct{})}
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan struct{}), false
	s := New(Options{Profile: "dev", Clusters: clusters, Start: func(ctx context.Context, _ cluster.Sink) error {
		close(began)
		<-ctx.Done()
		ended = true
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	for { // until Serve lets jobs begin
		if _, err := s.jobs.begin("start", "", s.options.Start); err == nil {
			break
		}
	}
	<-began
	cancel()
	if err := <-served; err != nil || !ended {
		t.Errorf("Serve: got %v with the start ended %v, want nil and true", err, ended)
	}
	if last := s.jobs.last(); !last.Ended || last.Error == nil {
		t.Errorf("job: got %+v, want one that says that the dashboard ended", last)
	}
}

func TestHandover(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "skiff-dash-") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	if _, err := Ask(t.Context(), socket); !errors.Is(err, ErrNone) {
		t.Errorf("Ask without a dashboard: got %v, want %v", err, ErrNone)
	}
	s := serve(t, nil)
	done, err := s.Share(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	url, err := Ask(t.Context(), socket)
	if err != nil || !strings.HasPrefix(url, s.origin+openPath+"?token=") {
		t.Fatalf("Ask: got %q and %v, want an address of the dashboard", url, err)
	}
	s.cookie = nil
	if got := s.do(t, "GET", strings.TrimPrefix(url, s.origin), "", nil); got.StatusCode != http.StatusOK {
		t.Errorf("the address: got %s, want 200", got.Status)
	}
	done()
	if _, err := Ask(t.Context(), socket); !errors.Is(err, ErrNone) {
		t.Errorf("Ask after the end: got %v, want %v", err, ErrNone)
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil { // what a dashboard leaves that was killed
		t.Fatal(err)
	}
	if done, err = s.Share(t.Context(), socket); err != nil {
		t.Errorf("Share over what is left: got %v, want nil", err)
	}
	done()
}

func TestLeadOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run", "dashboard.html")
	if err := LeadOn(path, "http://skiff.localhost:1/open?token=abc"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v and %v, want 0600: the token is in it", info.Mode(), err)
	}
	if content, _ := os.ReadFile(path); !strings.Contains(string(content), `content="0; url=http://skiff.localhost:1/open?token=abc"`) {
		t.Errorf("page: got %s, want it to lead on", content)
	}
}

// kubectl writes a kubectl that prints its arguments and what it reads, or fails with the text of the file beside it.
func kubectl(t *testing.T, says string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	script := "#!/bin/sh\nif [ \"$1\" = convert ]; then cat > /dev/null; echo '{\"items\":[" +
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}}}}}` + "]}'; exit; fi\n" +
		"echo \"$*\"; cat\n"
	if says != "" {
		script = "#!/bin/sh\necho pod/first created\necho '" + says + "' >&2\nexit 1\n"
	}
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestApply(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.clusters.tool, s.clusters.kubeconfig = kubectl(t, ""), "/k"
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
	for query, want := range map[string]string{
		"": "apply -f -\n", "?namespace=shop": "apply -f - --namespace=shop\n", "?how=replace": "replace -f -\n", "?check": "apply -f - --dry-run=server\n",
	} {
		var got applied
		response := s.do(t, "POST", "/skiff/apply"+query, pod, nil)
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.Output != want+pod || len(got.Changes) > 0 {
			t.Errorf("apply%s: got %+v and %v, want %q and the manifest", query, got, err, want)
		}
	}
	var raised applied
	old := "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {metadata: {labels: {a: b}}}}\n"
	said := text(t, s.do(t, "POST", "/skiff/apply", old, nil))
	if err := json.Unmarshal([]byte(said), &raised); err != nil || len(raised.Changes) != 1 || !strings.Contains(raised.Changes[0], "extensions/v1beta1 -> apps/v1") || !strings.Contains(raised.Output, "apps/v1") {
		t.Errorf("a manifest of 2019: got %s and %v, want it raised, and said", said, err)
	}
	for name, test := range map[string]struct {
		manifest, says string
		want           int
		message        string
	}{
		"nothing":    {"# empty\n", "", 400, "no objects"},
		"broken":     {"a: [", "", 400, "line"},
		"refused":    {pod, "error: unknown field \"spec.x\"", 422, "unknown field"},
		"conflicted": {pod, "Error from server (Conflict): error when replacing \"STDIN\": the object has been modified", 409, "has been modified"},
	} {
		s.clusters.tool = kubectl(t, test.says)
		response := s.do(t, "POST", "/skiff/apply", test.manifest, nil)
		var problem Problem
		if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || response.StatusCode != test.want || !strings.Contains(problem.Message, test.message) {
			t.Errorf("%s: got %s %+v and %v, want %d with %q", name, response.Status, problem, err, test.want, test.message)
		}
		if test.want == 422 && problem.Output != "pod/first created\n" {
			t.Errorf("%s: got output %q, want what was done before it failed", name, problem.Output)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.clusters.tool = kubectl(t, "")
	for body, want := range map[string]int{
		`{"cluster":"dev","nodeName":"skiff"}`: 200, `{"cluster":"dev","nodeName":"--all"}`: 400, `{"cluster":"x","nodeName":"skiff"}`: 400, `{`: 400,
	} {
		if got := s.do(t, "POST", "/drain-node", body, nil); got.StatusCode != want {
			t.Errorf("drain %s: got %s, want %d", body, got.Status, want)
		}
	}
	status := func() string {
		return text(t, s.do(t, "GET", "/drain-node-status?cluster=dev&nodeName=skiff", "", nil))
	}
	for !strings.Contains(status(), "success") {
		if strings.Contains(status(), "error") {
			t.Fatalf("drain: got %s, want success", status())
		}
	}
	s.clusters.tool = kubectl(t, "error: a PodDisruptionBudget")
	s.do(t, "POST", "/drain-node", `{"cluster":"dev","nodeName":"skiff"}`, nil)
	for !strings.Contains(status(), "PodDisruptionBudget") {
		if strings.Contains(status(), "success") {
			t.Fatalf("drain: got %s, want the error", status())
		}
	}
}

func TestForwardRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, apiServer(t))
	for _, edit := range []map[string]string{{"targetPort": ""}, {"targetPort": "70000"}, {"port": "x"}, {"pod": ""}, {"pod": "a/b"}, {"namespace": ""}} {
		asked := map[string]string{"namespace": "d", "pod": "web", "targetPort": "80"}
		maps.Copy(asked, edit)
		body, _ := json.Marshal(asked)
		if got := s.do(t, "POST", "/clusters/dev/portforward", string(body), nil); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %s, want 400", body, got.Status)
		}
	}
	if got := text(t, s.do(t, "GET", "/clusters/dev/portforward/list", "", nil)); got != "[]\n" {
		t.Errorf("list: got %s, want none", got)
	}
	if got := s.do(t, "DELETE", "/clusters/dev/portforward", `{"id":"7","stopOrDelete":true}`, nil); got.StatusCode != http.StatusOK {
		t.Errorf("stop one that is not there: got %s, want 200", got.Status)
	}
}
