package download

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := store.Write(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func good(content ...[]byte) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		for _, one := range content {
			if strings.HasSuffix(r.URL.Path, digest.FromBytes(one).Encoded()) {
				give(w, r, one, -1)
				return
			}
		}
		http.NotFound(w, r)
	}
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, want string // as it is shown; empty: it is refused
		network    bool
	}{
		{"https://images.example/skiff/v0.1.0", "https://images.example/skiff/v0.1.0", true},
		{"https://user:" + secret + "@images.example/skiff/?sig=" + secret, "https://images.example/skiff/", true},
		{"http://10.0.0.1:8080", "http://10.0.0.1:8080", true},
		{"oci://registry.example/skiff/images", "oci://registry.example/skiff/images", true},
		{"oci://localhost/skiff", "oci://localhost/skiff", true},
		{"oci://10.0.0.1:5000/skiff", "oci://10.0.0.1:5000/skiff", true},
		{"file:///srv/skiff", "/srv/skiff", false},
		{"file:/srv/skiff", "/srv/skiff", false},
		{"file://localhost/srv/skiff%20images", "/srv/skiff images", false},
		{"/srv/skiff", "/srv/skiff", false},
		{"images", "images", false},
		{"", "", false},
		{"https://", "", false},
		{"https://user:" + secret + "@%zz/", "", false},
		{"oci://skiff/images", "", false},
		{"oci://user:" + secret + "@registry.example/skiff", "", false},
		{"oci://registry.example/SKIFF", "", false},
		{"file://host/srv", "", false},
		{"ftp://user:" + secret + "@images.example/", "", false},
	}
	for _, test := range tests {
		d, err := New(Config{Sources: []string{test.text}})
		if test.want == "" {
			wantFailure(t, err, fail.FlagInvalid, "use https://host/path, oci://host/repository")
			continue
		}
		if err != nil || d.sources[0].String() != test.want || d.sources[0].network() != test.network {
			t.Errorf("%s: got %v and error %v, want %s", test.text, d, err, test.want)
		}
	}
	_, err := New(Config{Sources: []string{"ftp://x", "/srv", "oci://x"}})
	if text := err.Error(); !strings.Contains(text, "ftp://x") || !strings.Contains(text, "oci://x") {
		t.Errorf("got error %v, want all problems at once", err)
	}
}

// TestForms: layouts and flat files, behind HTTP and in folders, give the same.
func TestForms(t *testing.T) {
	t.Parallel()
	contents := [][]byte{someBytes(1, size), someBytes(2, 5), {}}
	var blobs []v1.Descriptor
	layout, flat, wrong := t.TempDir(), t.TempDir(), t.TempDir()
	for _, content := range contents {
		blob := descriptor(t, content)
		blobs = append(blobs, blob)
		write(t, filepath.Join(layout, "blobs", "sha256", blob.Digest.Encoded()), content)
		write(t, filepath.Join(flat, "sha256-"+blob.Digest.Encoded()), content)
		write(t, filepath.Join(wrong, "sha256-"+blob.Digest.Encoded()), append(slices.Clone(content), 'x'))
	}
	files := func(dir string) *server {
		handler := http.FileServer(http.Dir(dir))
		return newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			http.StripPrefix("/release", handler).ServeHTTP(w, r)
		})
	}
	flatServer := files(flat)
	for _, source := range []string{layout, "file://" + layout, flat, files(layout).source(), flatServer.source()} {
		d, _ := newTest(t, Config{Sources: []string{filepath.Join(flat, "absent"), wrong, source}})
		if err := d.Fetch(t.Context(), append(blobs, blobs...), nil); err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		for _, content := range contents {
			wantBlob(t, d, content)
		}
	}
	if n := len(flatServer.requests()); n != len(blobs) {
		t.Errorf("files side by side: got %d requests, want %d: one that finds out, and none for the empty blob", n, len(blobs))
	}
}

