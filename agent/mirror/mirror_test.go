package mirror

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// outside is every registry of the world: requests for whatever host end at one server of the test.
type outside struct {
	server *httptest.Server

	mu    sync.Mutex
	down  error    // what every request fails with; nil: it answers
	asked []string // paths
}

func (o *outside) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.asked = append(o.asked, r.URL.Host+r.URL.Path)
	down := o.down
	o.mu.Unlock()
	if down != nil {
		return nil, down
	}
	server, err := url.Parse(o.server.URL)
	if err != nil {
		return nil, err
	}
	sent := r.Clone(r.Context())
	sent.URL.Scheme, sent.URL.Host = server.Scheme, server.Host
	response, err := http.DefaultTransport.RoundTrip(sent)
	if err == nil {
		response.Request = r // go-containerregistry looks there for how it was asked
	}
	return response, err
}

func (o *outside) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = err
}

// questions returns what was asked since it was called last.
func (o *outside) questions() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := o.asked
	o.asked = nil
	return asked
}

// world starts a registry that has the images, by their reference there.
func world(t *testing.T, images map[string]v1.Image) *outside {
	t.Helper()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	o := &outside{server: server}
	for reference, image := range images {
		parsed, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(parsed, image, remote.WithTransport(o)); err != nil {
			t.Fatal(err)
		}
	}
	o.questions()
	return o
}

