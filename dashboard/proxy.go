package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// watchSeconds replaces the end that the API server gives to a watch, after 30 to 60 minutes by default
// (--min-request-timeout): the page does not begin a watch again that ended. It is a year.
const watchSeconds = "31536000"

// transports are the ways to the API server that a kubeconfig names. The file is looked at for every request, because a start
// may renew certificates; the connections are kept as long as it stays the same.
type transports struct {
	path string

	mu      sync.Mutex
	content []byte
	config  *rest.Config
	server  *url.URL
	trip    http.RoundTripper
}

// get returns the way to the API server.
func (t *transports) get() (*url.URL, http.RoundTripper, *rest.Config, error) {
	content, err := os.ReadFile(t.path)
	if err != nil {
		return nil, nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trip != nil && bytes.Equal(content, t.content) {
		return t.server, t.trip, t.config, nil
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		return nil, nil, nil, err
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return nil, nil, nil, err
	}
	trip, err := rest.TransportFor(config)
	if err != nil {
		return nil, nil, nil, err
	}
	t.content, t.config, t.server, t.trip = content, config, server, trip
	return server, trip, config, nil
}

// api passes requests below /clusters/PROFILE/ on to the API server, WebSockets included.
func (s *Server) api(apis *transports) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("cluster") != s.options.Profile {
			refuse(w, http.StatusNotFound, fmt.Sprintf("This is the dashboard of cluster %s and of no other.", s.options.Profile))
			return
		}
		prefix := "/clusters/" + s.options.Profile
		asked := *r.URL
		asked.Path, asked.RawPath = strings.TrimPrefix(asked.Path, prefix), strings.TrimPrefix(asked.RawPath, prefix)
		if servesForeignPages(&asked) {
			refuse(w, http.StatusForbidden, "The dashboard does not proxy pages of pods, services and nodes: they would run as part of it. "+
				"Use a port-forward, an ingress or `skiff kubectl -- proxy`.")
			return
		}
		server, trip, _, err := apis.get()
		if err != nil {
			unreachable(w, fmt.Errorf("use the cluster's kubeconfig: %w", err))
			return
		}
		w.Header().Set("Content-Security-Policy", sealedPolicy)
		proxy := httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Path, p.Out.URL.RawPath = asked.Path, asked.RawPath
				p.SetURL(server)
				withoutSecrets(p.Out.Header)
				if p.Out.Header.Get("Upgrade") != "" {
					// The API server refuses a watch over a WebSocket that names no origin (golang.org/x/net/websocket, checkOrigin).
					p.Out.Header.Set("Origin", server.Scheme+"://"+server.Host)
				}
				keepWatching(p.Out.URL)
				tailLogs(p.Out.URL)
			},
			Transport:      trip,
			FlushInterval:  -1, // a watch is a response without an end
			ModifyResponse: func(answer *http.Response) error { sealed(answer.Header); return nil },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				if !errors.Is(err, context.Canceled) {
					unreachable(w, err)
				}
			},
			ErrorLog: silent(),
		}
		proxy.ServeHTTP(w, r)
	})
}

// withoutSecrets takes out of a request what was meant for the dashboard, or claims an identity: the credentials are those of
// the transport alone.
func withoutSecrets(h http.Header) {
	for _, name := range []string{"Cookie", "Origin", "Referer", "Authorization", "Proxy-Authorization"} {
		h.Del(name)
	}
	// A WebSocket carries a token as a subprotocol (k8s.io/apiserver, pkg/authentication/request/websocket).
	const protocols = "Sec-Websocket-Protocol"
	for i, line := range h[protocols] {
		kept := slices.DeleteFunc(strings.Split(line, ","), func(one string) bool {
			return strings.HasPrefix(strings.TrimSpace(one), "base64url.bearer.authorization.k8s.io.")
		})
		h[protocols][i] = strings.Join(kept, ",")
	}
}

// keepWatching lets a watch last.
func keepWatching(u *url.URL) {
	query := u.Query()
	if watch := query.Get("watch"); watch == "" || watch == "0" || watch == "false" {
		return
	}
	query.Set("timeoutSeconds", watchSeconds)
	u.RawQuery = query.Encode()
}

// maxLogLines is how many lines of a log the page gets that are there already, and as many as it keeps (web/src/logs.ts).
const maxLogLines = 10000

// tailLogs bounds the log of a container to its last lines, however many the page asks for. A log that is followed has no other
// bound: limitBytes would end it.
func tailLogs(u *url.URL) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 4 || parts[len(parts)-1] != "log" || parts[len(parts)-3] != "pods" {
		return
	}
	query := u.Query()
	if lines, err := strconv.Atoi(query.Get("tailLines")); err == nil && lines >= 0 && lines <= maxLogLines {
		return
	}
	query.Set("tailLines", strconv.Itoa(maxLogLines))
	u.RawQuery = query.Encode()
}

// servesForeignPages reports whether the API server would answer this path with what a workload or a kubelet serves. As it is
// served from the dashboard's origin, a script in it could do all that the page can. A path that the API server might read in
// another way than this function is refused with them.
func servesForeignPages(u *url.URL) bool {
	raw := strings.ToLower(u.EscapedPath())
	for _, hidden := range []string{"%2f", "%5c", "%25", "%2e", "//", "/./", "/../"} {
		if strings.Contains(raw+"/", hidden) {
			return true
		}
	}
	parts := strings.Split(strings.Trim(strings.ToLower(u.Path), "/"), "/")
	if len(parts) < 3 || parts[0] != "api" {
		return false
	}
	parts = parts[2:] // after /api/v1
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	proxied := len(parts) > 2 && parts[2] == "proxy" && slices.Contains([]string{"pods", "services", "nodes"}, parts[0])
	return proxied || parts[0] == "proxy"
}

// sealedPolicy is for answers of the API server: should somebody open the address of one, nothing in it runs.
const sealedPolicy = "default-src 'none'; sandbox; frame-ancestors 'none'"

// sealed takes out of an answer what is not for this browser, and what guard has set already: both would be sent.
func sealed(h http.Header) {
	for _, name := range []string{
		"Set-Cookie", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Alt-Svc", "Strict-Transport-Security", "Refresh",
		"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cache-Control",
	} {
		h.Del(name)
	}
}

// unreachable answers as the API server does when it cannot do what was asked, so that the page shows the reason.
func unreachable(w http.ResponseWriter, err error) {
	answer(w, http.StatusBadGateway, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "ServiceUnavailable", "code": http.StatusBadGateway,
		"message": fmt.Sprintf("the API server does not answer: %v", err),
	})
}