// TestEveryMissIsListed also says what the folders and the network have against it, in order, and asks a place that is out of reach
// once for all blobs.
func TestEveryMissIsListed(t *testing.T) {
	t.Parallel()
	one, other := someBytes(1, size), someBytes(2, size)
	half := newServer(t, good(one))
	portal := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		_, _ = w.Write([]byte("<html><title>Welcome</title></html>"))
	})
	absent, empty, wrong := filepath.Join(t.TempDir(), "absent"), t.TempDir(), t.TempDir()
	write(t, filepath.Join(wrong, "sha256-"+descriptor(t, other).Digest.Encoded()), someBytes(3, size))
	d, waited := newTest(t, Config{Sources: []string{absent, empty, wrong, portal.source(), "http://127.0.0.1:1/x?sig=" + secret, "oci://127.0.0.1:1/skiff", half.source()}})
	err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, one), descriptor(t, other)}, nil)
	wantFailure(t, err, fail.DownloadFailed, "download "+descriptor(t, other).Digest.String()+": no place served it\n")
	lines := strings.Split(err.Error(), "\n")[1:]
	wants := []string{
		absent + " is not there", empty + " does not have it", wrong + " sent something else, which has SHA-256",
		portal.URL + `/release sent a web page "Welcome": a proxy answered`, "http://127.0.0.1:1/x cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused. See",
		"oci://127.0.0.1:1/skiff cannot be reached: dial tcp", half.URL + "/release answered 404",
	}
	if len(lines) != len(wants) {
		t.Fatalf("got %d lines, want %d: %v", len(lines), len(wants), err)
	}
	for i, want := range wants {
		if !strings.HasPrefix(lines[i], "  "+want) {
			t.Errorf("line %d: got %q, want %q", i, lines[i], want)
		}
	}
	wantBlob(t, d, one)
	if n := len(portal.requests()); n != 1 {
		t.Errorf("got %d requests to the proxy's page, want 1", n)
	}
	if len(waited.all) > 0 {
		t.Errorf("got the waits %v, want none: nothing of this changes by waiting", waited.all)
	}

	d, _ = newTest(t, Config{})
	wantFailure(t, d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, one)}, nil), fail.DownloadFailed, "no place to download from is configured")
}

// TestOffline asks nothing over the network, and reads folders.
func TestOffline(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	blob := descriptor(t, content)
	s := newServer(t, good(content))
	proxy := newServer(t, good(content))
	registry := "oci://" + strings.TrimPrefix(s.URL, "http://") + "/skiff"
	folder := t.TempDir()
	d, _ := newTest(t, Config{
		Offline: true, Sources: []string{s.source(), registry, folder},
		Env: func(string) string { return proxy.URL },
	})
	err := d.Fetch(t.Context(), []v1.Descriptor{blob}, nil)
	for _, want := range []string{s.URL + "/release was not asked, as --offline or SKIFF_OFFLINE forbids the network", registry + " was not asked", folder + " does not have it"} {
		wantFailure(t, err, fail.Offline, want)
	}
	_, err = d.Newest(t.Context(), Trust{Seen: filepath.Join(t.TempDir(), "serial")})
	wantFailure(t, err, fail.Offline, registry+" was not asked")
	write(t, filepath.Join(folder, "sha256-"+blob.Digest.Encoded()), content)
	if err := d.Fetch(t.Context(), []v1.Descriptor{blob}, nil); err != nil {
		t.Error(err)
	}
	wantBlob(t, d, content)
	if got := append(s.requests(), proxy.requests()...); len(got) > 0 {
		t.Errorf("got the requests %v, want none", got)
	}
}

