package pull_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/download"
	"github.com/skiff-k8s/skiff/images/layout"
	"github.com/skiff-k8s/skiff/images/pull"
)

// release packs a small image, and returns the folder of the layout and the digest of its index.
func release(t *testing.T) (dir string, index digest.Digest) {
	t.Helper()
	folder, random := t.TempDir(), rand.NewChaCha8([32]byte{7})
	manifest := images.Manifest{KubernetesVersion: "v1.37.2", Architecture: runtime.GOARCH, Files: map[string]images.File{}}
	for name, bytes := range map[string]int{images.KernelName: 50_000, images.InitrdName: 60_000, images.KubectlName: 90_000, images.DiskName: 1 << 20} {
		content := make([]byte, bytes)
		_, _ = random.Read(content[:bytes/2])
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		sum, err := images.Hash(t.Context(), path, name == images.DiskName, nil)
		if err != nil {
			t.Fatal(err)
		}
		manifest.Files[name] = images.File{Name: name, Size: int64(bytes), SHA256: sum, Sparse: name == images.DiskName, Mode: 0o644}
	}
	manifest.DiskBytes = manifest.Files[images.DiskName].Size
	encoded, err := manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, images.ManifestName), encoded, 0o644); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Pack(t.Context(), []string{folder}, dir, layout.PackOptions{}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, v1.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	return dir, digest.FromBytes(content)
}

// counted serves a folder and counts the requests.
func counted(t *testing.T, handler http.Handler) (at string, requests func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.Method+" "+r.URL.Path)
		mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// TestCarriers: the same image comes over HTTP, from a registry and from a folder, and the second time nothing is asked.
func TestCarriers(t *testing.T) {
	t.Parallel()
	dir, index := release(t)
	static, asked := counted(t, http.FileServer(http.Dir(dir)))
	hub, askedHub := counted(t, registry.New())
	tag, err := name.NewTag(strings.TrimPrefix(hub, "http://") + "/skiff/images:v0.1.0")
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
	var digests []string
	for _, source := range []string{static, "oci://" + tag.Context().Name(), dir} {
		home := t.TempDir()
		want := pull.Request{Index: index, Architecture: runtime.GOARCH, Blobs: filepath.Join(home, "blobs")}
		var bytes download.Progress
		var assembled, of int64
		var requests []int // after the first time, and after the second
		for range 2 {
			d, err := download.New(download.Config{Dir: want.Blobs, Sources: []string{source}})
			if err != nil {
				t.Fatal(err)
			}
			artifact, err := pull.Describe(t.Context(), d, want)
			if err != nil {
				t.Fatalf("%s: %v", source, err)
			}
			if requests == nil { // the second time the image is there, and its description says so
				if err := d.Fetch(t.Context(), artifact.Layers, func(p download.Progress) { bytes = p }); err != nil {
					t.Fatalf("%s: %v", source, err)
				}
			}
			folder := filepath.Join(home, "images", artifact.Image.Digest)
			if err := layout.Assemble(t.Context(), os.DirFS(want.Blobs), artifact, folder, func(done, total int64) { assembled, of = done, total }); err != nil {
				t.Fatalf("%s: %v", source, err)
			}
			if err := images.Reread(t.Context(), folder); err != nil {
				t.Errorf("%s: %v", source, err)
			}
			digests = append(digests, filepath.Base(folder))
			requests = append(requests, len(asked())+len(askedHub()))
		}
		if requests[0] != requests[1] {
			t.Errorf("%s: the second time: got %d requests, want none", source, requests[1]-requests[0])
		}
		if bytes.Done != bytes.Total || bytes.Fetched != bytes.Total || bytes.Total == 0 || assembled != of || of == 0 {
			t.Errorf("%s: got the progress %+v and %d of %d, want all", source, bytes, assembled, of)
		}
	}
	if len(slices.Compact(digests)) != 1 {
		t.Errorf("got the images %q, want one", digests)
	}
	for _, path := range asked() {
		if !strings.HasPrefix(path, "GET ") || strings.Contains(path, "sha256-") {
			t.Errorf("got %s, want GET of a layout's files", path)
		}
	}
	if seen := asked(); len(slices.Compact(slices.Sorted(slices.Values(seen)))) != len(seen) {
		t.Errorf("got %q, want each once", seen)
	}
}

// TestNotThere: the error says what there is, and where nothing is.
func TestNotThere(t *testing.T) {
	t.Parallel()
	dir, index := release(t)
	home := t.TempDir()
	want := pull.Request{Index: index, Architecture: runtime.GOARCH, KubernetesVersion: "v1.2.3", Blobs: filepath.Join(home, "blobs")}
	d, err := download.New(download.Config{Dir: want.Blobs, Sources: []string{dir}, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pull.Describe(t.Context(), d, want); !fail.Is(err, fail.K8sVersionUnsupported) || !strings.Contains(err.Error(), "v1.37.2") {
		t.Errorf("got error %v, want one that lists v1.37.2", err)
	}
	var parsed v1.Index
	content, err := os.ReadFile(filepath.Join(dir, v1.ImageIndexFile))
	if err != nil || json.Unmarshal(content, &parsed) != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, layout.BlobPath(parsed.Manifests[0].Digest))); err != nil {
		t.Fatal(err)
	}
	want.KubernetesVersion = ""
	if _, err := pull.Describe(t.Context(), d, want); !fail.Is(err, fail.Offline) || !strings.Contains(err.Error(), dir+" does not have it") {
		t.Errorf("got error %v, want %s", err, fail.Offline)
	}
}
