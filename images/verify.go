package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/fail"
)

// stampsName is the file that remembers which files of the folder have been held to their digests. It is no part of the
// image: losing it costs reading everything once.
const stampsName = "verified.json"

// Verify checks that the image folder dir is what its manifest says. Files whose size and time of change are as they were
// when they were last read are taken for unchanged, so that it costs a millisecond; others are read again.
//
// Failures with a known remedy: fail.ImageMissing (no image, or a file of it is gone), fail.ChecksumMismatch.
func Verify(ctx context.Context, dir string) error {
	known := readStamps(dir)
	changed, err := verify(ctx, dir, known)
	if err == nil && changed {
		// A folder that cannot be written to is as good as before, and is read again next time.
		_ = known.write(dir)
	}
	return err
}

// Reread is Verify that trusts neither size nor time: it reads every file, which takes seconds, and so finds what a disk
// has changed by itself. It writes nothing.
func Reread(ctx context.Context, dir string) error {
	_, err := verify(ctx, dir, stamps{})
	return err
}

// Forget makes the next Verify and Install of the image folder dir read every file.
func Forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, stampsName)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// verify reads the files that known does not vouch for and adds them to it; changed says that there were any.
func verify(ctx context.Context, dir string, known stamps) (changed bool, err error) {
	manifest, err := ReadManifest(dir)
	if err != nil {
		return false, err
	}
	for _, name := range slices.Sorted(maps.Keys(manifest.Files)) {
		file := manifest.Files[name]
		if known.holds(dir, file) {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		digest, err := Hash(ctx, path, file.Sparse, nil)
		if errors.Is(err, fs.ErrNotExist) {
			return false, fail.New(fail.ImageMissing, fmt.Sprintf("check the guest image in %q", dir), "%w", err).WithNext(Remake)
		}
		if err != nil {
			return false, fmt.Errorf("check the guest image in %q: %w", dir, err)
		}
		if digest != file.SHA256 {
			return false, mismatch(path, file, digest)
		}
		if err := known.add(dir, file); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// stamp is what a file looked like when it was last held to its digest.
type stamp struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	SHA256   string    `json:"sha256"`
}

// stamps maps names in a folder to their stamps.
type stamps map[string]stamp

// readStamps returns what the folder remembers; nothing when that cannot be read.
func readStamps(dir string) stamps {
	known := stamps{}
	content, err := os.ReadFile(filepath.Join(dir, stampsName))
	if err != nil || json.Unmarshal(content, &known) != nil {
		return stamps{}
	}
	return known
}

func (s stamps) write(dir string) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, stampsName), content, 0o644)
}

// add remembers the file of dir as it is now.
func (s stamps) add(dir string, file File) error {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file.Name)))
	if err != nil {
		return err
	}
	s[file.Name] = stamp{Size: info.Size(), Modified: info.ModTime().UTC(), SHA256: file.SHA256}
	return nil
}

// holds reports whether the file of dir looks as it did when it had the digest that the manifest gives it.
func (s stamps) holds(dir string, file File) bool {
	known, ok := s[file.Name]
	if !ok || known.SHA256 != file.SHA256 || known.Size != file.Size {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file.Name)))
	return err == nil && info.Size() == known.Size && info.ModTime().Equal(known.Modified)
}
