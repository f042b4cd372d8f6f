package layout

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Assemble makes the image folder of the artifact a at to, which appears complete or not at all, from the blobs in fsys. Each blob
// is read once, from its beginning to its end, and held to its digest and size; then every file is held to its own. An image that
// is there and whole is left alone; what was there else is replaced. One that fails or is cut off leaves nothing that counts, and
// what a killed one left goes with the next, and with Sweep. Two to one folder must not run at the same time.
// progress, which may be nil, is told how many of all bytes are done.
//
// Failures with a known remedy: fail.ImageMissing (a blob is not there), fail.ChecksumMismatch, which names the blob, and
// fail.HostDiskFull.
func Assemble(ctx context.Context, fsys fs.FS, a Artifact, to string, progress func(done, total int64)) error {
	op := fmt.Sprintf("assemble the guest image in %q", to)
	if there, err := images.ReadManifest(to); err == nil && there.Digest == a.Image.Digest && images.Verify(ctx, to) == nil {
		return nil
	}
	s, err := newAssembly(a, to)
	if err != nil {
		return err
	}
	defer s.decoder.Close()
	s.progress = progress
	err = s.run(ctx, fsys, op)
	if err == nil {
		err = install(ctx, s.dir, to)
	}
	if err != nil {
		err = store.NoSpace(op, err)
	}
	return errors.Join(err, s.close(), os.RemoveAll(s.dir))
}

// suffix is that of folders in which images are assembled. images.Sweep removes them too.
const suffix = ".parts.partial"

