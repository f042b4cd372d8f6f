package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// testContainers returns all containers, with small files instead of programs.
func testContainers(t *testing.T) []container {
	t.Helper()
	dir := t.TempDir()
	program := func(component, file string) string {
		path := filepath.Join(dir, component+"-"+file)
		if err := os.WriteFile(path, []byte("program "+file), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return containers(program, []entry{{path: "/usr/sbin/nft", mode: 0o755, text: "nft"}}, program("debian", "certificates"))
}

func TestLayoutIsCompleteAndReproducible(t *testing.T) {
	t.Parallel()
	list := testContainers(t)
	dirs := []string{filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")}
	for _, dir := range dirs {
		if err := writeLayout(t.Context(), dir, list); err != nil {
			t.Fatal(err)
		}
	}
	one, errOne := hashTree(dirs[0])
	two, errTwo := hashTree(dirs[1])
	if one != two || errOne != nil || errTwo != nil {
		t.Errorf("two layouts of the same images differ: %s, %v and %s, %v", one, errOne, two, errTwo)
	}
	path, err := layout.FromPath(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	index, err := readLayout(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != len(list) {
		t.Fatalf("got %d images, want %d", len(index.Manifests), len(list))
	}
	for i, d := range index.Manifests {
		name := d.Annotations["org.opencontainers.image.ref.name"]
		if name != list[i].reference {
			t.Errorf("image %d: got name %q, want %q", i, name, list[i].reference)
		}
		img, err := path.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img, validate.Fast); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkConfig(t, list[i], img, d)
	}
}

func checkConfig(t *testing.T, c container, img v1.Image, d v1.Descriptor) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Labels["org.opencontainers.image.vendor"]; got != "skiff" {
		t.Errorf("%s: vendor is %q, want skiff", c.reference, got)
	}
	if got := config.Config.Labels[StandInLabel] != ""; got != c.standIn || (d.Annotations[StandInLabel] != "") != c.standIn {
		t.Errorf("%s: marked as stand-in: label %t, index %v, want %t", c.reference, got, d.Annotations, c.standIn)
	}
	if !hasFile(t, img, config.Config.Entrypoint[0]) {
		t.Errorf("%s: nothing is at its entrypoint %s", c.reference, config.Config.Entrypoint[0])
	}
}

// hasFile reports whether a layer of the image has a file or link at path.
func hasFile(t *testing.T, img v1.Image, path string) bool {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names(t, content) {
			if "/"+name == path {
				return true
			}
		}
	}
	return false
}

func names(t *testing.T, r io.Reader) []string {
	t.Helper()
	var all []string
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, header.Name)
	}
}

func TestWriteLayerAddsParentsOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "layer")
	l, err := writeLayer(file, []entry{
		{path: "/usr/bin/a", mode: 0o755, text: "a"}, {path: "/usr/bin/b", link: "a"}, {path: "/tmp", mode: 0o1777, folder: true}, {path: "/tmp/x", text: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(names(t, bytes.NewReader(content)), " "), "usr/ usr/bin/ usr/bin/a usr/bin/b tmp/ tmp/x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if sum, err := hashFile(file); err != nil || sum != l.digest.Hex || l.size != int64(len(content)) {
		t.Errorf("the layer says %s, %d bytes; the file has %s, %d bytes, %v", l.digest.Hex, l.size, sum, len(content), err)
	}
}

func TestLayoutTarLeavesStandInsOut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mirror")
	list := testContainers(t)
	if err := writeLayout(t.Context(), dir, list); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := layoutTar(dir, &out, func(d v1.Descriptor) bool { return d.Annotations[StandInLabel] != "" }); err != nil {
		t.Fatal(err)
	}
	index := ""
	count := 0
	for archive := tar.NewReader(&out); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		count++
		if header.Name == "index.json" {
			content, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			index = string(content)
		}
	}
	if !strings.Contains(index, "kube-apiserver") || strings.Contains(index, "http-echo") {
		t.Errorf("want the index to name kube-apiserver and not http-echo:\n%s", index)
	}
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	// Manifest, configuration and layer of the stand-in.
	if want := 2 + len(blobs) - 3; count != want {
		t.Errorf("got %d files, want %d", count, want)
	}
}
