package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/store"
)

// part is a blob that is not complete. It is named by the digest alone, so that there is never a second one, and any source can
// continue it. Its writer holds the blob's lock.
type part struct {
	path string
	file *os.File
	size int64 // bytes that are written
	hash hash.Hash
	// foreign says that some of the bytes were there before the source was asked that is being asked.
	foreign bool
}

func partPath(dir string, blob v1.Descriptor) string {
	return filepath.Join(dir, blob.Digest.Encoded())
}

// openPart opens what is there of the blob and hashes it. What can be none of it is removed.
func openPart(ctx context.Context, path string, blob v1.Descriptor) (*part, error) {
	if info, err := os.Lstat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > blob.Size) {
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, store.NoSpace("write "+path, err)
	}
	p := &part{path: path, file: file, hash: sha256.New()}
	p.size, err = io.Copy(p.hash, &reader{ctx, file})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("continue %s: %w", path, err)
	}
	return p, nil
}

// reader ends with ctx.
type reader struct {
	ctx  context.Context
	from io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

func (p *part) write(content []byte) error {
	n, err := p.file.Write(content)
	p.hash.Write(content[:n])
	p.size += int64(n)
	return store.NoSpace("download the guest image", err)
}

// sum is the digest of what is written, in hexadecimal.
func (p *part) sum() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// restart throws away what is written.
func (p *part) restart() error {
	p.size, p.foreign = 0, false
	p.hash.Reset()
	_, err := p.file.Seek(0, io.SeekStart)
	return errors.Join(p.file.Truncate(0), err)
}

// finish gives the complete part its name, and returns once both are on the disk.
func (p *part) finish(to string) error {
	if err := p.file.Sync(); err != nil {
		return store.NoSpace("write "+p.path, err)
	}
	return store.Move(p.path, to)
}

// close ends writing. A part without a byte is none.
func (p *part) close() {
	_ = p.file.Close()
	if p.size == 0 {
		_ = os.Remove(p.path)
	}
}

// holds reports whether the file at path is the blob.
func holds(ctx context.Context, path string, blob v1.Descriptor) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, &reader{ctx, io.LimitReader(file, blob.Size+1)}); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)) == blob.Digest.Encoded(), nil
}
