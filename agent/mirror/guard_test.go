package mirror

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func noProxy(*http.Request) (*url.URL, error) { return nil, nil } //nolint:nilnil // http.Transport.Proxy has it so

func TestAddressesOfRegistries(t *testing.T) {
	t.Parallel()
	for address, allowed := range map[string]bool{
		"127.0.0.1": false, "127.77.3.1": false, "::1": false, "::ffff:127.0.0.1": false, "169.254.169.254": false, "fe80::1": false,
		"0.0.0.0": false, "::": false, "224.0.0.1": false, "10.1.2.3": true, "192.168.1.2": true, "203.0.113.7": true, "2001:db8::1": true,
	} {
		if err := public(netip.MustParseAddr(address)); (err == nil) != allowed || err != nil && !errors.Is(err, errForbidden) {
			t.Errorf("%s: got %v, want allowed %t", address, err, allowed)
		}
	}
}

// counted counts what reaches a server at address.
func counted(t *testing.T, address string, answer http.HandlerFunc) (url string, count *atomic.Int32) {
	t.Helper()
	count = &atomic.Int32{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		answer(w, r)
	}))
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", address+":0")
	if err != nil {
		t.Skipf("this host has no address %s: %v", address, err)
	}
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, count
}

func get(t *testing.T, transport http.RoundTripper, url string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err == nil {
		_ = response.Body.Close()
	}
	return err
}

func TestANameThatResolvesToTheHostIsNotAsked(t *testing.T) {
	t.Parallel()
	at, count := counted(t, "127.0.0.1", func(http.ResponseWriter, *http.Request) {})
	named := strings.Replace(at, "127.0.0.1", "localhost", 1)
	proxy, relayed := counted(t, "127.0.0.1", func(http.ResponseWriter, *http.Request) {})
	through := func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	for what, transport := range map[string]http.RoundTripper{"directly": newGuarded(noProxy, public, false), "through a proxy": newGuarded(through, public, false)} {
		if err := get(t, transport, named); !errors.Is(err, errForbidden) {
			t.Errorf("%s: got %v, want %v", what, err, errForbidden)
		}
	}
	if count.Load() != 0 || relayed.Load() != 0 {
		t.Errorf("got %d requests at the service and %d at the proxy, want none", count.Load(), relayed.Load())
	}
	// A proxy on the host is the user's own choice.
	if err := get(t, newGuarded(through, public, false), "http://192.0.2.9/"); err != nil || relayed.Load() != 1 {
		t.Errorf("got %v and %d requests at the proxy, want one", err, relayed.Load())
	}
}

func TestARedirectToTheHostIsNotFollowed(t *testing.T) {
	t.Parallel()
	secret, count := counted(t, "127.77.251.9", func(http.ResponseWriter, *http.Request) {})
	registry, first := counted(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secret, http.StatusTemporaryRedirect)
	})
	allow := func(address netip.Addr) error { // 127.0.0.1 stands for the registry's own address
		if address == netip.MustParseAddr("127.0.0.1") {
			return nil
		}
		return public(address)
	}
	if err := get(t, newGuarded(noProxy, allow, false), registry); !errors.Is(err, errForbidden) || first.Load() != 1 || count.Load() != 0 {
		t.Errorf("got %v, %d requests at the registry and %d behind it, want %v, 1 and 0", err, first.Load(), count.Load(), errForbidden)
	}
}

type keychain struct{ asked atomic.Int32 }

func (k *keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	k.asked.Add(1)
	return &authn.Basic{Username: "somebody", Password: "secret"}, nil
}

func TestLogins(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		logins, sent bool
		server       func(http.Handler) *httptest.Server
		err          error
	}{
		"for who has the user's trust": {logins: true, sent: true, server: httptest.NewTLSServer},
		"for nobody else":              {server: httptest.NewTLSServer},
		"never without TLS":            {logins: true, server: httptest.NewServer, err: errNotEncrypted},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Bool
			server := test.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					sent.Store(true)
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			t.Cleanup(server.Close)
			// A private address, for which go-containerregistry tries plain HTTP; all connections end at the server.
			transport := server.Client().Transport.(*http.Transport).Clone() //nolint:forcetypeassert // httptest has it so
			if transport.TLSClientConfig != nil {
				transport.TLSClientConfig.InsecureSkipVerify = true
			}
			transport.DialContext = redirected(server.Listener.Addr().String())
			u := newUpstream(transport, transport, test.logins)
			u.insecure.set([]string{"10.1.2.3:5000"}) // so that it is asked at all where it has no TLS
			if u.keychain != nil {
				u.keychain = &keychain{}
			}
			tag, err := name.NewTag("10.1.2.3:5000/a/b:1")
			if err != nil {
				t.Fatal(err)
			}
			_, err = u.manifest(t.Context(), tag, patience)
			if err == nil || sent.Load() != test.sent || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("got %v, and a login was sent: %t; want %v and %t", err, sent.Load(), test.err, test.sent)
			}
		})
	}
}

// redirected makes every connection end at address.
func redirected(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	}
}
