package layout

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// Bundle writes the artifacts of the layout in fsys as one tar archive: itself such a layout, which other tools read too. The same
// layout gives the same bytes. Bytes written are told to progress, which may be nil. It is not compressed, as the parts are.
func Bundle(ctx context.Context, fsys fs.FS, to io.Writer, progress func(done, total int64)) error {
	names, err := bundled(fsys)
	if err != nil {
		return err
	}
	var total int64
	sizes := make([]int64, len(names))
	for i, name := range names {
		info, err := fs.Stat(fsys, name)
		if err != nil {
			return err
		}
		sizes[i] = info.Size()
		total += sizes[i]
	}
	archive := tar.NewWriter(to)
	var done int64
	for i, name := range names {
		header := tar.Header{Typeflag: tar.TypeReg, Name: name, Size: sizes[i], Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		file, err := fsys.Open(name)
		if err != nil {
			return err
		}
		err = eachChunk(ctx, file, func(content []byte) error {
			if _, err := archive.Write(content); err != nil {
				return err
			}
			if done += int64(len(content)); progress != nil {
				progress(done, total)
			}
			return nil
		})
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return archive.Close()
}

// bundled are the files of a bundle: what says what is in it comes first.
func bundled(fsys fs.FS) ([]string, error) {
	index, err := ReadIndex(fsys)
	if err != nil {
		return nil, err
	}
	names := []string{v1.ImageLayoutFile, v1.ImageIndexFile}
	add := func(d v1.Descriptor) {
		if name := BlobPath(d.Digest); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var layers []v1.Descriptor
	for _, d := range index.Manifests {
		a, err := ReadArtifact(fsys, d)
		if err != nil {
			return nil, err
		}
		add(d)
		add(a.Config)
		layers = append(layers, a.Layers...)
	}
	for _, layer := range layers {
		add(layer)
	}
	return names, nil
}

// Open opens the layout at path: a folder, or a bundle of one. A file that is no bundle gives fail.FlagInvalid, one that is cut off
// fail.ChecksumMismatch.
func Open(path string) (fsys fs.FS, close func() error, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	op := fmt.Sprintf("open the guest images in %q", path)
	if info.IsDir() {
		if fsys = os.DirFS(path); !IsLayout(fsys) {
			return nil, nil, fail.New(fail.FlagInvalid, op, "the folder is no OCI image layout")
		}
		return fsys, func() error { return nil }, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if fsys, err = readBundle(op, file, info.Size()); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return fsys, file.Close, nil
}

// readBundle reads the headers of a bundle of size bytes, and none of its blobs.
func readBundle(op string, from io.ReaderAt, size int64) (fs.FS, error) {
	section := io.NewSectionReader(from, 0, size)
	archive, found := tar.NewReader(section), bundle{from: from, files: map[string]extent{}}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && len(found.files) == 0 {
			return nil, fail.New(fail.FlagInvalid, op, "it is no bundle: %w", err).WithHint("A bundle is what `skiff bundle save` writes.")
		}
		if err != nil {
			return nil, damaged(op, "it is cut off or damaged after %d files: %w", len(found.files), err)
		}
		at, err := section.Seek(0, io.SeekCurrent) // a tar.Reader reads whole headers and no more
		if err != nil {
			return nil, err
		}
		if header.Size > size-at {
			return nil, damaged(op, "it ends after %d bytes, in the middle of %s", size, header.Name)
		}
		if header.Typeflag != tar.TypeReg { // folders, where another tool has packed it
			continue
		}
		if len(found.files) > maxParts*4 {
			return nil, damaged(op, "it has more than %d files", maxParts*4)
		}
		found.files[clean(header.Name)] = extent{at, header.Size}
	}
	if !IsLayout(found) {
		return nil, fail.New(fail.FlagInvalid, op, "it is a tar archive, but no bundle").WithHint("A bundle is what `skiff bundle save` writes.")
	}
	return found, nil
}

// clean takes the ./ off that tar puts before names.
func clean(name string) string {
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	return name
}

// bundle is the files of a bundle.
type bundle struct {
	from  io.ReaderAt
	files map[string]extent
}

type extent struct{ at, size int64 }

var (
	_ fs.FS     = bundle{}
	_ fs.StatFS = bundle{}
)

// Open implements fs.FS.
func (b bundle) Open(name string) (fs.File, error) {
	info, err := b.Stat(name)
	if err != nil {
		return nil, err
	}
	where := b.files[name]
	return bundledFile{io.NewSectionReader(b.from, where.at, where.size), info}, nil
}

// Stat implements fs.StatFS.
func (b bundle) Stat(name string) (fs.FileInfo, error) {
	where, there := b.files[name]
	if !there {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return (&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: where.size, Mode: 0o444}).FileInfo(), nil
}

// bundledFile is an open file of a bundle.
type bundledFile struct {
	*io.SectionReader
	info fs.FileInfo
}

// Stat implements fs.File.
func (f bundledFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements fs.File.
func (f bundledFile) Close() error { return nil }
