//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// loads gives the cluster an image from an archive, as docker save writes it, and runs it.
func (s *session) loads() {
	archive := filepath.Join(s.t.TempDir(), "loaded.tar")
	s.writeImage(archive, "localhost/loaded:v1")
	out := s.timed("image load, 8 MiB", "image", "load", archive)
	if !strings.HasPrefix(out, "localhost/loaded:v1\tsha256:") {
		s.t.Errorf("image load printed %q, want the name and digest", out)
	}
	if list := s.run("image", "ls"); !strings.Contains(list, "localhost/loaded:v1\n") || !strings.Contains(list, "kube-proxy") {
		s.t.Errorf("the images are\n%s", list)
	}
	// A pull gets it without a network, and without a registry.
	s.apply(shellPod("always", "localhost/loaded:v1", "Always", "echo loaded; exec /usr/bin/sleep 1000"))
	s.run("kubectl", "wait", "pod/always", "--for=condition=Ready", "--timeout=3m")
	if got := s.run("kubectl", "logs", "always"); got != "loaded" {
		s.t.Errorf("the pod that pulls printed %q", got)
	}
	// A pull that fails, as of a registry that is to be on the node and is not, keeps the image from no other pod.
	s.writeImage(archive, "localhost:5000/loaded:v1")
	s.run("image", "load", archive)
	s.apply(shellPod("pulls", "localhost:5000/loaded:v1", "Always", "exec /usr/bin/sleep 1000"))
	s.run("kubectl", "wait", "pod/pulls", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull", "--timeout=2m")
	s.apply(shellPod("loaded", "localhost:5000/loaded:v1", "IfNotPresent", "echo loaded; exec /usr/bin/sleep 1000"))
	s.run("kubectl", "wait", "pod/loaded", "--for=condition=Ready", "--timeout=3m")
	if got := s.run("kubectl", "logs", "loaded"); got != "loaded" {
		s.t.Errorf("the pod printed %q", got)
	}
	s.run("kubectl", "delete", "pod", "always", "loaded", "pulls", "--wait=true")
	// An archive that was cut off is refused, and the cluster goes on.
	if err := os.Truncate(archive, 1<<20); err != nil {
		s.t.Fatal(err)
	}
	if out := s.code(10, "image", "load", archive); !strings.Contains(out.stderr, "IMAGE_REFUSED") {
		s.t.Errorf("half an archive: %s", out.stderr)
	}
}

// writeImage writes an image for the guest's platform, of random files.
func (s *session) writeImage(archive, tag string) {
	s.t.Helper()
	image, err := random.Image(8<<20, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		s.t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		s.t.Fatal(err)
	}
	named, err := name.NewTag(tag)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive, named, image); err != nil {
		s.t.Fatal(err)
	}
}
