package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/provision"
	"github.com/skiff-k8s/skiff/store"
)

// oldImage writes the manifest of a guest image with these container images.
func oldImage(t *testing.T, references ...string) (dir string) {
	t.Helper()
	var m images.Manifest
	for _, reference := range references {
		m.Images = append(m.Images, images.Image{Reference: reference})
	}
	content, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, images.ManifestName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVersionsAreThoseOfTheImage: a cluster gets the etcd and the CoreDNS of its own guest image, whatever this skiff comes with.
func TestVersionsAreThoseOfTheImage(t *testing.T) {
	t.Parallel()
	var got provision.Config
	err := versions(&got, oldImage(t, "registry.k8s.io/etcd:3.6.1", "registry.k8s.io/coredns/coredns:v1.12.0"))
	if err != nil || got.EtcdVersion != "3.6.1" || got.CoreDNSVersion != "v1.12.0" {
		t.Errorf("got etcd %q, CoreDNS %q and error %v, want those of the image", got.EtcdVersion, got.CoreDNSVersion, err)
	}
	if err := versions(&got, oldImage(t, "registry.k8s.io/etcd:3.6.1")); !fail.Is(err, fail.ImageMissing) {
		t.Errorf("an image without CoreDNS: got error %v, want %s", err, fail.ImageMissing)
	}
}

// TestAddonOfAnOldImage: an addon whose images the cluster's bundle lacks stays as it is, and is not applied offline; with the
// bundle's images it is applied.
func TestAddonOfAnOldImage(t *testing.T) {
	t.Parallel()
	addon, err := addons.Find("ingress")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		images  []string // of the bundle
		there   bool     // an older skiff made the addon
		offline bool
		applies bool
		fails   bool
	}{
		"it is there, the bundle lacks its images":             {there: true},
		"it is there, offline":                                 {there: true, offline: true},
		"it is not there, online":                              {applies: true},
		"it is not there, offline":                             {offline: true, fails: true},
		"it is there as it was, and the bundle has its images": {images: addon.Images, there: true, applies: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var applied atomic.Int32
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"ingress-nginx-controller","namespace":"ingress-nginx","labels":{"skiff.dev/addon":"ingress"}},"status":{"updatedReplicas":1,"availableReplicas":1}}`
				switch deployments := strings.Contains(r.URL.Path, "/deployments"); {
				case r.Method == http.MethodPatch:
					applied.Add(1)
					cancel() // what comes of it is another test's
				case !test.there || !deployments:
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
				case r.URL.Query().Has("fieldSelector"):
					fmt.Fprintf(w, `{"apiVersion":"apps/v1","kind":"DeploymentList","metadata":{"resourceVersion":"1"},"items":[%s]}`, deployment)
				default:
					fmt.Fprint(w, deployment)
				}
			}))
			defer server.Close()
			target := Target{
				Config: config.Cluster{Profile: "dev", Address: netip.MustParseAddr("127.77.3.1"), Offline: test.offline},
				Files:  store.Cluster{Dir: t.TempDir()}, Image: oldImage(t, test.images...),
			}
			own := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters: [{name: dev, cluster: {server: %q}}]\ncontexts: [{name: dev, context: {cluster: dev, user: dev}}]\nusers: [{name: dev, user: {token: x}}]\n", server.URL)
			if err := store.Write(target.Files.Kubeconfig(), []byte(own), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, enable := range []func(context.Context, Target, string, Report) error{LiveKubernetes{}.Enable, LiveKubernetes{}.EnableAgain} {
				err := enable(ctx, target, "ingress", func(string, int64, int64) {})
				if (applied.Load() > 0) != test.applies {
					t.Errorf("%d objects were applied, want some: %v; error %v", applied.Load(), test.applies, err)
				}
				if fail.Is(err, fail.AddonFailed) != test.fails || !test.fails && !test.applies && err != nil {
					t.Errorf("got error %v, want one of %s: %v", err, fail.AddonFailed, test.fails)
				}
			}
		})
	}
}
