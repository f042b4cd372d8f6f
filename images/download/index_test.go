package download

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ggcrstatic "github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images/minisign"
)

// fixture is a file of minisign's tests.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "minisign", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func trust(t *testing.T, keys ...string) Trust {
	t.Helper()
	trust := Trust{Seen: filepath.Join(t.TempDir(), "state", "serial")}
	for _, name := range keys {
		key, err := minisign.ParsePublicKey(string(fixture(t, name+".pub")))
		if err != nil {
			t.Fatal(err)
		}
		trust.Keys = append(trust.Keys, key)
	}
	return trust
}

// signedServer serves the index with that signature.
func signedServer(t *testing.T, index []byte, signature string) *server {
	t.Helper()
	return newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch r.URL.Path {
		case "/release/index.json":
			_, _ = w.Write(index)
		case "/release/index.json.minisig":
			_, _ = w.Write(fixture(t, signature))
		default:
			http.NotFound(w, r)
		}
	})
}

func TestNewest(t *testing.T) {
	t.Parallel()
	index := fixture(t, "index.json")
	flipped := append([]byte{index[0] ^ 1}, index[1:]...)
	tests := []struct {
		name      string
		index     []byte
		signature string
		seen      string // before
		serial    uint64 // 0: it is refused
		id        fail.ID
		want      string
	}{
		{"the current key", index, "current-7.minisig", "", 7, "", ""},
		{"the next key", index, "next-8.minisig", "", 8, "", ""},
		{"the serial that was seen", index, "current-7.minisig", "7\n", 7, "", ""},
		{"a newer serial", index, "next-8.minisig", "7\n", 8, "", ""},
		{"an older serial", index, "current-6.minisig", "7\n", 0, fail.IndexOlder, "has index 6, and index 7 was seen before. A mirror may be behind"},
		{"a foreign key", index, "foreign-9.minisig", "", 0, fail.IndexUntrusted, "signed with a key that this skiff does not know: key "},
		{"a flipped bit", flipped, "current-7.minisig", "", 0, fail.IndexUntrusted, "the signature is not of this content"},
		{"no serial", index, "none.minisig", "", 0, fail.IndexUntrusted, "has 0 serial numbers instead of one"},
		{"over the file itself", index, "legacy-7.minisig", "", 0, fail.IndexUntrusted, "it is not a minisign signature with a BLAKE2b hash"},
		{"a file without a serial", index, "current-7.minisig", "many\n", 0, fail.StateCorrupt, "does not have a serial number"},
		{"too long", make([]byte, maxIndex+1), "current-7.minisig", "", 0, fail.DownloadFailed, "has an index of more than"},
		{"a web page", []byte("<html><title>Welcome</title></html>"), "current-7.minisig", "", 0, fail.DownloadFailed, "a proxy answered, not the release"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			trusted := trust(t, "current", "next")
			if test.seen != "" {
				write(t, trusted.Seen, []byte(test.seen))
			}
			s := signedServer(t, test.index, test.signature)
			d, _ := newTest(t, Config{Sources: []string{s.source()}})
			got, err := d.Newest(t.Context(), trusted)
			after, _ := os.ReadFile(trusted.Seen)
			if test.serial == 0 {
				wantFailure(t, err, test.id, test.want)
				if string(after) != test.seen || len(got.Content) > 0 {
					t.Errorf("got %d bytes, and the serial number %q is remembered; want none, and %q", len(got.Content), after, test.seen)
				}
				return
			}
			if err != nil || got.Serial != test.serial || string(got.Content) != string(index) {
				t.Errorf("got serial %d and error %v, want %d", got.Serial, err, test.serial)
			}
			if want := max(strings.TrimSpace(test.seen), string('0'+rune(test.serial))); strings.TrimSpace(string(after)) != want {
				t.Errorf("remembered: got %q, want %q", after, want)
			}
		})
	}
}

