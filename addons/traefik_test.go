package addons

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const prefix = "nginx.ingress.kubernetes.io/"

// ask is one request to the controller and what must come of it. The fields of the answer are compared when set.
type ask struct {
	method, host, path string // host defaults to the case's, the path to "/"
	https              bool
	header             map[string]string
	body               int // bytes
	repeat             int // send it so many times; the last answer counts

	status   int
	backend  string // name of the backend that answered
	seen     string // path that the backend saw
	seenHead map[string]string
	head     map[string]string // regular expressions of headers of the answer
}

type ingressCase struct {
	path, pathType string // "/" and ImplementationSpecific
	class          string // "nginx"; "-" for none
	backend        string // "main"
	annotations    map[string]string
	canary         map[string]string // annotations of a second Ingress, to the backend canary
	tls            string            // name of the Secret in a TLS section; "-" for a section without one
	alias          string            // a further host
	asks           []ask
}

// ingressCases is what site/content/addons/ingress.md calls tested.
func ingressCases() map[string]ingressCase {
	ok := ask{status: 200, backend: "main"}
	plainAndTLS := []ask{ok, {https: true, status: 200, backend: "main"}}
	toHTTPS := []ask{{status: 308, head: map[string]string{"Location": "^https://"}}, {https: true, status: 200, backend: "main"}}
	return map[string]ingressCase{
		"plain":          {asks: append(plainAndTLS, ask{method: "POST", body: 10, status: 200})},
		"no class":       {class: "-", asks: plainAndTLS},
		"other class":    {class: "other", asks: []ask{{status: 404}}},
		"tutorial path":  {path: "/meow", asks: []ask{{path: "/meow", status: 200}, {path: "/meow/x", status: 200, seen: "/meow/x"}, {path: "/meowx", status: 404}, {status: 404}}},
		"exact path":     {path: "/a", pathType: "Exact", asks: []ask{{path: "/a", status: 200}, {path: "/a/b", status: 404}}},
		"tls section":    {tls: "-", asks: toHTTPS},
		"tutorial value": {annotations: map[string]string{"ssl-redirect": `\"false\"`}, tls: "-", asks: plainAndTLS},
		"ssl-redirect":   {annotations: map[string]string{"ssl-redirect": "false"}, tls: "-", asks: plainAndTLS},
		"force-ssl":      {annotations: map[string]string{"force-ssl-redirect": "true"}, asks: toHTTPS},
		"rewrite-target": {path: "/api(/|$)(.*)", annotations: map[string]string{"use-regex": "true", "rewrite-target": "/$2"},
			asks: []ask{{path: "/api/x?q=1", status: 200, seen: "/x?q=1"}, {path: "/apix", status: 404}}},
		"x-forwarded-prefix": {path: "/api(/|$)(.*)", annotations: map[string]string{"rewrite-target": "/$2", "x-forwarded-prefix": "/api"},
			asks: []ask{{path: "/api/x", status: 200, seenHead: map[string]string{"X-Forwarded-Prefix": "/api"}}}},
		"app-root":           {annotations: map[string]string{"app-root": "/app"}, asks: []ask{{status: 302, head: map[string]string{"Location": "/app$"}}, {path: "/app", status: 200}}},
		"permanent-redirect": {annotations: map[string]string{"permanent-redirect": "https://a.example/b"}, asks: []ask{{status: 301, head: map[string]string{"Location": "^https://a.example/b$"}}}},
		"permanent-code":     {annotations: map[string]string{"permanent-redirect": "https://a.example", "permanent-redirect-code": "308"}, asks: []ask{{status: 308}}},
		"temporal-redirect":  {annotations: map[string]string{"temporal-redirect": "https://a.example/b"}, asks: []ask{{status: 302, head: map[string]string{"Location": "^https://a.example/b$"}}}},
		"from-to-www":        {annotations: map[string]string{"from-to-www-redirect": "true"}, asks: []ask{ok, {host: "www.from-to-www.test", status: 308, head: map[string]string{"Location": "//from-to-www.test"}}}},
		"server-alias":       {annotations: map[string]string{"server-alias": "other.test"}, asks: []ask{ok, {host: "other.test", status: 200}}},
		"affinity": {annotations: map[string]string{"affinity": "cookie", "session-cookie-name": "sticky", "session-cookie-max-age": "60"},
			asks: []ask{{status: 200, head: map[string]string{"Set-Cookie": "^sticky=.*Max-Age=60"}}}},
		"backend-protocol": {backend: "tls", annotations: map[string]string{"backend-protocol": "HTTPS"}, asks: []ask{{status: 200, backend: "tls"}}},
		"cors": {annotations: map[string]string{"enable-cors": "true", "cors-allow-origin": "https://a.example"},
			asks: []ask{{header: map[string]string{"Origin": "https://a.example"}, status: 200, head: map[string]string{"Access-Control-Allow-Origin": "^https://a.example$"}}}},
		"allowlist":        {annotations: map[string]string{"allowlist-source-range": "10.0.0.0/8"}, asks: []ask{{status: 403}}},
		"whitelist":        {annotations: map[string]string{"whitelist-source-range": "127.0.0.0/8"}, asks: []ask{ok}},
		"limit-rps":        {annotations: map[string]string{"limit-rps": "1", "limit-burst-multiplier": "1"}, asks: []ask{{repeat: 5, status: 429}}},
		"limit-rpm":        {annotations: map[string]string{"limit-rpm": "1", "limit-burst-multiplier": "1"}, asks: []ask{{repeat: 5, status: 429}}},
		"auth-basic":       {annotations: map[string]string{"auth-type": "basic", "auth-secret": "users", "auth-realm": "skiff"}, asks: []ask{{status: 401, head: map[string]string{"Www-Authenticate": "skiff"}}, {header: map[string]string{"Authorization": "Basic dTpw"}, status: 200}}},
		"auth-url":         {annotations: map[string]string{"auth-url": "BACKEND/deny"}, asks: []ask{{status: 401}}},
		"auth-url allowed": {annotations: map[string]string{"auth-url": "BACKEND/allow", "auth-response-headers": "X-User"}, asks: []ask{{status: 200, seenHead: map[string]string{"X-User": "meow"}}}},
		"proxy-body-size": {annotations: map[string]string{"proxy-body-size": "100k", "proxy-request-buffering": "on"},
			asks: []ask{{method: "POST", body: 50_000, status: 200, seenHead: map[string]string{"Body-Size": "50000"}}, {method: "POST", body: 200_000, status: 413}}},
		"large body":     {asks: []ask{{method: "POST", body: 3_000_000, status: 200, seenHead: map[string]string{"Body-Size": "3000000"}}}},
		"upstream-vhost": {annotations: map[string]string{"upstream-vhost": "inner.example"}, asks: []ask{{status: 200, seenHead: map[string]string{"Host": "inner.example"}}}},
		"proxy-read-timeout": {annotations: map[string]string{"proxy-read-timeout": "1", "proxy-next-upstream": "off"},
			asks: []ask{{path: "/slow", status: 504}}},
		"custom-http-errors": {annotations: map[string]string{"custom-http-errors": "503", "default-backend": "CANARY"}, asks: []ask{ok, {path: "/err", status: 200, backend: "canary", seenHead: map[string]string{"X-Code": "503"}}}},
		"canary-by-header": {canary: map[string]string{"canary-by-header": "X-Canary"}, asks: []ask{ok,
			{header: map[string]string{"X-Canary": "always"}, status: 200, backend: "canary"},
			{header: map[string]string{"X-Canary": "never"}, status: 200, backend: "main"}}},
		"canary-by-header-value": {canary: map[string]string{"canary-by-header": "X-Canary", "canary-by-header-value": "blue"}, asks: []ask{ok,
			{header: map[string]string{"X-Canary": "blue"}, status: 200, backend: "canary"}}},
		"canary-by-header-pattern": {canary: map[string]string{"canary-by-header": "X-Canary", "canary-by-header-pattern": "^b"}, asks: []ask{ok,
			{header: map[string]string{"X-Canary": "blue"}, status: 200, backend: "canary"}}},
		"canary-by-cookie": {canary: map[string]string{"canary-by-cookie": "tester"}, asks: []ask{ok,
			{header: map[string]string{"Cookie": "tester=always"}, https: true, status: 200, backend: "canary"}}},
		"canary-weight 100": {canary: map[string]string{"canary-weight": "100"}, asks: []ask{{status: 200, backend: "canary"}, {repeat: 5, status: 200, backend: "canary"}}},
		"canary-weight 0":   {canary: map[string]string{"canary-weight": "0"}, asks: []ask{{repeat: 5, status: 200, backend: "main"}}},
		"snippets refused":  {annotations: map[string]string{"configuration-snippet": "return 418;"}, asks: []ask{{status: 404}}},
		"aliased header":    {asks: []ask{{header: map[string]string{"X_Real_Ip": "1.2.3.4"}, status: 200, seenHead: map[string]string{"X_real_ip": ""}}}},
	}
}

