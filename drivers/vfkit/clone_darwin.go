package vfkit

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// clone makes a copy of a file that shares its blocks until one of them is written to (clonefile(2)); on file systems
// other than APFS it copies.
func clone(ctx context.Context, from, to string) error {
	err := unix.Clonefile(from, to, 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EXDEV) {
		return sparseCopy(ctx, from, to)
	}
	return err
}
