package mirror

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestInsecureRegistriesAreThoseThatWereNamed(t *testing.T) {
	t.Parallel()
	var i insecure
	if i.has("10.1.2.3:5000") {
		t.Error("nothing was named: got true")
	}
	i.set([]string{"registry.lan:5000", "10.1.0.0/16", "192.0.2.7", "fd00::/8"})
	for host, want := range map[string]bool{
		"registry.lan:5000": true, "Registry.LAN:5000": true, "registry.lan": false, "registry.lan:5001": false, "10.1.2.3:5000": true, "10.1.2.3": true,
		"10.2.2.3:5000": false, "192.0.2.7": true, "192.0.2.7:5000": false, "[fd00::7]:5000": true, "[fe80::7]": false, "": false,
	} {
		if got := i.has(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
}

// to is an upstream of which every connection ends at a server, whose certificate nobody knows.
func to(server *httptest.Server, insecure ...string) *upstream {
	dial := redirected(server.Listener.Addr().String())
	u := newUpstream(transportOver(dial, false), transportOver(dial, true), true)
	u.keychain = &keychain{}
	u.insecure.set(insecure)
	return u
}

// fetch asks for a tag, as the mirror names it.
func (u *upstream) fetch(t *testing.T, reference string) (manifest, error) {
	t.Helper()
	host, _, _ := strings.Cut(reference, "/")
	tag, err := name.NewTag(reference, u.insecure.naming(host)...)
	if err != nil {
		t.Fatal(err)
	}
	return u.manifest(t.Context(), tag, patience)
}

// A registry without TLS, or with a certificate that this host does not trust, is asked only where the user named it.
func TestRegistriesThatAnybodyMayAnswerFor(t *testing.T) {
	t.Parallel()
	for what, serve := range map[string]func(http.Handler) *httptest.Server{"plain HTTP": httptest.NewServer, "an unknown certificate": httptest.NewTLSServer} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			images := registry.New()
			var asked atomic.Int32
			server := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				images.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			const private, public = "10.1.2.3:5000/a/b:1", "registry.lan:5000/a/b:1"
			want := push(t, server, private)
			asked.Store(0)
			for _, reference := range []string{private, public} {
				_, err := to(server, "10.9.0.0/16").fetch(t, reference)
				if err == nil || asked.Load() != 0 {
					t.Errorf("%s: got %v and %d requests, want a refusal and none", reference, err, asked.Load())
				}
				var plain *plainError
				if refused := errors.As(err, &plain) && plain.answered; what == "plain HTTP" && !refused {
					t.Errorf("%s: got %v, want what allows it", reference, err)
				}
				problem := asProblem(name.Repository{}, err).Error()
				setting := "--insecure-registry " + strings.TrimSuffix(reference, "/a/b:1")
				if what == "plain HTTP" && strings.Count(problem, setting) != 1 {
					t.Errorf("%s: got %q, want %q in it, once", reference, problem, setting)
				}
				for _, named := range [][]string{{"10.1.0.0/16", "registry.lan:5000"}, {"10.1.2.3:5000", "registry.lan:5000"}} {
					found, err := to(server, named...).fetch(t, reference)
					if err != nil || found.hash != want {
						t.Errorf("%s, with %v: got %s and %v, want %s", reference, named, found.hash, err, want)
					}
				}
				asked.Store(0)
			}
		})
	}
}

// push gives the server an image, and returns its digest.
func push(t *testing.T, server *httptest.Server, reference string) v1.Hash {
	t.Helper()
	parsed, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	made := image(t)
	if err := remote.Write(parsed, made, remote.WithTransport(transportOver(redirected(server.Listener.Addr().String()), true))); err != nil {
		t.Fatal(err)
	}
	hash, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A registry that was named does not lead to one that was not.
func TestARedirectToPlainHTTPIsNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host == "other.lan":
			elsewhere.Add(1)
		case r.URL.Path == "/v2/":
		default:
			http.Redirect(w, r, "http://other.lan"+r.URL.Path, http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(server.Close)
	_, err := to(server, "registry.lan").fetch(t, "registry.lan/a/b:1")
	var plain *plainError
	if !errors.As(err, &plain) || plain.host != "other.lan" || !plain.answered || elsewhere.Load() != 0 {
		t.Errorf("got %v and %d requests at the other host, want what allows it and none", err, elsewhere.Load())
	}
}

// No login is sent where anybody may answer, whatever the user named.
func TestNoLoginForInsecureRegistries(t *testing.T) {
	t.Parallel()
	for what, serve := range map[string]func(http.Handler) *httptest.Server{"plain HTTP": httptest.NewServer, "an unknown certificate": httptest.NewTLSServer} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Bool
			server := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					sent.Store(true)
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			t.Cleanup(server.Close)
			if _, err := to(server, "registry.lan").fetch(t, "registry.lan/a/b:1"); !errors.Is(err, errNotEncrypted) || sent.Load() {
				t.Errorf("got %v, and a login was sent: %t; want %v and false", err, sent.Load(), errNotEncrypted)
			}
		})
	}
}

// A registry of a private address that does not answer at all is out of reach, and not one without TLS.
func TestUnreachablePrivateRegistry(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	u := to(server)
	server.Close()
	_, err := u.fetch(t, "10.1.2.3:5000/a/b:1")
	if answered(err) || !strings.Contains(asProblem(name.Repository{}, err).Error(), "cannot be reached") {
		t.Errorf("got %v, want that it cannot be reached", err)
	}
}
