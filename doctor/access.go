package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// cure is what lets this user use a path.
type cure struct {
	command string
	mend    func(context.Context) (did string, err error) // nil where it takes root, or is for the user to decide
}

// cured is a failure with its cure.
func cured(c cure, text string, args ...any) Finding {
	return failure(c.command, text, args...).mended(c.mend)
}

// access is the cure for a path that cannot be used, or made. What bars the way is it itself, or the nearest folder above it
// that can be looked at. variable is the one that leads to the path when it is set; else HOME does.
func (h Host) access(path, variable string) cure {
	_, problem := os.Stat(path)
	if errors.Is(problem, syscall.ELOOP) {
		return cure{command: "rm " + machine.Quote(path)}
	}
	at, info := host.Nearest(path)
	switch quoted := machine.Quote(at); {
	case at != path && !info.IsDir():
		return cure{command: "mv " + quoted + " " + machine.Quote(at+".old")}
	case errors.Is(unix.Access(at, unix.W_OK), syscall.EROFS):
		return cure{command: "sudo mount -o remount,rw " + machine.Quote(mountPoint(at))}
	case host.Mine(info) && at != path: // the user may have closed it on purpose
		return cure{command: opening(at, info).command}
	case host.Mine(info):
		return opening(at, info)
	case h.atHome(at):
		return cure{command: fmt.Sprintf("sudo chown %d %s", os.Geteuid(), quoted)}
	case h.Env(variable) != "":
		return cure{command: "unset " + variable}
	}
	return cure{command: `eval "export HOME=~$(id -un)"`} // it is another user's, as after su
}

// opening gives this user all rights to a file or folder of his own.
func opening(path string, info fs.FileInfo) cure {
	add, mode := "u+rw", fs.FileMode(0o600)
	if info.IsDir() {
		add, mode = "u+rwx", private
	}
	return cure{"chmod " + add + " " + machine.Quote(path), func(context.Context) (string, error) {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&mode == mode {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("Gave you the rights to %s (%s).", path, add), os.Chmod(path, info.Mode().Perm()|mode)
	}}
}

// atHome reports whether the path is below this user's home.
func (h Host) atHome(path string) bool {
	home := h.Env("HOME")
	return home != "" && strings.HasPrefix(path, filepath.Clean(home)+string(filepath.Separator))
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
