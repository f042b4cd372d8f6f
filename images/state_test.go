package images

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestManifestOf79092b1 reads a manifest that commit 79092b1 wrote: images of that version stay readable.
func TestManifestOf79092b1(t *testing.T) {
	t.Parallel()
	m, err := ReadManifest("testdata/79092b1")
	if err != nil {
		t.Fatal(err)
	}
	if want := "console=ttyS0 root=/dev/vda quiet & <x> init=\"/sbin/init\""; m.Cmdline != want || len(m.Files) != 3 || len(m.Images) != 3 {
		t.Errorf("got %+v, want cmdline %q, 3 files and 3 images", m, want)
	}
	for name, want := range map[string]string{"registry.k8s.io/etcd": "3.7.3", "registry.k8s.io/coredns/coredns": "v1.15.0", "registry.k8s.io/etc": ""} {
		got, err := m.Tag(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Tag(%q): got %q and %v, want %q", name, got, err, want)
		}
	}
}

// TestDigestIsOfTheStoredBytes: a manifest in which another version of skiff wrote a field that this one does not have keeps its
// digest, also in an installed copy.
func TestDigestIsOfTheStoredBytes(t *testing.T) {
	t.Parallel()
	from := testImage(t)
	path := filepath.Join(from, ManifestName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := digestOf(content)
	if err != nil {
		t.Fatal(err)
	}
	more := bytes.Replace(content, []byte("{"), []byte("{ \"packages\": {\"digest\": \"1\"},"), 1)
	digest, err := digestOf(more)
	if err != nil || digest == old {
		t.Fatalf("digest with a field more: got %q and %v, want another than %q", digest, err, old)
	}
	more = bytes.Replace(more, []byte(old), []byte(digest), 1)
	if err := os.WriteFile(path, more, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(from)
	if err != nil || m.Digest != digest {
		t.Fatalf("ReadManifest: got digest %q and %v, want %q", m.Digest, err, digest)
	}
	to := filepath.Join(t.TempDir(), "installed")
	if err := Install(t.Context(), from, to, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, ManifestName)); err != nil || !bytes.Equal(got, more) {
		t.Errorf("installed manifest: got %s and %v, want the bytes of the original", got, err)
	}
	if err := Verify(t.Context(), to); err != nil {
		t.Errorf("Verify of the copy: %v", err)
	}
	for _, text := range []string{"", "[]", "1", `{"digest":`, `{"a":1`} {
		if got, err := digestOf([]byte(text)); err == nil {
			t.Errorf("digestOf(%q): got %q, want an error", text, got)
		}
	}
	if !json.Valid(more) {
		t.Errorf("the test's manifest is no JSON: %s", more)
	}
}
