package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/machine"
)

// access is the command that lets this user use a path that he cannot use, or make. What bars the way is it itself, or the
// nearest folder above it that can be looked at. variable is the one that leads to the path when it is set; else HOME does.
func (h Host) access(path, variable string) string {
	_, problem := os.Stat(path)
	if errors.Is(problem, syscall.ELOOP) {
		return "rm " + machine.Quote(path)
	}
	at, info := visible(path)
	owner, known := info.Sys().(*syscall.Stat_t)
	foreign := known && int(owner.Uid) != os.Geteuid()
	switch quoted := machine.Quote(at); {
	case at != path && !info.IsDir():
		return "mv " + quoted + " " + machine.Quote(at+".old")
	case errors.Is(unix.Access(at, unix.W_OK), syscall.EROFS):
		return "sudo mount -o remount,rw " + machine.Quote(mountPoint(at))
	case !foreign:
		return opening(at, info)
	case h.atHome(at):
		return fmt.Sprintf("sudo chown %d %s", os.Geteuid(), quoted)
	case h.Env(variable) != "":
		return "unset " + variable
	}
	return `eval "export HOME=~$(id -un)"` // it is another user's, as after su
}

// opening gives this user all rights to a file or folder of his own.
func opening(path string, info fs.FileInfo) string {
	if info.IsDir() {
		return "chmod u+rwx " + machine.Quote(path)
	}
	return "chmod u+rw " + machine.Quote(path)
}

// atHome reports whether the path is below this user's home.
func (h Host) atHome(path string) bool {
	home := h.Env("HOME")
	return home != "" && strings.HasPrefix(path, filepath.Clean(home)+string(filepath.Separator))
}

// visible returns the path, or the nearest above it, that can be looked at.
func visible(path string) (string, fs.FileInfo) {
	for {
		info, err := os.Stat(path)
		if err == nil {
			return path, info
		}
		path = filepath.Dir(path) // ends at the root, which everyone may look at
	}
}

// mountPoint returns the folder at which the file system with path begins.
func mountPoint(path string) string {
	for {
		var own, above unix.Stat_t
		dir := filepath.Dir(path)
		if dir == path || unix.Stat(path, &own) != nil || unix.Stat(dir, &above) != nil || own.Dev != above.Dev {
			return path
		}
		path = dir
	}
}