// Sweep removes what Assembles to folders in dir left when they were killed. None may run.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []error
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), suffix) {
			problems = append(problems, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(problems...)
}

// install moves the files to their place, and holds each to its digest.
func install(ctx context.Context, from, to string) error {
	err := images.Install(ctx, from, to, nil)
	if failure, ok := errors.AsType[*fail.Error](err); ok && failure.ID == fail.ChecksumMismatch {
		// Every blob was what the artifact says, and still this came of it: no copy of it will do.
		return fail.New(failure.ID, failure.Op, "the recipe of the image is wrong: %w", failure.Err).
			WithHint("The blobs are whole, but were not made of this image; use another release of it.")
	}
	return err
}

type assembly struct {
	dir         string
	artifact    Artifact
	targets     map[string]*os.File
	decoder     *zstd.Decoder // one for all parts: its window is most of the memory that this takes
	done, total int64
	progress    func(done, total int64)
}

func newAssembly(a Artifact, to string) (*assembly, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	s := &assembly{dir: to + suffix, artifact: a, targets: map[string]*os.File{}, decoder: decoder}
	for _, part := range a.Recipe.Parts {
		s.total += part.Size
	}
	return s, err
}

func (s *assembly) run(ctx context.Context, fsys fs.FS, op string) error {
	if err := errors.Join(os.RemoveAll(s.dir), os.MkdirAll(s.dir, 0o755)); err != nil {
		return err
	}
	if err := s.room(op); err != nil {
		return err
	}
	for name, file := range s.artifact.Image.Files {
		if err := s.create(name, file); err != nil {
			return err
		}
	}
	uses := s.uses()
	for i := range s.artifact.Recipe.Parts {
		if err := s.part(ctx, fsys, i, uses[i]); err != nil {
			return err
		}
	}
	for name, file := range s.targets {
		mode := 0o444 | fs.FileMode(s.artifact.Image.Files[name].Mode)&0o111
		if err := errors.Join(file.Chmod(mode), file.Sync()); err != nil {
			return err
		}
	}
	if err := s.close(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, s.artifact.Recipe.Manifest, "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	return os.WriteFile(filepath.Join(s.dir, images.ManifestName), text.Bytes(), 0o644)
}

// room fails before anything is written when the disk has not enough.
func (s *assembly) room(op string) error {
	const mib = 1 << 20
	need := s.artifact.Recipe.data()
	free, err := host.FreeBytes(s.dir)
	if err != nil || int64(free) >= need { //nolint:gosec // no disk is that large
		return nil //nolint:nilerr // then it will show
	}
	return fail.New(fail.HostDiskFull, op, "it takes %d MiB, and %d MiB are free", need/mib, int64(free)/mib).WithNext("df -h %s", machine.Quote(filepath.Dir(s.dir))) //nolint:gosec // as above
}

// create makes a file of its size that is all hole.
func (s *assembly) create(name string, file images.File) error {
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	target, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.targets[name] = target
	return target.Truncate(file.Size)
}

// close closes all files that are open.
func (s *assembly) close() error {
	var problems []error
	for _, target := range s.targets {
		problems = append(problems, target.Close())
	}
	clear(s.targets)
	return errors.Join(problems...)
}

// use is a place that wants bytes of a part.
type use struct {
	from, to int64 // in the part
	file     *os.File
	at       int64 // of from, in the file
}

// uses lists, for each part, who wants its bytes, in the order in which they come.
func (s *assembly) uses() [][]use {
	all := make([][]use, len(s.artifact.Recipe.Parts))
	for name, pieces := range s.artifact.Recipe.Files {
		at := int64(0)
		for _, piece := range pieces {
			if piece.Part != hole {
				all[piece.Part] = append(all[piece.Part], use{piece.Offset, piece.Offset + piece.Length, s.targets[name], at})
			}
			at += piece.Length
		}
	}
	for _, uses := range all {
		slices.SortFunc(uses, func(a, b use) int { return cmp.Compare(a.from, b.from) })
	}
	return all
}

// part reads the blob of one part to its end and gives its bytes to those who want them.
func (s *assembly) part(ctx context.Context, fsys fs.FS, number int, uses []use) error {
	layer, part := s.artifact.Layers[number], s.artifact.Recipe.Parts[number]
	what := fmt.Sprintf("blob %s (%s)", layer.Digest, part.Name)
	op := "unpack " + what
	file, err := fsys.Open(BlobPath(layer.Digest))
	if err != nil {
		return unread(op, what, err)
	}
	defer file.Close()
	blob := &checked{from: cancelled{ctx, file}, left: layer.Size, sum: digest.SHA256.Digester()}
	w := &writer{uses: uses, sum: digest.SHA256.Digester(), left: part.Size, advance: s.advance}
	unpacked := w.unpack(s.decoder, blob)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if w.failed != nil {
		return w.failed
	}
	// A blob that is not what it should be is the better reason: what was unpacked of it is anything.
	if err := blob.finish(layer); err != nil {
		if blob.failed != nil {
			return unread(op, what, blob.failed)
		}
		return damaged(op, "%w", err)
	}
	if unpacked == nil && w.left > 0 {
		unpacked = fmt.Errorf("it holds %d bytes, not %d", part.Size-w.left, part.Size)
	}
	if found := w.sum.Digest(); unpacked == nil && found != part.Digest {
		unpacked = fmt.Errorf("what it holds has the digest %s, not %s", found, part.Digest)
	}
	if unpacked != nil {
		return damaged(op, "it is whole, but not what the image says: %w", unpacked)
	}
	return nil
}

func (s *assembly) advance(n int) {
	s.done += int64(n)
	if s.progress != nil {
		s.progress(s.done, s.total)
	}
}

// checked reads at most the size of a blob, and hashes it.
type checked struct {
	from   io.Reader
	left   int64 // bytes that the blob should still have
	read   int64
	sum    digest.Digester
	failed error // of reading
}

func (c *checked) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.read += int64(n)
	c.sum.Hash().Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

// finish reads what is left, and says what is wrong with the blob.
func (c *checked) finish(layer v1.Descriptor) error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	if c.left > 0 {
		return fmt.Errorf("it ends after %d of %d bytes", c.read, layer.Size)
	}
	if n, _ := c.from.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("it has more than %d bytes", layer.Size)
	}
	if found := c.sum.Digest(); found != layer.Digest {
		return fmt.Errorf("its digest is %s", found)
	}
	return nil
}

// writer takes a part as it is unpacked.
type writer struct {
	uses    []use // that are to come, in the order of their first bytes
	active  []use // that want bytes from here on
	at      int64
	left    int64 // bytes that the part should still have
	sum     digest.Digester
	advance func(n int)
	failed  error // of writing
}

// unpack reads a blob until the part has its size.
func (w *writer) unpack(decoder *zstd.Decoder, blob io.Reader) error {
	if err := decoder.Reset(blob); err != nil {
		return err
	}
	buffer := make([]byte, 1<<20)
	for {
		n, err := decoder.Read(buffer)
		if int64(n) > w.left {
			return errors.New("it unpacks to more than its size")
		}
		if w.write(buffer[:n]); w.failed != nil {
			return w.failed
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *writer) write(content []byte) {
	begin, end := w.at, w.at+int64(len(content))
	for len(w.uses) > 0 && w.uses[0].from < end {
		w.active, w.uses = append(w.active, w.uses[0]), w.uses[1:]
	}
	for _, use := range w.active {
		from, to := max(use.from, begin), min(use.to, end)
		if _, err := use.file.WriteAt(content[from-begin:to-begin], use.at+from-use.from); err != nil {
			w.failed = err
			return
		}
	}
	w.active = slices.DeleteFunc(w.active, func(u use) bool { return u.to <= end })
	w.at = end
	w.left -= int64(len(content))
	w.sum.Hash().Write(content)
	w.advance(len(content))
}
