package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/images"
)

// TestImageOfANewerSkiff: a guest image with more in it than this version knows is refused with both versions.
func TestImageOfANewerSkiff(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	path := filepath.Join(deps.Env("SKIFF_IMAGE"), images.ManifestName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := images.ReadManifest(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, content); err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(text.String(), manifest.Digest, "", 1)
	plain = strings.Replace(plain, "{", `{"skiff":"","packages":1,`, 1)
	sum := sha256.Sum256([]byte(plain))
	newer := strings.Replace(plain, `"digest":""`, `"digest":"`+hex.EncodeToString(sum[:])+`"`, 1)
	newer = strings.Replace(newer, `"skiff":""`, `"skiff":"v9"`, 1)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	code := Main(t.Context(), []string{"start", "-p", "dev"}, Streams{Out: &said, Err: &said}, deps)
	const want = `written by skiff v9, this is v1.2.3 0123abc: json: unknown field "packages"`
	if text := said.String(); code != 3 || !strings.Contains(text, want) || !strings.Contains(text, filepath.Dir(path)) || !strings.Contains(text, "STATE_NEWER") || strings.Contains(text, "delete") {
		t.Errorf("start: got exit code %d, want 3, the folder, and %q with no advice to delete\n%s", code, want, text)
	}
}