// TestNewestOfSeveral: a mirror that is behind, or not to be trusted, does not stand in the way.
func TestNewestOfSeveral(t *testing.T) {
	t.Parallel()
	index, trusted := fixture(t, "index.json"), trust(t, "current", "next")
	write(t, trusted.Seen, []byte("7\n"))
	old, foreign, unsigned := signedServer(t, index, "current-6.minisig"), signedServer(t, index, "foreign-9.minisig"), t.TempDir()
	write(t, filepath.Join(unsigned, "index.json"), index)
	mirror := t.TempDir()
	write(t, filepath.Join(mirror, "index.json"), index)
	write(t, filepath.Join(mirror, "index.json.minisig"), fixture(t, "next-8.minisig"))
	d, _ := newTest(t, Config{Sources: []string{old.source(), unsigned, foreign.source(), mirror}})
	if got, err := d.Newest(t.Context(), trusted); err != nil || got.Serial != 8 {
		t.Errorf("got serial %d and error %v, want 8", got.Serial, err)
	}
	d, _ = newTest(t, Config{Sources: []string{old.source(), unsigned, foreign.source()}})
	_, err := d.Newest(t.Context(), trusted)
	for _, want := range []string{"has index 6, and index 8 was seen before", unsigned + " does not have index.json.minisig", "signed with a key that this skiff does not know"} {
		wantFailure(t, err, fail.IndexOlder, want)
	}
}

func TestNewestOfRegistry(t *testing.T) {
	t.Parallel()
	index := fixture(t, "index.json")
	h := newHub(t, false, false)
	repo, option := h.push(t)
	parsed := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if err := remote.Put(repo.Tag("latest"), raw{index, types.OCIImageIndex}, option); err != nil {
		t.Fatal(err)
	}
	d, _ := newTest(t, Config{Sources: []string{h.source()}})
	trusted := trust(t, "current")
	_, err := d.Newest(t.Context(), trusted)
	wantFailure(t, err, fail.DownloadFailed, "answered 404 Not Found")
	signature, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), ggcrstatic.NewLayer(fixture(t, "current-7.minisig"), "application/vnd.skiff.minisign"))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(repo.Tag("sha256-"+descriptor(t, index).Digest.Encoded()+".minisig"), signature, option); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Newest(t.Context(), trusted); err != nil || got.Serial != 7 || string(got.Content) != string(index) {
		t.Errorf("got serial %d and error %v, want 7", got.Serial, err)
	}
	if err := remote.WriteIndex(repo.Tag("latest"), parsed, option); err != nil {
		t.Fatal(err)
	}
	_, err = d.Newest(t.Context(), trusted)
	wantFailure(t, err, fail.DownloadFailed, "answered 404 Not Found") // nobody signed that one
}

// raw is a manifest as it is.
type raw struct {
	content []byte
	kind    types.MediaType
}

func (r raw) RawManifest() ([]byte, error) { return r.content, nil }

func (r raw) MediaType() (types.MediaType, error) { return r.kind, nil }

// TestIndex: the index that a skiff was built with is found by its digest, wherever it is, and asked for once.
func TestIndex(t *testing.T) {
	t.Parallel()
	index := fixture(t, "index.json")
	want := digest.FromBytes(index)
	newer, blobs, flat := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(newer, "index.json"), append(slices.Clone(index), '\n'))
	write(t, filepath.Join(blobs, "index.json"), []byte("{}"))
	write(t, filepath.Join(blobs, "blobs", "sha256", want.Encoded()), index)
	write(t, filepath.Join(flat, "sha256-"+want.Encoded()), index)
	h := newHub(t, false, false)
	repo, option := h.push(t)
	if err := remote.Put(repo.Tag("v0.1.0"), raw{index, types.OCIImageIndex}, option); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{signedServer(t, index, "current-7.minisig").source(), blobs, flat, h.source()} {
		d, _ := newTest(t, Config{Sources: []string{t.TempDir(), newer, source}})
		for range 2 {
			if got, err := d.Index(t.Context(), want); err != nil || string(got) != string(index) {
				t.Errorf("%s: got %q and error %v, want the index", source, got, err)
			}
			d.sources = nil // it is there now
		}
		write(t, d.Path(want), []byte("damaged"))
		_, err := d.Index(t.Context(), want)
		wantFailure(t, err, fail.DownloadFailed, "no place to download from is configured")
	}
	busy := newServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("{}"))
	})
	d, waited := newTest(t, Config{Sources: []string{newer, t.TempDir(), busy.source()}})
	_, err := d.Index(t.Context(), want)
	wantFailure(t, err, fail.DownloadFailed, newer+" has another index of images, sha256:")
	wantFailure(t, err, fail.DownloadFailed, busy.URL+"/release has another index of images, sha256:")
	if !slices.Equal(waited.all, seconds(1)) {
		t.Errorf("got the waits %v, want one second", waited.all)
	}
	_, err = d.Index(t.Context(), "sha256:../../x")
	wantFailure(t, err, fail.ChecksumMismatch, "cannot be")
}
