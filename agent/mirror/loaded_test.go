package mirror

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// node has the images that its user gave it, by their full names.
type node map[string]v1.Image

func (n node) loaded(_ context.Context, name string) ([]byte, error) {
	if image, ok := n[name]; ok {
		return image.RawManifest()
	}
	return nil, os.ErrNotExist
}

// resolves asks for a tag as containerd does, which has the rest of a loaded image already, and returns the digest; none when there
// is no answer. The manifest is there by its digest too.
func (s served) resolves(t *testing.T, repository, tag, ns string) string {
	t.Helper()
	head, _ := s.do(t, http.MethodHead, "/v2/"+repository+"/manifests/"+tag+"?ns="+ns)
	digest := head.Header.Get("Docker-Content-Digest")
	if digest == "" {
		return ""
	}
	response, body := s.do(t, http.MethodGet, "/v2/"+repository+"/manifests/"+digest+"?ns="+ns)
	if hash, _, _ := v1.SHA256(strings.NewReader(string(body))); hash.String() != digest || response.Header.Get("Content-Type") != head.Header.Get("Content-Type") {
		t.Errorf("by digest: got %s, %s and %s, want %s", response.Status, hash, response.Header.Get("Content-Type"), digest)
	}
	return digest
}

func TestLoadedImagesAnswerWhereTheRegistryGivesNone(t *testing.T) {
	t.Parallel()
	app, podman, guests, theirs, bundled := image(t), image(t), image(t), image(t), image(t)
	n := node{
		"docker.io/library/app:dev": app, "quay.io/a/app:v1": app, "localhost/app:v1": podman, "localhost:5000/app:v1": guests,
		"registry.k8s.io/pause:3": app, "docker.io/kennship/http-echo:latest": app,
	}
	layout := folder(t, map[string]v1.Image{"registry.k8s.io/pause:3": bundled, "docker.io/kennship/http-echo:latest*": bundled})
	down := world(t, nil)
	down.fail(errors.New("no route to host"))
	for what, config := range map[string]Config{
		"offline": {Offline: true}, "no network": {Transport: down}, "the registry has none": {Transport: world(t, nil)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			config.Loaded, config.Layout, config.Cache = n.loaded, layout, t.TempDir()
			s := serve(t, config)
			for _, test := range []struct {
				repository, tag, ns string
				want                v1.Image // nil: no answer
			}{
				{"library/app", "dev", "docker.io", app}, {"a/app", "v1", "quay.io", app}, {"app", "v1", "localhost", podman},
				{"app", "v1", "localhost:5000", nil},               // the guest's own registry is asked by the guest
				{"pause", "3", "registry.k8s.io", bundled},         // what came with the guest is asked of nobody
				{"kennship/http-echo", "latest", "docker.io", app}, // and a stand-in gives way
				{"library/app", "prod", "docker.io", nil},
			} {
				want := ""
				if test.want != nil {
					want = digestOf(t, test.want)
				}
				if got := s.resolves(t, test.repository, test.tag, test.ns); got != want {
					t.Errorf("%s/%s:%s: got %q, want %q", test.ns, test.repository, test.tag, got, want)
				}
			}
		})
	}
	// Always means that the registry is asked, and one that has an image is believed; it is what was loaded that remains offline.
	o := world(t, map[string]v1.Image{"quay.io/a/app:v1": theirs})
	s := serve(t, Config{Transport: o, Loaded: n.loaded, Cache: t.TempDir()})
	if got, want := s.resolves(t, "a/app", "v1", "quay.io"), digestOf(t, theirs); got != want {
		t.Errorf("with a registry that has the image: got %q, want %q", got, want)
	}
	o.fail(errors.New("no route to host"))
	if got, want := s.resolves(t, "a/app", "v1", "quay.io"), digestOf(t, app); got != want {
		t.Errorf("without it: got %q, want %q", got, want)
	}
}

// A node that cannot be asked keeps nobody from what else there is.
func TestANodeThatDoesNotTell(t *testing.T) {
	t.Parallel()
	standIn := image(t)
	s := serve(t, Config{
		Offline: true, Layout: folder(t, map[string]v1.Image{"docker.io/kennship/http-echo:latest*": standIn}),
		Loaded: func(context.Context, string) ([]byte, error) { return nil, errors.New("no answer over SSH") },
	})
	s.want(t, "kennship/http-echo", "latest", "docker.io", standIn)
	if !strings.Contains(s.log.String(), "no answer over SSH") {
		t.Errorf("the log does not say why:\n%s", s.log)
	}
}