// TestDamaged: what a disk has changed is found, and costs one download more and nothing else.
func TestDamaged(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	blob := descriptor(t, content)
	zeros := make([]byte, size/2)
	tests := []struct {
		name    string
		prepare func(t *testing.T, whole, part string)
		spans   string
	}{
		{"a blob that is whole", func(t *testing.T, whole, _ string) { write(t, whole, content) }, ""},
		{"a blob with another bit", func(t *testing.T, whole, _ string) {
			write(t, whole, append([]byte{content[0] ^ 1}, content[1:]...))
		}, "all"},
		{"a blob that is too short", func(t *testing.T, whole, _ string) { write(t, whole, content[:size-1]) }, "all"},
		{"a blob that is too long", func(t *testing.T, whole, _ string) { write(t, whole, append(slices.Clone(content), 0)) }, "all"},
		{"a part", func(t *testing.T, _, part string) { write(t, part, content[:size/2]) }, "150000-299999"},
		{"a part of zeros, as after a loss of power", func(t *testing.T, _, part string) { write(t, part, zeros) }, "150000-299999 all"},
		{"a part that is complete", func(t *testing.T, _, part string) { write(t, part, content) }, ""},
		{"a part that is complete and damaged", func(t *testing.T, _, part string) { write(t, part, make([]byte, size)) }, "all"},
		{"a part that is too long", func(t *testing.T, _, part string) { write(t, part, append(slices.Clone(content), 0)) }, "all"},
		{"an empty part", func(t *testing.T, _, part string) { write(t, part, nil) }, "all"},
		{"a folder in its place", func(t *testing.T, _, part string) { write(t, filepath.Join(part, "x"), nil) }, "all"},
		{"a link in its place", func(t *testing.T, _, part string) {
			target := filepath.Join(t.TempDir(), "other")
			write(t, target, nil)
			if err := os.MkdirAll(filepath.Dir(part), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, part); err != nil {
				t.Fatal(err)
			}
		}, "all"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, good(content))
			d, _ := newTest(t, Config{Sources: []string{s.source()}})
			test.prepare(t, d.Path(blob.Digest), partPath(d.partials(), blob))
			if err := d.Fetch(t.Context(), []v1.Descriptor{blob}, nil); err != nil {
				t.Fatal(err)
			}
			wantBlob(t, d, content)
			if s.spans() != test.spans {
				t.Errorf("got the ranges %q, want %q", s.spans(), test.spans)
			}
			info, err := os.Lstat(d.Path(blob.Digest))
			if err != nil || !info.Mode().IsRegular() {
				t.Errorf("got %v and error %v, want a file", info, err)
			}
		})
	}
}

// TestProgress: it never says more than there is, ends with all, and tells what came from what was there.
func TestProgress(t *testing.T) {
	t.Parallel()
	contents := [][]byte{someBytes(1, size), someBytes(2, size), someBytes(3, size)}
	s := newServer(t, good(contents...))
	var all []Progress
	d, _ := newTest(t, Config{Sources: []string{s.source()}})
	var blobs []v1.Descriptor
	for _, content := range contents {
		blobs = append(blobs, descriptor(t, content))
	}
	write(t, d.Path(blobs[0].Digest), contents[0])
	write(t, partPath(d.partials(), blobs[1]), contents[1][:1000])
	if err := d.Fetch(t.Context(), blobs, func(p Progress) { all = append(all, p) }); err != nil {
		t.Fatal(err)
	}
	want := Progress{Done: 3 * size, Total: 3 * size, Fetched: 2*size - 1000}
	if last := all[len(all)-1]; last != want {
		t.Errorf("at the end: got %+v, want %+v", last, want)
	}
	if begin := (Progress{Done: size, Total: 3 * size}); all[0] != begin {
		t.Errorf("at first: got %+v, want %+v", all[0], begin)
	}
	if !slices.IsSortedFunc(all, func(a, b Progress) int { return int(a.Done - b.Done) }) || len(all) < 6 {
		t.Errorf("got %+v, want more and more, in steps", all)
	}
}

// TestImpossibleDescriptors: digests become names of files.
func TestImpossibleDescriptors(t *testing.T) {
	t.Parallel()
	d, _ := newTest(t, Config{})
	good := descriptor(t, nil).Digest
	for _, blob := range []v1.Descriptor{
		{Digest: "sha256:../../x"}, {Digest: digest.SHA512.FromString("")}, {}, {Digest: good[:70]}, {Digest: "sha256:" + digest.Digest(strings.ToUpper(good.Encoded()))},
		{Digest: good, Size: -1},
	} {
		wantFailure(t, d.Fetch(t.Context(), []v1.Descriptor{blob}, nil), fail.ChecksumMismatch, "cannot be")
	}
}