func image(t *testing.T) v1.Image {
	t.Helper()
	made, err := random.Image(100_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// folder writes an image layout; names that end in "*" are stand-ins.
func folder(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for reference, image := range images {
		plain, standIn := strings.CutSuffix(reference, "*")
		annotations := map[string]string{annotationName: plain}
		if standIn {
			annotations[annotationStandIn] = "true"
		}
		if err := at.AppendImage(image, layout.WithAnnotations(annotations)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lines is a writer for log lines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type served struct {
	*Mirror
	url string
	log *lines
}

func serve(t *testing.T, c Config) served {
	t.Helper()
	log := &lines{}
	c.Log = slog.New(slog.NewTextHandler(log, nil))
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return served{m, server.URL, log}
}

func (s served) do(t *testing.T, method, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// pull does what containerd does: resolves by HEAD, fetches the manifest and every blob, checks each. It returns the
// image's digest.
func (s served) pull(t *testing.T, repository, tag, ns string) (string, error) {
	t.Helper()
	head, _ := s.do(t, http.MethodHead, "/v2/"+repository+"/manifests/"+tag+"?ns="+ns)
	if head.StatusCode != http.StatusOK {
		_, body := s.do(t, http.MethodGet, "/v2/"+repository+"/manifests/"+tag+"?ns="+ns)
		return "", fmt.Errorf("%s: %s", head.Status, body)
	}
	digest := head.Header.Get("Docker-Content-Digest")
	response, body := s.do(t, http.MethodGet, "/v2/"+repository+"/manifests/"+digest+"?ns="+ns)
	if int64(len(body)) != head.ContentLength || response.Header.Get("Content-Type") != head.Header.Get("Content-Type") {
		t.Errorf("GET and HEAD differ: got %d bytes of %s, want %d of %s", len(body), response.Header.Get("Content-Type"),
			head.ContentLength, head.Header.Get("Content-Type"))
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		response, body := s.do(t, http.MethodGet, "/v2/"+repository+"/blobs/"+blob.Digest.String()+"?ns="+ns)
		got, _, _ := v1.SHA256(bytes.NewReader(body))
		if response.StatusCode != http.StatusOK || got != blob.Digest {
			return "", fmt.Errorf("blob: %s, digest %s, want %s", response.Status, got, blob.Digest)
		}
	}
	return digest, nil
}

func digestOf(t *testing.T, image v1.Image) string {
	t.Helper()
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// want pulls and compares the digest.
func (s served) want(t *testing.T, repository, tag, ns string, image v1.Image) {
	t.Helper()
	got, err := s.pull(t, repository, tag, ns)
	if want := digestOf(t, image); err != nil || got != want {
		t.Errorf("pull %s/%s:%s: got %s and %v, want %s", ns, repository, tag, got, err, want)
	}
}

func TestBundledImagesNeedNoRegistry(t *testing.T) {
	t.Parallel()
	nginx, pause := image(t), image(t)
	o := world(t, map[string]v1.Image{"docker.io/library/nginx:1": image(t)})
	s := serve(t, Config{Transport: o, Layout: folder(t, map[string]v1.Image{
		"docker.io/library/nginx:1": nginx, "registry.k8s.io/pause:3.10.1": pause,
	})})
	s.want(t, "library/nginx", "1", "docker.io", nginx)
	s.want(t, "pause", "3.10.1", "registry.k8s.io", pause)
	if asked := o.questions(); len(asked) != 0 {
		t.Errorf("registries were asked %v, want nothing", asked)
	}
}

func TestTheRestComesFromTheRegistryOnce(t *testing.T) {
	t.Parallel()
	whoami := image(t)
	o := world(t, map[string]v1.Image{"quay.io/a/whoami:v1": whoami})
	cache := t.TempDir()
	s := serve(t, Config{Transport: o, Cache: cache})
	s.want(t, "a/whoami", "v1", "quay.io", whoami)
	o.questions()

	// Another cluster's agent, with the same cache, offline.
	other := serve(t, Config{Transport: o, Cache: cache, Offline: true})
	other.want(t, "a/whoami", "v1", "quay.io", whoami)
	if asked := o.questions(); len(asked) != 0 {
		t.Errorf("offline, registries were asked %v, want nothing", asked)
	}
	// The same agent, with the registry gone.
	o.fail(errors.New("no route to host"))
	s.want(t, "a/whoami", "v1", "quay.io", whoami)
	if !strings.Contains(s.log.String(), "answering with what the registry said earlier") {
		t.Errorf("the log does not say so:\n%s", s.log)
	}
}

func TestOnlyBlobsThatAreNotThereAreDownloaded(t *testing.T) {
	t.Parallel()
	whoami := image(t)
	o := world(t, map[string]v1.Image{"quay.io/a/whoami:v1": whoami})
	s := serve(t, Config{Transport: o, Cache: t.TempDir()})
	s.want(t, "a/whoami", "v1", "quay.io", whoami)
	o.questions()
	s.want(t, "a/whoami", "v1", "quay.io", whoami)
	for _, path := range o.questions() {
		if strings.Contains(path, "/blobs/") {
			t.Errorf("asked for %s again, want it from the cache", path)
		}
	}
}

func TestStandInsGiveWayToTheRealImage(t *testing.T) {
	t.Parallel()
	real, standIn := image(t), image(t)
	o := world(t, map[string]v1.Image{"docker.io/kennship/http-echo:latest": real})
	bundle := folder(t, map[string]v1.Image{"docker.io/kennship/http-echo:latest*": standIn})
	cache := t.TempDir()

	offline := serve(t, Config{Transport: o, Layout: bundle, Offline: true})
	offline.want(t, "kennship/http-echo", "latest", "docker.io", standIn)
	if asked := o.questions(); len(asked) != 0 {
		t.Errorf("offline, registries were asked %v, want nothing", asked)
	}
	online := serve(t, Config{Transport: o, Layout: bundle, Cache: cache})
	online.want(t, "kennship/http-echo", "latest", "docker.io", real)

	// Who has had the real one keeps it.
	later := serve(t, Config{Transport: o, Layout: bundle, Cache: cache, Offline: true})
	later.want(t, "kennship/http-echo", "latest", "docker.io", real)
}

func TestStandInsAnswerWhenTheRegistryDoesNotAndTheNextAsksAtOnce(t *testing.T) {
	t.Parallel()
	standIn, real := image(t), image(t)
	o := world(t, map[string]v1.Image{"docker.io/kennship/http-echo:latest": real})
	s := serve(t, Config{Transport: o, Layout: folder(t, map[string]v1.Image{"docker.io/kennship/http-echo:latest*": standIn})})
	now := time.Now()
	s.upstream.now = func() time.Time { return now }

	o.fail(errors.New("no route to host"))
	s.want(t, "kennship/http-echo", "latest", "docker.io", standIn)
	if len(o.questions()) == 0 {
		t.Error("the registry was not asked, want it asked first")
	}
	if !strings.Contains(s.log.String(), "answering with a stand-in") || !strings.Contains(s.log.String(), "no route to host") {
		t.Errorf("the log does not say so, and why:\n%s", s.log)
	}
	s.want(t, "kennship/http-echo", "latest", "docker.io", standIn)
	if asked := o.questions(); len(asked) != 0 {
		t.Errorf("within a minute the registry was asked %v, want nothing", asked)
	}
	o.fail(nil)
	now = now.Add(remembered)
	s.want(t, "kennship/http-echo", "latest", "docker.io", real)
}

func TestStandInsAlsoReplaceWhatTheRegistryHasNot(t *testing.T) {
	t.Parallel()
	standIn := image(t)
	s := serve(t, Config{Transport: world(t, nil), Layout: folder(t, map[string]v1.Image{"docker.io/a/gone:1*": standIn})})
	s.want(t, "a/gone", "1", "docker.io", standIn)
}

func TestMissing(t *testing.T) {
	t.Parallel()
	o := world(t, nil)
	down := world(t, nil)
	down.fail(errors.New("no route to host"))
	digest := "sha256:" + strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		config Config
		path   string
		status int
		text   string
	}{
		"offline tag":      {Config{Offline: true}, "/v2/library/nginx/manifests/1?ns=docker.io", 403, "docker.io/library/nginx:1 is not on this machine"},
		"offline remedy":   {Config{Offline: true}, "/v2/library/nginx/manifests/1?ns=docker.io", 403, "without --offline"},
		"offline digest":   {Config{Offline: true}, "/v2/library/nginx/manifests/" + digest + "?ns=docker.io", 403, digest},
		"offline blob":     {Config{Offline: true}, "/v2/library/nginx/blobs/" + digest + "?ns=docker.io", 403, digest},
		"unknown tag":      {Config{Transport: o}, "/v2/library/nginx/manifests/1?ns=docker.io", 404, "MANIFEST_UNKNOWN"},
		"unknown blob":     {Config{Transport: o}, "/v2/library/nginx/blobs/" + digest + "?ns=docker.io", 404, ""},
		"registry is down": {Config{Transport: down}, "/v2/library/nginx/manifests/1?ns=docker.io", 502, "no route to host"},
		"the guest's own":  {Config{Transport: o}, "/v2/app/manifests/1?ns=localhost:5000", 404, "localhost"},
		"loopback address": {Config{Transport: o}, "/v2/app/manifests/1?ns=127.0.0.1:5000", 404, "localhost"},
		"not a digest":     {Config{Transport: o}, "/v2/app/blobs/latest?ns=docker.io", 400, "DIGEST_INVALID"},
		"escape":           {Config{Transport: o}, "/v2/app/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd?ns=docker.io", 400, ""},
		"bad name":         {Config{Transport: o}, "/v2/A%20B/manifests/1?ns=docker.io", 400, "NAME_INVALID"},
		"bad tag":          {Config{Transport: o}, "/v2/app/manifests/a%20b?ns=docker.io", 400, "MANIFEST_INVALID"},
		"something else":   {Config{Transport: o}, "/v2/app/tags/list?ns=docker.io", 404, "UNSUPPORTED"},
		"not even that":    {Config{Transport: o}, "/", 404, "UNSUPPORTED"},
		"a ns of nonsense": {Config{Transport: o}, "/v2/app/manifests/1?ns=a%20b/c", 400, "NAME_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, test.config)
			response, body := s.do(t, http.MethodGet, test.path)
			if response.StatusCode != test.status || !strings.Contains(string(body), test.text) {
				t.Errorf("got %d %s, want %d and %q in it", response.StatusCode, body, test.status, test.text)
			}
			var told struct {
				Errors []struct{ Code, Message string }
			}
			if err := json.Unmarshal(body, &told); err != nil || len(told.Errors) != 1 || told.Errors[0].Code == "" {
				t.Errorf("got %s, want one error of the protocol", body)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	if response, _ := s.do(t, http.MethodPut, "/v2/app/manifests/1"); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: got %s, want 405", response.Status)
	}
	if response, _ := s.do(t, http.MethodGet, "/v2/"); response.StatusCode != http.StatusOK {
		t.Errorf("GET /v2/: got %s, want 200", response.Status)
	}
}

func TestPartsOfABlob(t *testing.T) {
	t.Parallel()
	nginx := image(t)
	s := serve(t, Config{Layout: folder(t, map[string]v1.Image{"docker.io/library/nginx:1": nginx})})
	layers, err := nginx.Layers()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := "/v2/library/nginx/blobs/" + hash.String() + "?ns=docker.io"
	_, whole := s.do(t, http.MethodGet, path)
	response, part := s.do(t, http.MethodGet, path, "Range", "bytes=1000-")
	if response.StatusCode != http.StatusPartialContent || !bytes.Equal(part, whole[1000:]) {
		t.Errorf("got %s and %d bytes, want 206 and %d", response.Status, len(part), len(whole)-1000)
	}
	head, _ := s.do(t, http.MethodHead, path)
	if head.ContentLength != int64(len(whole)) || head.Header.Get("Docker-Content-Digest") != hash.String() {
		t.Errorf("HEAD: got length %d and digest %s, want %d and %s", head.ContentLength, head.Header.Get("Docker-Content-Digest"), len(whole), hash)
	}
}

func TestHeadOfABlobThatTheRegistryHas(t *testing.T) {
	t.Parallel()
	whoami := image(t)
	s := serve(t, Config{Transport: world(t, map[string]v1.Image{"quay.io/a/whoami:v1": whoami})})
	layers, _ := whoami.Layers()
	hash, _ := layers[0].Digest()
	size, _ := layers[0].Size()
	head, _ := s.do(t, http.MethodHead, "/v2/a/whoami/blobs/"+hash.String()+"?ns=quay.io")
	if head.ContentLength != size {
		t.Errorf("got %d, want %d", head.ContentLength, size)
	}
}

// A registry that sends something else than was asked for must not get it into the cache, nor the guest believe it.
func TestAWrongBlobIsNeitherKeptNorEndedInOrder(t *testing.T) {
	t.Parallel()
	junk := make([]byte, 1<<20)
	_, _ = rand.Read(junk)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(junk) }))
	t.Cleanup(server.Close)
	cache := t.TempDir()
	s := serve(t, Config{Transport: &outside{server: server}, Cache: cache})
	path := "/v2/a/b/blobs/sha256:" + strings.Repeat("0", 64) + "?ns=quay.io"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	if err == nil {
		t.Error("got a complete answer, want one that breaks off")
	}
	kept, err := filepath.Glob(filepath.Join(cache, "blobs", "sha256", "*"))
	if err != nil || len(kept) != 0 {
		t.Errorf("got %v in the cache, want nothing", kept)
	}
}

func TestADeletedCacheIsMadeAgain(t *testing.T) {
	t.Parallel()
	whoami := image(t)
	o := world(t, map[string]v1.Image{"quay.io/a/whoami:v1": whoami})
	cache := filepath.Join(t.TempDir(), "cache")
	s := serve(t, Config{Transport: o, Cache: cache})
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	s.want(t, "a/whoami", "v1", "quay.io", whoami)
	kept, _ := filepath.Glob(filepath.Join(cache, "blobs", "sha256", "*"))
	if len(kept) != 4 { // the manifest, the configuration, two layers
		t.Errorf("got %v in the cache, want 4 blobs", kept)
	}
}

func TestAnImageIndexKeepsItsType(t *testing.T) {
	t.Parallel()
	index, err := random.Index(1000, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	o := world(t, nil)
	reference, _ := name.ParseReference("quay.io/a/many:v1")
	if err := remote.WriteIndex(reference, index, remote.WithTransport(o)); err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{Transport: o, Cache: t.TempDir()})
	want, _ := index.MediaType()
	var types []string
	for range 2 { // first of the registry, then of the cache
		response, _ := s.do(t, http.MethodGet, "/v2/a/many/manifests/v1?ns=quay.io")
		types = append(types, response.Header.Get("Content-Type"))
		o.fail(errors.New("no route to host"))
	}
	if !slices.Equal(types, []string{string(want), string(want)}) {
		t.Errorf("got types %v, want %s twice", types, want)
	}
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}`: "application/vnd.docker.distribution.manifest.v2+json",
		`{"manifests":[]}`:          "application/vnd.oci.image.index.v1+json",
		`{"config":{},"layers":[]}`: "application/vnd.oci.image.manifest.v1+json",
		`junk`:                      "application/octet-stream",
	} {
		if got := mediaType([]byte(data)); got != want {
			t.Errorf("%s: got %s, want %s", data, got, want)
		}
	}
}
