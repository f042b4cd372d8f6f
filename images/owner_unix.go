//go:build unix

package images

import (
	"io/fs"
	"os"
	"syscall"
)

// owned reports whether the file belongs to this process' user.
func owned(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
