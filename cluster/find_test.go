package cluster_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/layout"
)

// published packs the guest image of a world, takes it away from there, and returns the folder of the layout and the digest of its index.
func published(t *testing.T, w *world) (dir string, index digest.Digest) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Pack(t.Context(), []string{w.Built}, dir, layout.PackOptions{}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, v1.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	w.Built = filepath.Join(t.TempDir(), "image")
	return dir, digest.FromBytes(content)
}

// TestFindImageOverTLS: a mirror whose certificate only ca-file vouches for.
func TestFindImageOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir, index := published(t, w)
	server := httptest.NewTLSServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	search := cluster.ImageSearch{Mirrors: []string{server.URL + "@" + index.String()}}
	if err := w.FindImage(t.Context(), w.options(), search, w.sink); !fail.Is(err, fail.DownloadFailed) || !strings.Contains(err.Error(), "ca-file") {
		t.Errorf("without ca-file: got error %v, want %s that names it", err, fail.DownloadFailed)
	}
	search.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(search.CAFile, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.FindImage(t.Context(), w.options(), search, w.sink); err != nil {
		t.Fatal(err)
	}
	w.starts(w.options())
	search.Mirrors = []string{"https://nowhere.invalid@" + index.String()}
	if err := w.FindImage(t.Context(), w.options(), search, w.sink); err != nil {
		t.Errorf("for a cluster that is there: got error %v, want nobody asked", err)
	}
}

// TestFindImageInARegistry: --image names a repository.
func TestFindImageInARegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir, index := published(t, w)
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/skiff/images:v0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := ggcr.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, packed, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	search := cluster.ImageSearch{Image: "oci://" + tag.Context().Name() + "@" + index.String()}
	w.Built = cluster.NamedImage(w.Home, search)
	if err := w.FindImage(t.Context(), w.options(), search, w.sink); err != nil {
		t.Fatal(err)
	}
	w.starts(w.options())
	if got := cluster.NamedImage(w.Home, search); got != w.Built {
		t.Errorf("got the folder %s, want %s", got, w.Built)
	}
}

// TestFindImageAfterAnUpdate: the image of an older skiff does not serve a new cluster; a mirror has the right one.
func TestFindImageAfterAnUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir, _ := published(t, w)
	content, err := (&images.Manifest{KubernetesVersion: "v1.36.0"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.Built = t.TempDir()
	if err := os.WriteFile(filepath.Join(w.Built, images.ManifestName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.FindImage(t.Context(), w.options(), cluster.ImageSearch{}, w.sink); err != nil {
		t.Errorf("without mirrors: got error %v, want the start to say it", err)
	}
	w.fails(w.options(), fail.K8sVersionUnsupported)
	err = w.FindImage(t.Context(), w.options(), cluster.ImageSearch{Mirrors: []string{filepath.Join(dir, "nothing")}}, w.sink)
	if !fail.Is(err, fail.DownloadFailed) || !strings.Contains(err.Error(), "has Kubernetes v1.36.0") {
		t.Errorf("a mirror that is not there: got error %v, want %s that names the old image", err, fail.DownloadFailed)
	}
	if err := w.FindImage(t.Context(), w.options(), cluster.ImageSearch{Mirrors: []string{dir}}, w.sink); err != nil {
		t.Fatal(err)
	}
	w.starts(w.options())
}

// TestFindImageTwice: of two starts at the same time one downloads; the other one waits, and finds all there.
func TestFindImageTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir, index := published(t, w)
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		http.FileServer(http.Dir(dir)).ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	search := cluster.ImageSearch{Mirrors: []string{server.URL + "@" + index.String()}}
	var both sync.WaitGroup
	for _, profile := range []string{"one", "two"} {
		manager := *w.Manager
		both.Go(func() {
			if err := manager.FindImage(t.Context(), cluster.StartOptions{Profile: profile}, search, w.sink); err != nil {
				t.Error(err)
			}
			if err := images.Reread(t.Context(), manager.Built); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	for path, times := range asked {
		if times != 1 {
			t.Errorf("%s was asked for %d times, want once", path, times)
		}
	}
	if len(asked) == 0 {
		t.Error("nothing was asked for")
	}
}
