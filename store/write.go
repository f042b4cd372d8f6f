package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// Write replaces the file at path in one step and flushes it to the disk, making missing parent folders (mode 0700). A
// reader, and a host that loses power, has the old content or the new one, and the new one once Write has returned. A full
// disk gives fail.HostDiskFull.
func Write(path string, content []byte, mode fs.FileMode) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = renameio.WriteFile(path, content, mode, renameio.WithPermissions(mode), renameio.IgnoreUmask())
	}
	if err == nil {
		err = flush(filepath.Dir(path)) // without it a loss of power can bring the old file back
	}
	return NoSpace("write "+path, err)
}

// NoSpace turns an error that means "the disk is full" into fail.HostDiskFull for the operation op, and returns every
// other error as it is.
func NoSpace(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return full(op, err)
	}
	return err
}

// full tells how much room there is on the disk that is full, where the error names a file on it.
func full(op string, err error) error {
	file, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return fail.New(fail.HostDiskFull, op, "%w", err).WithNext("df -h")
	}
	dir, _ := host.Nearest(filepath.Dir(file.Path))
	problem := fail.New(fail.HostDiskFull, op, "%w", err).WithNext("df -h %s", machine.Quote(dir))
	if free, unknown := host.FreeBytes(dir); unknown == nil {
		const kib = 1 << 10
		problem.Err = fmt.Errorf("%w; %d KiB are free there", err, free/kib)
	}
	return problem
}

// Folder makes a private folder (mode 0700) and the missing ones above it.
func Folder(path string) error { return NoSpace("make folder "+path, os.MkdirAll(path, 0o700)) }

// Move gives a folder or a file another name, in one step, and returns once that is on the disk: after a loss of power it does not
// have the old name again. What has the new name may be an empty folder, for a file another file, and nothing else.
func Move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return NoSpace("move "+from, err)
	}
	if err := unix.Rename(from, to); err != nil { // os.Rename refuses an empty folder as well
		return NoSpace("move "+from, &os.LinkError{Op: "rename", Old: from, New: to, Err: err})
	}
	return errors.Join(flush(filepath.Dir(to)), flush(filepath.Dir(from)))
}

// flush returns once the names in a folder are on the disk.
func flush(dir string) error {
	folder, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