// TestIngressOverTraefik runs Traefik on this machine, with the arguments, the rights and the certificate that the addon
// gives it, against the API server of SKIFF_TEST_KUBECONFIG. SKIFF_TEST_TRAEFIK names the program.
func TestIngressOverTraefik(t *testing.T) {
	program, path := os.Getenv("SKIFF_TEST_TRAEFIK"), os.Getenv("SKIFF_TEST_KUBECONFIG")
	if program == "" || path == "" {
		t.Skip("SKIFF_TEST_TRAEFIK names no program, or SKIFF_TEST_KUBECONFIG no cluster")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	addon, _ := ingress(t)
	objects, err := Render(addon, Values{Address: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t, 3*time.Minute)
	if err := Enable(ctx, config, objects, Options{}); err != nil {
		t.Fatal(err)
	}
	controller := startTraefik(ctx, t, program, clients, path, objects)
	cases := ingressCases()
	backendURL := makeBackends(ctx, t, clients, cases)
	for name, tc := range cases {
		makeIngress(ctx, t, clients, name, tc, backendURL)
	}
	// Traefik builds its routes of all Ingresses at once: those of the last one come with the others'.
	last := ingressCase{alias: fmt.Sprintf("last-%d.test", time.Now().UnixNano())}
	makeIngress(ctx, t, clients, "plain", last, backendURL)
	controller.awaitRoutes(ctx, t, last.alias)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, ask := range tc.asks {
				controller.try(ctx, t, hostOf(name), ask)
			}
		})
	}
	t.Run("status", func(t *testing.T) {
		client, err := newClient(config)
		if err != nil {
			t.Fatal(err)
		}
		resource, err := client.resource("networking.k8s.io/v1", "Ingress", "default")
		if err != nil {
			t.Fatal(err)
		}
		err = client.observe(ctx, resource, objectName("plain", "main"), func(object *unstructured.Unstructured) (bool, error) {
			addresses, _, err := unstructured.NestedSlice(object.Object, "status", "loadBalancer", "ingress")
			return len(addresses) == 1 && addresses[0].(map[string]any)["ip"] == "127.0.0.1", err
		})
		if err != nil {
			t.Errorf("the Ingress does not get the cluster's address: %v", err)
		}
	})
}

