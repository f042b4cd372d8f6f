package mirror

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/renameio/v2"
)

// cache keeps blobs under their digest and, for tags, the digest that they had last. A blob appears in one step and only
// when it is what its digest says, so that any number of agents may share the folder.
type cache struct {
	dir   string
	limit int64 // bytes of blobs; see sweep
}

func (c cache) make() error {
	if c.dir == "" {
		return nil
	}
	return errors.Join(
		os.MkdirAll(filepath.Join(c.dir, "blobs", "sha256"), 0o700),
		os.MkdirAll(filepath.Join(c.dir, "tags"), 0o700))
}

func (c cache) open(hash v1.Hash) (*os.File, error) {
	if c.dir == "" {
		return nil, os.ErrNotExist
	}
	path := blobPath(c.dir, hash)
	file, err := os.Open(path)
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // for sweep; a cache that cannot be written is not swept either
	}
	return file, err
}

func (c cache) put(hash v1.Hash, data []byte) error {
	writing := c.begin(hash)
	defer writing.discard()
	if _, err := io.Copy(writing, bytes.NewReader(data)); err != nil {
		return err
	}
	return writing.commit()
}

func (c cache) tagPath(tag name.Tag) string {
	sum := sha256.Sum256([]byte(tag.Name()))
	return filepath.Join(c.dir, "tags", hex.EncodeToString(sum[:]))
}

// tag returns the digest that the tag had last.
func (c cache) tag(tag name.Tag) (v1.Hash, error) {
	if c.dir == "" {
		return v1.Hash{}, os.ErrNotExist
	}
	text, err := os.ReadFile(c.tagPath(tag))
	if err != nil {
		return v1.Hash{}, err
	}
	digest, _, _ := strings.Cut(string(text), " ")
	return v1.NewHash(digest)
}

// remember notes the digest of a tag; the name behind it is for people.
func (c cache) remember(tag name.Tag, hash v1.Hash) error {
	if c.dir == "" {
		return nil
	}
	if err := c.make(); err != nil { // the user may have deleted the cache
		return err
	}
	return renameio.WriteFile(c.tagPath(tag), []byte(hash.String()+" "+tag.Name()+"\n"), 0o600)
}

// writing is a blob on its way into the cache. Writing to it never fails, as the guest is to have its layer even if the
// disk is full; commit says what went wrong.
type writing struct {
	file *renameio.PendingFile
	want v1.Hash
	got  hash.Hash
	err  error
}

var _ io.Writer = (*writing)(nil)

func (c cache) begin(want v1.Hash) *writing {
	w := &writing{want: want, got: sha256.New()}
	if c.dir == "" {
		return w
	}
	if w.err = c.make(); w.err != nil {
		return w
	}
	w.file, w.err = renameio.NewPendingFile(blobPath(c.dir, want), renameio.WithPermissions(0o600))
	return w
}

func (w *writing) Write(p []byte) (int, error) {
	if w.file == nil || w.err != nil {
		return len(p), nil
	}
	_, _ = w.got.Write(p) // a hash never fails
	_, w.err = w.file.Write(p)
	return len(p), nil
}

// commit makes the blob appear if it is whole.
func (w *writing) commit() error {
	if w.file == nil || w.err != nil {
		return w.err
	}
	if got := hex.EncodeToString(w.got.Sum(nil)); w.want.Algorithm != "sha256" || got != w.want.Hex {
		return fmt.Errorf("its digest is sha256:%s, not %s", got, w.want)
	}
	return w.file.CloseAtomicallyReplace()
}

// abandoned is how old a file must be that a writer has begun and nobody will finish.
const abandoned = 24 * time.Hour

// sweep removes blobs until the rest takes no more than the limit, those first that nobody has read for longest. Who reads
// a blob meanwhile keeps it open. A tag without its manifest is asked for again, as if it had never been.
func (c cache) sweep() error {
	dir := filepath.Join(c.dir, "blobs", "sha256")
	entries, err := os.ReadDir(dir)
	if c.dir == "" || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var blobs []os.FileInfo
	var total int64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // another agent has removed it
		}
		if strings.HasPrefix(entry.Name(), ".") && time.Since(info.ModTime()) < abandoned {
			continue // being written
		}
		blobs = append(blobs, info)
		total += info.Size()
	}
	slices.SortFunc(blobs, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, blob := range blobs {
		if total <= c.limit {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, blob.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		total -= blob.Size()
	}
	return nil
}

// discard removes what commit has not made appear.
func (w *writing) discard() {
	if w.file != nil {
		_ = w.file.Cleanup()
	}
}
