package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Owner returns the number of the user to whom a file belongs, and whether that is the one this process acts as. Where the
// system's files have no owner it is -1, and nobody's.
func Owner(info fs.FileInfo) (uid int, mine bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, false
	}
	return int(stat.Uid), int(stat.Uid) == os.Geteuid()
}

// Nearest returns the path, or else the nearest folder above it, that is there and can be looked at.
func Nearest(path string) (string, fs.FileInfo) {
	for {
		info, err := os.Stat(path)
		if above := filepath.Dir(path); err != nil && above != path {
			path = above
			continue
		}
		return path, info // at the latest the root, which everyone may look at
	}
}