func hostOf(name string) string { return strings.ReplaceAll(name, " ", "-") + ".test" }

// controller is a Traefik that runs.
type controller struct {
	http, https string // host:port
	log         string // path
}

func startTraefik(ctx context.Context, t *testing.T, program string, clients kubernetes.Interface, kubeconfig string, objects []*unstructured.Unstructured) controller {
	t.Helper()
	dir := t.TempDir()
	token, err := clients.CoreV1().ServiceAccounts("ingress-nginx").CreateToken(ctx, "ingress-nginx", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	own := filepath.Join(dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*config, own); err != nil {
		t.Fatal(err)
	}
	secret, err := clients.CoreV1().Secrets("ingress-nginx").Get(ctx, "default-certificate", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range secret.Data {
		write(t, filepath.Join(dir, name), string(data))
	}
	c := controller{http: freeAddress(ctx, t), https: freeAddress(ctx, t), log: filepath.Join(dir, "log")}
	ping := freeAddress(ctx, t)
	var args []string
	for _, object := range objects {
		switch object.GetKind() {
		case "ConfigMap":
			text, _, _ := unstructured.NestedString(object.Object, "data", "default-certificate.yaml")
			write(t, filepath.Join(dir, "default-certificate.yaml"), strings.ReplaceAll(text, "/etc/traefik", dir))
		case "Deployment":
			containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
			args, _, _ = unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		}
	}
	replace := strings.NewReplacer("=:8080", "="+ping, "=:8000", "="+c.http, "=:8443", "="+c.https, "/etc/traefik", dir)
	for i, arg := range args {
		args[i] = replace.Replace(arg)
	}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, program, args...)
	command.Stdout, command.Stderr = log, log
	command.Env = []string{"KUBECONFIG=" + own}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if text, err := os.ReadFile(c.log); err == nil && t.Failed() {
			t.Logf("Traefik said:\n%s", text)
		}
	})
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(ctx context.Context, t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// makeBackends serves what requests looked like, and points Services at the servers, for each case its own: Traefik keeps
// a canary by the Service that it stands in for. It returns the URL of one server.
func makeBackends(ctx context.Context, t *testing.T, clients kubernetes.Interface, cases map[string]ingressCase) string {
	t.Helper()
	servers := map[string]*httptest.Server{}
	for _, name := range []string{"main", "canary"} {
		servers[name] = httptest.NewServer(backend(name))
	}
	servers["tls"] = httptest.NewTLSServer(backend("tls"))
	services := clients.CoreV1().Services("default")
	for name, server := range servers {
		t.Cleanup(server.Close)
		for tc := range cases {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: objectName(tc, name)}, Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeExternalName, ExternalName: "localhost",
				Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt(server.Listener.Addr().(*net.TCPAddr).Port)}},
			}}
			_ = services.Delete(ctx, service.Name, metav1.DeleteOptions{}) // of a run before
			if _, err := services.Create(ctx, service, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	users := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "users"},
		StringData: map[string]string{"auth": "u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"}, // password p
	}
	_ = clients.CoreV1().Secrets("default").Delete(ctx, "users", metav1.DeleteOptions{})
	if _, err := clients.CoreV1().Secrets("default").Create(ctx, users, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return servers["main"].URL
}

