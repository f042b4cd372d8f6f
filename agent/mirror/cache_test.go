package mirror

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A layer that comes in pushes those out that were not read for longest, until the cache fits its limit again.
func TestTheCacheKeepsWhatWasUsedLast(t *testing.T) {
	t.Parallel()
	old, used, fresh := image(t), image(t), image(t)
	o := world(t, map[string]v1.Image{"quay.io/a/old:v1": old, "quay.io/a/used:v1": used, "quay.io/a/fresh:v1": fresh})
	dir := t.TempDir()
	s := serve(t, Config{Transport: o, Cache: dir, CacheMax: 450_000}) // each image takes 200 000 and a little
	s.want(t, "a/old", "v1", "quay.io", old)
	s.want(t, "a/used", "v1", "quay.io", used)
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	day := time.Now().Add(-24 * time.Hour)
	for _, blob := range blobs {
		if err := os.Chtimes(blob, day, day); err != nil {
			t.Fatal(err)
		}
	}
	s.want(t, "a/used", "v1", "quay.io", used)
	s.want(t, "a/fresh", "v1", "quay.io", fresh)
	for name, test := range map[string]struct {
		image v1.Image
		whole bool
	}{"old": {old, false}, "used": {used, true}, "fresh": {fresh, true}} {
		layers, err := test.image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		whole := true
		for _, layer := range layers {
			hash, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(blobPath(dir, hash)); err != nil {
				whole = false
			}
		}
		if whole != test.whole {
			t.Errorf("%s: got all layers in the cache %t, want %t", name, whole, test.whole)
		}
	}
}
