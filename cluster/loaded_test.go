package cluster_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/machine"
)

// An image that was loaded is told as the node has it; one that was not is asked of nobody.
func TestLoadedImages(t *testing.T) {
	t.Parallel()
	const name, manifest = "docker.io/library/app:dev", `{"schemaVersion":2}`
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(manifest)))
	w := newWorld(t)
	w.driver.Responses = fake.Responses{{
		Prefix: []string{"ctr", "--namespace", "k8s.io", "images", "import"}, Stdout: "unpacking " + name + " (" + digest + ")...done\n",
	}}
	w.starts(w.options())
	table := "REF TYPE DIGEST SIZE PLATFORMS LABELS\n" + name + " application/vnd.oci.image.manifest.v1+json " + digest + " 1.2 MiB linux/amd64 x\n"
	node := func(table, content string) (cluster.Hands, *fake.Runner) {
		runner := fake.NewRunner(t.TempDir(), fake.Responses{
			{Prefix: []string{"ctr", "--namespace", "k8s.io", "images", "list", "name==" + name}, Stdout: table},
			{Prefix: []string{"ctr", "--namespace", "k8s.io", "content", "get", digest}, Stdout: content},
		})
		h := w.hands()
		h.Runner = func(machine.SSH) cluster.Reached { return open{runner} }
		return h, runner
	}
	h, runner := node(table, manifest)
	if got, err := h.Loaded(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it was loaded: got %q and %v, want %v", got, err, fs.ErrNotExist)
	}
	archive := string(make([]byte, 257)) + "ustar\x0000"
	for range 2 {
		if _, err := w.LoadImages(t.Context(), "dev", "an archive", strings.NewReader(archive), 0, w.sink); err != nil {
			t.Fatal(err)
		}
	}
	if asked, err := runner.Commands(); err != nil || len(asked) != 0 {
		t.Errorf("the node was asked %v (%v) for an image that was not loaded", asked, err)
	}
	if got, err := h.Loaded(t.Context(), name); err != nil || string(got) != manifest {
		t.Errorf("got %q and %v, want %q", got, err, manifest)
	}
	if got, err := h.Loaded(t.Context(), "docker.io/library/app:other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another name: got %q and %v, want %v", got, err, fs.ErrNotExist)
	}
	h, _ = node("REF TYPE DIGEST SIZE PLATFORMS LABELS\n", manifest)
	if got, err := h.Loaded(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was removed from the node: got %q and %v, want %v", got, err, fs.ErrNotExist)
	}
	h, _ = node(table, "something else")
	if got, err := h.Loaded(t.Context(), name); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a manifest of another digest: got %q and %v, want an error", got, err)
	}
}
