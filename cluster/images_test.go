package cluster

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestLooksLikeArchive(t *testing.T) {
	t.Parallel()
	tar := append(make([]byte, 257), "ustar\x0000"...)
	for name, test := range map[string]struct {
		content []byte
		good    bool
	}{
		"tar": {tar, true}, "gzip": {[]byte("\x1f\x8b\x08"), true}, "zstd": {[]byte("\x28\xb5\x2f\xfd\x00"), true},
		"empty": {nil, false}, "text": {[]byte(strings.Repeat("kind: Pod\n", 100)), false}, "cut off": {tar[:260], false},
	} {
		reader := bufio.NewReader(bytes.NewReader(test.content))
		if err := looksLikeArchive(reader); (err == nil) != test.good {
			t.Errorf("%s: got error %v, want it to be good: %t", name, err, test.good)
		}
		if rest, _ := reader.Peek(len(test.content)); !bytes.Equal(rest, test.content) {
			t.Errorf("%s: looking has eaten some of it", name)
		}
	}
}

func TestImageLists(t *testing.T) {
	t.Parallel()
	one, two := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
	want := []Image{{Name: "docker.io/library/a:v1", Digest: one}, {Name: "registry.k8s.io/b:v2", Digest: two}}
	printed := "unpacking docker.io/library/a:v1 (" + one + ")...done\nunpacking registry.k8s.io/b:v2 (" + two + ")...done\n"
	if got := imported(printed); !slices.Equal(got, want) {
		t.Errorf("imported: got %v, want %v", got, want)
	}
	table := "REF TYPE DIGEST SIZE PLATFORMS LABELS\n" +
		"docker.io/library/a:v1 application/vnd.oci.image.manifest.v1+json " + one + " 1.2 MiB linux/amd64 x\n" +
		"registry.k8s.io/b:v2 application/vnd.oci.image.index.v1+json " + two + " 1.2 MiB linux/amd64 x\n" +
		"registry.k8s.io/b@" + two + " application/vnd.oci.image.index.v1+json " + two + " 1.2 MiB linux/amd64 x\n" +
		one + " application/vnd.oci.image.manifest.v1+json " + one + " 1.2 MiB linux/amd64 x\n"
	if got := listed(table); !slices.Equal(got, want) {
		t.Errorf("listed: got %v, want %v", got, want)
	}
}
