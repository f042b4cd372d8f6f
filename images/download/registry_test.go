package download

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcrregistry "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ggcrstatic "github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// hub is a registry that gives tokens; to everybody, or to those with a login.
type hub struct {
	*server
	behind http.Handler // the registry itself, which may be pushed to
	login  bool         // for tokens
	denied bool         // without a login there are tokens, and they are not enough
	mu     sync.Mutex
	scopes []string
	blob   func(w http.ResponseWriter, r *http.Request) bool // answers for a blob instead; nil: none
}

// newHub starts one, with TLS or without.
func newHub(t *testing.T, tls, login bool) *hub {
	t.Helper()
	h := &hub{server: &server{}, login: login, behind: ggcrregistry.New(ggcrregistry.Logger(log.New(io.Discard, "", 0)))}
	h.Server = httptest.NewUnstartedServer(h.noting(func(w http.ResponseWriter, r *http.Request, _ int) { h.answer(w, r) }))
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	if tls {
		h.StartTLS()
	} else {
		h.Start()
	}
	t.Cleanup(h.Close)
	return h
}

func (h *hub) answer(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	switch {
	case r.URL.Path == "/token" && h.login && password != secret:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`)
	case r.URL.Path == "/token" && h.denied && password != secret:
		_, _ = io.WriteString(w, `{"token":"anonymous"}`)
	case r.Header.Get("Authorization") == "Bearer anonymous":
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"not for everybody, see https://user:`+secret+`@hub.example/help?x=`+secret+`"}]}`)
	case r.URL.Path == "/token":
		h.mu.Lock()
		h.scopes = append(h.scopes, r.URL.Query().Get("scope"))
		h.mu.Unlock()
		_, _ = io.WriteString(w, `{"token":"token-`+secret+`"}`)
	case r.Header.Get("Authorization") != "Bearer token-"+secret:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="hub"`, h.URL))
		w.WriteHeader(http.StatusUnauthorized)
	case h.blob != nil && strings.Contains(r.URL.Path, "/blobs/") && h.blob(w, r):
	default:
		h.behind.ServeHTTP(w, r)
	}
}

func (h *hub) host() string {
	_, host, _ := strings.Cut(h.URL, "://")
	return host
}

func (h *hub) source() string { return "oci://" + h.host() + "/skiff/images" }

// push is what puts things there, without a token.
func (h *hub) push(t *testing.T) (name.Repository, remote.Option) {
	t.Helper()
	plain := httptest.NewServer(h.behind)
	t.Cleanup(plain.Close)
	repo, err := name.NewRepository(strings.TrimPrefix(plain.URL, "http://") + "/skiff/images")
	if err != nil {
		t.Fatal(err)
	}
	return repo, remote.WithContext(t.Context())
}

// pushImage puts an index there with one artifact that has the layer, and returns descriptors of all that makes it up.
func (h *hub) pushImage(t *testing.T, content []byte) []v1.Descriptor {
	t.Helper()
	repo, option := h.push(t)
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), ggcrstatic.NewLayer(content, "application/vnd.skiff.part.v1+zstd"))
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: image})
	if err := remote.WriteIndex(repo.Tag("latest"), index, option); err != nil {
		t.Fatal(err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	root := descriptor(t, raw)
	root.MediaType = v1.MediaTypeImageIndex
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	first := manifest.Manifests[0]
	return []v1.Descriptor{root, {MediaType: string(first.MediaType), Digest: digest.Digest(first.Digest.String()), Size: first.Size}, descriptor(t, content)}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	for _, tls := range []bool{true, false} {
		t.Run(fmt.Sprintf("TLS %t", tls), func(t *testing.T) {
			t.Parallel()
			h := newHub(t, tls, false)
			blobs := h.pushImage(t, content)
			cut := true
			h.blob = func(w http.ResponseWriter, r *http.Request) bool {
				if cut {
					cut = false
					give(w, r, content, size/2)
				}
				return false
			}
			config := Config{Sources: []string{h.source()}}
			if tls {
				config.CAFile = caFile(t, h.Server)
			}
			d, waited := newTest(t, config)
			if err := d.Fetch(t.Context(), blobs, nil); err != nil {
				t.Fatal(err)
			}
			wantBlob(t, d, content)
			for _, blob := range blobs {
				if info, err := os.Stat(d.Path(blob.Digest)); err != nil || info.Size() != blob.Size {
					t.Errorf("%s: got %v and error %v, want it there", blob.MediaType, info, err)
				}
			}
			if len(waited.all) != 1 || len(h.scopes) != 1 || h.scopes[0] != "repository:skiff/images:pull" {
				t.Errorf("got the waits %v and tokens for %q, want one wait and one token to pull", waited.all, h.scopes)
			}
			if spans := h.spans(); !strings.HasSuffix(spans, "all 150000-299999") {
				t.Errorf("got the ranges %q, want the rest at last", spans)
			}
			for _, one := range h.requests() {
				if one.method != http.MethodGet {
					t.Errorf("got a %s of %s, want GET alone", one.method, one.path)
				}
			}
		})
	}
}

// TestRegistryRedirects: where the blobs are elsewhere, the token stays with the registry.
func TestRegistryRedirects(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	h := newHub(t, false, false)
	storage := newServer(t, func(w http.ResponseWriter, r *http.Request, n int) { give(w, r, content, (1-n)*size/2-min(n, 1)) })
	h.blob = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, storage.URL+"/x?sig="+secret, http.StatusTemporaryRedirect)
		return true
	}
	d, _ := newTest(t, Config{Sources: []string{h.source()}})
	if err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, d, content)
	if got, want := storage.spans(), "all 150000-299999"; got != want {
		t.Errorf("got the ranges %q, want %q", got, want)
	}
	for _, one := range storage.requests() {
		if one.authorization != "" || one.referer != "" {
			t.Errorf("the storage got authorization %q and Referer %q, want neither", one.authorization, one.referer)
		}
	}
}

// logins is a keychain with a login for each registry, and counts how often it is asked.
type logins struct{ asked int }

func (l *logins) Resolve(authn.Resource) (authn.Authenticator, error) {
	l.asked++
	return authn.FromConfig(authn.AuthConfig{Username: "user", Password: secret}), nil
}

func TestRegistryLogin(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	denied := newHub(t, true, false)
	denied.denied = true
	blobs := denied.pushImage(t, content)
	keys := &logins{}
	d, _ := newTest(t, Config{Sources: []string{denied.source()}, CAFile: caFile(t, denied.Server), Keychain: keys})
	if err := d.Fetch(t.Context(), blobs, nil); err != nil || keys.asked != 1 {
		t.Errorf("where tokens are not enough: got error %v and %d questions to the keychain, want none and one", err, keys.asked)
	}
	d, _ = newTest(t, Config{Sources: []string{denied.source()}, CAFile: caFile(t, denied.Server)})
	wantFailure(t, d.Fetch(t.Context(), blobs, nil), fail.DownloadFailed, "answered 403 Forbidden: not for everybody, see https://hub.example/help. It wants a login")

	h := newHub(t, true, true)
	blobs = h.pushImage(t, content)
	keys = &logins{}
	d, _ = newTest(t, Config{Sources: []string{h.source()}, CAFile: caFile(t, h.Server), Keychain: keys})
	if err := d.Fetch(t.Context(), blobs, nil); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, d, content)
	if keys.asked != 1 {
		t.Errorf("the keychain was asked %d times, want once", keys.asked)
	}

	d, _ = newTest(t, Config{Sources: []string{h.source()}, CAFile: caFile(t, h.Server)})
	wantFailure(t, d.Fetch(t.Context(), blobs, nil), fail.DownloadFailed, h.source()+" did not serve it: the registry answered 401 Unauthorized: who are you?. It wants a login")

	public := newHub(t, true, false)
	blobs = public.pushImage(t, content)
	keys = &logins{}
	d, _ = newTest(t, Config{Sources: []string{public.source()}, CAFile: caFile(t, public.Server), Keychain: keys})
	if err := d.Fetch(t.Context(), blobs, nil); err != nil || keys.asked != 0 {
		t.Errorf("of a public registry: got error %v and %d questions to the keychain, want none", err, keys.asked)
	}
	missing := descriptor(t, someBytes(7, 10))
	wantFailure(t, d.Fetch(t.Context(), []v1.Descriptor{missing}, nil), fail.DownloadFailed, "answered 404 Not Found: Unknown blob")

	plain := newHub(t, false, true)
	blobs = plain.pushImage(t, content)
	d, _ = newTest(t, Config{Sources: []string{plain.source()}, Keychain: &logins{}})
	wantFailure(t, d.Fetch(t.Context(), blobs, nil), fail.DownloadFailed, "a login is sent over TLS only")
	for _, one := range plain.requests() {
		if strings.Contains(one.authorization, base64.StdEncoding.EncodeToString([]byte("user:"+secret))) {
			t.Error("a login was sent without TLS")
		}
	}
}

// TestRegistryFaults are what is not a registry's blob, but answers.
func TestRegistryFaults(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	page := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>Welcome</title>")
	})
	busy := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusServiceUnavailable) })
	realm := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://user:`+secret+`@169.254.169.254/token?x=`+secret+`"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	for s, want := range map[*server]string{
		page: `sent a web page "Welcome": a proxy answered`, busy: "the registry answered 503 Service Unavailable", realm: "is a private or link-local address",
	} {
		at, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := newTest(t, Config{Dir: filepath.Join(t.TempDir(), "images"), Sources: []string{"oci://" + at.Host + "/skiff"}})
		wantFailure(t, d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil), fail.DownloadFailed, want)
	}
}
