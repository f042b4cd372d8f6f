package download

import (
	"path/filepath"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// BenchmarkFetch downloads, hashes and writes over TLS on loopback: what the program itself allows.
func BenchmarkFetch(b *testing.B) {
	content := someBytes(1, 64<<20)
	s := newTLS(b, content)
	ca := caFile(b, s.Server)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		d, err := New(Config{Dir: filepath.Join(b.TempDir(), "images"), Sources: []string{s.URL}, CAFile: ca})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Fetch(b.Context(), []v1.Descriptor{descriptor(b, content)}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
