package images

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nextData returns the first offset at or after offset where file may have data, or its size when only a hole follows.
func nextData(file *os.File, offset int64) (int64, error) {
	next, err := unix.Seek(int(file.Fd()), offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		info, err := file.Stat()
		if err != nil {
			return 0, err
		}
		// Rounded up, so that the end, which need not be a multiple of a block, counts as passed.
		return (info.Size() + block - 1) / block * block, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return offset, nil // a file system that knows no holes
	}
	return next, err
}