// backend answers with what it saw.
func backend(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := io.Copy(io.Discard, r.Body)
		r.Header.Set("Host", r.Host)
		r.Header.Set("Body-Size", strconv.FormatInt(size, 10))
		switch {
		case r.URL.Path == "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
		case r.URL.Path == "/deny":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/allow":
			w.Header().Set("X-User", "meow")
		case r.URL.Path == "/err" && name == "main":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"backend": name, "path": r.URL.RequestURI(), "header": r.Header})
	})
}

// objectName is the name of a case's Service or Ingress.
func objectName(tc, suffix string) string {
	return "t-" + strings.ReplaceAll(tc, " ", "-") + "-" + suffix
}

func makeIngress(ctx context.Context, t *testing.T, clients kubernetes.Interface, name string, tc ingressCase, backendURL string) {
	t.Helper()
	create := func(suffix, backend string, annotations map[string]string) {
		object := &netv1.Ingress{ObjectMeta: metav1.ObjectMeta{
			Name: objectName(name, suffix), Annotations: map[string]string{},
		}}
		for key, value := range annotations {
			value = strings.ReplaceAll(value, "BACKEND", backendURL)
			object.Annotations[prefix+key] = strings.ReplaceAll(value, "CANARY", objectName(name, "canary"))
		}
		path, pathType, class := or(tc.path, "/"), netv1.PathType(or(tc.pathType, "ImplementationSpecific")), or(tc.class, "nginx")
		if class != "-" {
			object.Spec.IngressClassName = &class
		}
		if tc.alias != "" {
			object.Annotations[prefix+"server-alias"] = tc.alias
		}
		if tc.tls != "" {
			object.Spec.TLS = []netv1.IngressTLS{{Hosts: []string{hostOf(name)}}}
		}
		object.Spec.Rules = []netv1.IngressRule{{Host: hostOf(name), IngressRuleValue: netv1.IngressRuleValue{HTTP: &netv1.HTTPIngressRuleValue{
			Paths: []netv1.HTTPIngressPath{{Path: path, PathType: &pathType, Backend: netv1.IngressBackend{
				Service: &netv1.IngressServiceBackend{Name: objectName(name, backend), Port: netv1.ServiceBackendPort{Number: 80}},
			}}},
		}}}}
		_ = clients.NetworkingV1().Ingresses("default").Delete(ctx, object.Name, metav1.DeleteOptions{})
		if _, err := clients.NetworkingV1().Ingresses("default").Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	create("main", or(tc.backend, "main"), tc.annotations)
	if tc.canary != nil {
		tc.canary["canary"] = "true"
		create("canary", "canary", tc.canary)
	}
}

// awaitRoutes returns once the host is served.
func (c controller) awaitRoutes(ctx context.Context, t *testing.T, host string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for served, last := 0, ""; served < 5; { // the configuration settles in steps
		select {
		case <-ctx.Done():
			t.Fatalf("the routes are not there: %s", last)
		case <-tick.C:
		}
		answer, _, err := c.send(ctx, host, ask{})
		if err != nil {
			last = err.Error()
			continue
		}
		if last = answer.Status; answer.StatusCode == http.StatusOK {
			served++
		}
	}
}

// seen is what a backend saw of a request.
type seen struct {
	Backend string
	Path    string
	Header  http.Header
}

func (c controller) send(ctx context.Context, host string, a ask) (*http.Response, seen, error) {
	url := "http://" + c.http
	if a.https {
		url = "https://" + c.https
	}
	request, err := http.NewRequestWithContext(ctx, or(a.method, "GET"), url+or(a.path, "/"), strings.NewReader(strings.Repeat("x", a.body)))
	if err != nil {
		return nil, seen{}, err
	}
	request.Host = or(a.host, host)
	for key, value := range a.header {
		request.Header[key] = []string{value}
	}
	client := http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: request.Host},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, seen{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	var saw seen
	_ = json.Unmarshal(body, &saw) // an answer of Traefik's own is no JSON
	return answer, saw, err
}

func (c controller) try(ctx context.Context, t *testing.T, host string, a ask) {
	t.Helper()
	var answer *http.Response
	var saw seen
	for range max(a.repeat, 1) {
		var err error
		if answer, saw, err = c.send(ctx, host, a); err != nil {
			t.Fatal(err)
		}
	}
	what := fmt.Sprintf("%s %s (https %t, %v)", or(a.method, "GET"), or(a.path, "/"), a.https, a.header)
	if answer.StatusCode != a.status {
		t.Errorf("%s: got status %d, want %d", what, answer.StatusCode, a.status)
	}
	if a.backend != "" && saw.Backend != a.backend {
		t.Errorf("%s: got backend %q, want %q", what, saw.Backend, a.backend)
	}
	if a.seen != "" && saw.Path != a.seen {
		t.Errorf("%s: the backend saw path %q, want %q", what, saw.Path, a.seen)
	}
	for key, want := range a.seenHead {
		if got := strings.Join(saw.Header[key], ","); got != want {
			t.Errorf("%s: the backend saw %s %q, want %q", what, key, got, want)
		}
	}
	for key, want := range a.head {
		if got := answer.Header.Get(key); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: got %s %q, want a match of %q", what, key, got, want)
		}
	}
}
