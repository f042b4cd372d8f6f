package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ShortTemp is a temporary folder whose name leaves room for that of a unix socket (108 bytes, unix(7)). TMPDIR may be long
// or relative, and differs between sessions. Every user can write there.
const ShortTemp = "/tmp"

// Owner returns the number of the user to whom a file belongs; -1 where that is not known.
func Owner(info fs.FileInfo) int {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}

// Mine reports whether a file belongs to the user as whom this process acts.
func Mine(info fs.FileInfo) bool { return Owner(info) == os.Geteuid() }

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
