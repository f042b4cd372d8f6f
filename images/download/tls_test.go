package download

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// caFile is a file with the certificate of a TLS server.
func caFile(t testing.TB, server *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newTLS(t testing.TB, content []byte) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(s.noting(func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the client refuses
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestUnknownCA: a proxy that looks into TLS has a certificate of its own organisation.
func TestUnknownCA(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	other := someBytes(2, size)
	s := newTLS(t, content)
	d, _ := newTest(t, Config{Sources: []string{s.source()}})
	blobs := []v1.Descriptor{descriptor(t, content)}
	wantFailure(t, d.Fetch(t.Context(), append(blobs, descriptor(t, other)), nil), fail.DownloadFailed, `certificate that this computer does not trust (issued by "O=Acme Co")`)
	wantFailure(t, d.Fetch(t.Context(), blobs, nil), fail.DownloadFailed, "set ca-file")

	d, _ = newTest(t, Config{Sources: []string{s.source()}, CAFile: caFile(t, s.Server)})
	if err := d.Fetch(t.Context(), blobs, nil); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, d, content)
}

func TestBadCAFile(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("-----BEGIN NOTHING-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{empty: "no certificate", filepath.Join(t.TempDir(), "absent.pem"): "no such file"} {
		_, err := New(Config{CAFile: file})
		wantFailure(t, err, fail.FlagInvalid, want)
	}
}

// proxy is an HTTP proxy that knows one name, and may want a password.
type proxy struct {
	*httptest.Server
	password string
	connects atomic.Int32
}

func newProxy(t *testing.T, password, to string) *proxy {
	t.Helper()
	p := &proxy{password: password}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+p.password))
		if p.password != "" && r.Header.Get("Proxy-Authorization") != want {
			w.Header().Set("Proxy-Authenticate", "Basic")
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		p.connects.Add(1)
		p.tunnel(r.Context(), w, to)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) tunnel(ctx context.Context, w http.ResponseWriter, to string) {
	upstream, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = upstream.Close() }()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	// Only now, as the server would read what the client says next.
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(upstream, client)
		_ = upstream.Close()
	}()
	_, _ = io.Copy(client, upstream)
	_ = client.Close()
	<-done
}

func TestProxy(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	s := newTLS(t, content)
	address := strings.TrimPrefix(s.URL, "https://")
	open, closed := newProxy(t, "", address), newProxy(t, secret, address)
	host := strings.TrimPrefix(closed.URL, "http://")
	const source = "https://example.com" // the certificate's name; httpproxy would leave loopback alone
	tests := []struct {
		name string
		env  map[string]string
		want string // part of the error; empty: it is brought
		via  *proxy
	}{
		{"open", map[string]string{"HTTPS_PROXY": open.URL}, "", open},
		{"in lower case", map[string]string{"https_proxy": open.URL}, "", open},
		{"wants a password", map[string]string{"HTTPS_PROXY": closed.URL}, "the proxy " + host + " answered 407 Proxy Authentication Required. Put user and password into the proxy's URL", nil},
		{"gets a password", map[string]string{"HTTPS_PROXY": "http://user:" + secret + "@" + host}, "", closed},
		{"gets another password", map[string]string{"HTTPS_PROXY": "http://" + secret + ":x@" + host}, "answered 407", nil},
		{"is for HTTP", map[string]string{"HTTP_PROXY": open.URL}, "", nil},
		{"is not for this host", map[string]string{"HTTPS_PROXY": closed.URL, "NO_PROXY": "other.example, .example.com"}, "answered 407", nil},
		{"NO_PROXY", map[string]string{"HTTPS_PROXY": closed.URL, "NO_PROXY": "other.example,example.com"}, "", nil},
		{"no_proxy for all", map[string]string{"HTTPS_PROXY": closed.URL, "no_proxy": "*"}, "", nil},
		{"is no URL", map[string]string{"HTTPS_PROXY": "http://user:" + secret + "@ho st:%zz"}, "HTTPS_PROXY is not the URL of a proxy. Correct it", nil},
		{"is not there", map[string]string{"HTTPS_PROXY": "http://user:" + secret + "@127.0.0.1:1"}, "cannot be reached through the proxy of HTTPS_PROXY: dial tcp 127.0.0.1:1", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := [2]int32{open.connects.Load(), closed.connects.Load()}
			config := Config{
				Dir: filepath.Join(t.TempDir(), "images"), Sources: []string{source}, CAFile: caFile(t, s.Server),
				Env: func(name string) string { return test.env[name] },
			}
			// Names are resolved by the proxy, or here.
			d, err := newDownloader(config, func(ctx context.Context, network, at string) (net.Conn, error) {
				if at == "example.com:443" {
					at = address
				}
				return (&net.Dialer{}).DialContext(ctx, network, at)
			})
			if err != nil {
				t.Fatal(err)
			}
			waited := &pauses{}
			d.clock.pause = waited.pause
			err = d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil)
			if test.want != "" {
				wantFailure(t, err, fail.DownloadFailed, test.want)
			} else if err != nil {
				t.Errorf("got error %v, want none", err)
			} else {
				wantBlob(t, d, content)
			}
			if len(waited.all) > 0 {
				t.Errorf("got the waits %v, want none", waited.all)
			}
			got := fmt.Sprint(open.connects.Load()-before[0] > 0, closed.connects.Load()-before[1] > 0)
			if want := fmt.Sprint(test.via == open, test.via == closed); got != want {
				t.Errorf("used the open and the closed proxy: got %s, want %s", got, want)
			}
		})
	}
}
