package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// Install puts the image folder from at to, which appears complete or not at all. Every file is held to its digest as it is
// read. On one file system, and where the files belong to this user, they become hard links; else they are copied with
// their holes. An installed image that is whole is left alone, and an Install goes on where one was that was interrupted or
// killed; one that failed leaves nothing.
// progress, which may be nil, is told how many of all bytes are done, holes included. Two Installs to one folder must not
// run at the same time.
//
// Failures with a known remedy: fail.ImageMissing (nothing at from), fail.ChecksumMismatch, fail.HostDiskFull.
func Install(ctx context.Context, from, to string, progress func(done, total int64)) error {
	manifest, stored, err := readManifest(from)
	if err != nil {
		return err
	}
	if installed, err := ReadManifest(to); err == nil && installed.Digest == manifest.Digest && Verify(ctx, to) == nil {
		return nil
	}
	i := installation{from: from, partial: to + ".partial", progress: progress}
	for _, file := range manifest.Files {
		i.total += file.Size
	}
	err = i.run(ctx, manifest, stored)
	if err == nil {
		err = replaceDir(i.partial, to)
	}
	if err != nil && ctx.Err() == nil {
		// The next Install begins anew: it may be of another image, or never come.
		left := os.RemoveAll(i.partial)
		err = errors.Join(i.explain(fmt.Sprintf("install the guest image in %q", to), manifest, err), left)
	}
	return err
}

// CurrentName is the link among image folders to the one that new clusters get.
const CurrentName = "current"

// Point makes the link CurrentName in dir lead to the image folder beside it that is called name, in one step.
func Point(dir, name string) error {
	link := filepath.Join(dir, CurrentName)
	if old, err := os.Readlink(link); err == nil && old == name {
		return nil
	}
	next := link + ".next"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.Symlink(name, next); err != nil {
		return err
	}
	return os.Rename(next, link)
}

// Sweep removes what Installs to folders beside to left when they were cut off. No Install to any of them may run.
func Sweep(to string) error {
	entries, err := os.ReadDir(filepath.Dir(to))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []error
	for _, entry := range entries {
		path := filepath.Join(filepath.Dir(to), entry.Name())
		if ext := filepath.Ext(path); entry.IsDir() && (ext == ".partial" || ext == ".old") && path != to+".partial" {
			problems = append(problems, os.RemoveAll(path))
		}
	}
	return errors.Join(problems...)
}

type installation struct {
	from, partial string
	stamps        stamps
	done, total   int64
	progress      func(done, total int64)
}

// run fills the partial folder; stored is the manifest as it lies in from.
func (i *installation) run(ctx context.Context, manifest Manifest, stored []byte) error {
	if err := os.MkdirAll(i.partial, 0o755); err != nil {
		return err
	}
	i.stamps = readStamps(i.partial)
	for _, name := range slices.Sorted(maps.Keys(manifest.Files)) {
		file := manifest.Files[name]
		if i.stamps.holds(i.partial, file) {
			i.advance(file.Size)
			continue
		}
		if err := i.file(ctx, file); err != nil {
			return err
		}
		if err := i.stamps.add(i.partial, file); err != nil {
			return err
		}
		// Only so that an interrupted installation need not begin again; worth it after each of the few large files.
		if file.Size > 1<<20 {
			if err := i.stamps.write(i.partial); err != nil {
				return err
			}
		}
	}
	if err := i.stamps.write(i.partial); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(i.partial, ManifestName), stored, 0o444)
}

// file puts one file into the partial folder and holds it to its digest.
func (i *installation) file(ctx context.Context, file File) error {
	from, to := filepath.Join(i.from, filepath.FromSlash(file.Name)), filepath.Join(i.partial, filepath.FromSlash(file.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before := i.done
	put := i.copy
	if linked(from, to, readOnly(file)) {
		put = i.check
	}
	digest, err := put(ctx, from, to, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fail.New(fail.ImageMissing, "install the guest image", "%w", err).WithNext(Remake)
	case err == nil && digest != file.SHA256:
		err = mismatch(from, file, digest)
	}
	if err != nil {
		// What was put there is no file of the image. The error itself matters more than one of the clearing.
		_ = os.Remove(to)
		return err
	}
	i.done = before
	i.advance(file.Size)
	return nil
}

func (i *installation) advance(n int64) {
	i.done += n
	if i.progress != nil {
		i.progress(i.done, i.total)
	}
}

// linked makes to a hard link of from, if that is possible and the file is this user's: another owner could change it
// later. The link and the original share their mode.
func linked(from, to string, mode fs.FileMode) bool {
	info, err := os.Stat(from)
	if err != nil || !host.Mine(info) || os.Link(from, to) != nil {
		return false
	}
	if os.Chmod(to, mode) != nil {
		_ = os.Remove(to)
		return false
	}
	return true
}

// check reads the linked file and returns its digest.
func (i *installation) check(ctx context.Context, _, to string, file File) (string, error) {
	return Hash(ctx, to, file.Sparse, i.advance)
}

// copy copies the file and returns the digest of what was read.
func (i *installation) copy(ctx context.Context, from, to string, file File) (string, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	digest, err := copyHashed(ctx, in, out, file.Sparse, i.advance)
	if err != nil {
		return "", err
	}
	// Synced, because what is installed is later told from its size and time alone.
	if err := errors.Join(out.Chmod(readOnly(file)), out.Sync(), out.Close()); err != nil {
		return "", err
	}
	return digest, nil
}

// readOnly is the mode of an installed file: images are never written.
func readOnly(file File) fs.FileMode { return 0o444 | fs.FileMode(file.Mode)&0o111 }

func mismatch(path string, file File, digest string) error {
	return fail.New(fail.ChecksumMismatch, fmt.Sprintf("check %q", path), "SHA-256 is %s, the manifest has %s", digest, file.SHA256).WithNext(Remake)
}

// replaceDir renames dir to to. A folder that is there, and was found to be unusable, goes.
func replaceDir(dir, to string) error {
	aside := to + ".old"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Rename(to, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	return os.RemoveAll(aside)
}

// explain gives err the ID that it deserves when it says that the disk is full.
func (i *installation) explain(op string, manifest Manifest, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		const mib = 1 << 20
		dir := filepath.Dir(i.partial)
		room := fmt.Sprintf("it takes %d MiB", i.taken(manifest)/mib)
		if free, unknown := host.FreeBytes(dir); unknown == nil {
			room += fmt.Sprintf(", and %d MiB are free", free/mib)
		}
		return fail.New(fail.HostDiskFull, op, "%w; %s", err, room).WithNext("df -h %s", machine.Quote(dir))
	}
	if fail.Known(err) {
		return err
	}
	return fmt.Errorf("%s: %w", op, err)
}

// taken is how many bytes of the disk the image takes where it is installed from: holes take none.
func (i *installation) taken(manifest Manifest) (bytes int64) {
	const block = 512 // POSIX stat(2), st_blocks on Linux and macOS
	for _, file := range manifest.Files {
		info, err := os.Stat(filepath.Join(i.from, filepath.FromSlash(file.Name)))
		if err != nil {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += stat.Blocks * block
		}
	}
	return bytes
}
