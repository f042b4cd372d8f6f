package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/fail"
)

// Write replaces the file at path in one step and flushes it to the disk, making missing parent folders (mode 0700). A
// reader, and a host that loses power, has the old content or the new one. A full disk gives fail.HostDiskFull.
func Write(path string, content []byte, mode fs.FileMode) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = renameio.WriteFile(path, content, mode, renameio.WithPermissions(mode), renameio.IgnoreUmask())
	}
	return NoSpace("write "+path, err)
}

// NoSpace turns an error that means "the disk is full" into fail.HostDiskFull for the operation op, and returns every
// other error as it is.
func NoSpace(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fail.New(fail.HostDiskFull, op, "%w", err)
	}
	return err
}

// Folder makes a private folder (mode 0700) and the missing ones above it.
func Folder(path string) error { return NoSpace("make folder "+path, os.MkdirAll(path, 0o700)) }
