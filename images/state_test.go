package images

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
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

// TestDigestIsOfTheStoredBytes: a manifest that another version of skiff wrote, with fields in another order, keeps its digest, also in
// an installed copy. Which version it was changes nothing of the digest.
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
	more := bytes.Replace(content, []byte("{"), []byte("{ \"skiff\": \"v9\","), 1)
	digest, err := digestOf(more)
	if err != nil || digest == old {
		t.Fatalf("digest with a field more: got %q and %v, want another than %q", digest, err, old)
	}
	if other, err := digestOf(bytes.Replace(more, []byte("v9"), []byte("v10"), 1)); err != nil || other != digest {
		t.Errorf("digest of what another version wrote: got %q and %v, want %q", other, err, digest)
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

// TestImageOfANewerSkiff: an image with fields that this version does not know is refused as it is, and neither taken for damaged nor
// replaced. One that was changed since is damaged, whoever made it.
func TestImageOfANewerSkiff(t *testing.T) {
	t.Parallel()
	for by, want := range map[string]string{
		`"skiff": "v9", `: `written by skiff v9: json: unknown field "packages"`,
		``:                `unknown field "packages"`,
	} {
		dir := testImage(t)
		path := filepath.Join(dir, ManifestName)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		old, err := digestOf(content)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(content, []byte("{"), []byte("{ "+by+"\"packages\": {\"digest\": \"1\"},"), 1)
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadManifest(dir); !fail.Is(err, fail.ChecksumMismatch) {
			t.Errorf("%s: with a wrong digest: got error %v, want %s", by, err, fail.ChecksumMismatch)
		}
		digest, err := digestOf(changed)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Replace(changed, []byte(old), []byte(digest), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "installed")
		_, readErr := ReadManifest(dir)
		for what, err := range map[string]error{"ReadManifest": readErr, "Verify": Verify(t.Context(), dir), "Install": Install(t.Context(), dir, to, nil)} {
			if !fail.Is(err, fail.StateNewer) || !strings.Contains(err.Error(), path[:len(path)-len(ManifestName)-1]) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: got error %v, want %s with the folder and %q", by, what, err, fail.StateNewer, want)
			}
		}
	}
}
