package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// homeIsFolder refuses a SKIFF_HOME that is something else than a folder: nothing can be below it.
func (a *app) homeIsFolder() error {
	home := a.deps.Env(homeVariable)
	info, err := os.Stat(home)
	if home == "" || err != nil || info.IsDir() {
		return nil //nolint:nilerr // one that is not there is made, and one that cannot be is told of then
	}
	return fail.New(fail.HomeUnusable, "use "+homeVariable+" "+home, "it is a file, and must be a folder").
		WithHint("Let %s name a folder of your own, or leave it unset for the usual ones.", homeVariable).WithNext("unset %s", homeVariable)
}

const homeVariable = "SKIFF_HOME"

// homeUnusable gives an error the ID that it deserves when the host refuses one of skiff's own folders or files. What has an
// ID already is better explained by that.
func (a *app) homeUnusable(err error) error {
	path, why := refused(err)
	if why == 0 || fail.Known(err) {
		return err
	}
	for _, folder := range a.folders() {
		if within(folder, path) || within(path, folder) { // what is above it may be why it cannot be made
			return a.explainHome(folder, path, err, why)
		}
	}
	return err
}

// explainHome says how the folders of skiff become usable again.
func (a *app) explainHome(folder, path string, err error, why syscall.Errno) error {
	home := a.deps.Env(homeVariable)
	op := "use skiff's folder " + folder
	if home != "" {
		op = "use " + homeVariable + " " + home
	}
	problem := fail.New(fail.HomeUnusable, op, "%w", err)
	stands := standing(path)
	info, unseen := os.Stat(stands)
	switch {
	case unseen == nil && why == syscall.EACCES && host.Mine(info):
		mode := "u+rw"
		if info.IsDir() {
			mode = "u+rwx"
		}
		return problem.WithHint("It is yours, and its mode forbids you that.").WithNext("chmod %s %s", mode, machine.Quote(stands))
	case home != "":
		return problem.WithHint("Let %s name a folder of your own that can be written to, or leave it unset for the usual ones.", homeVariable).
			WithNext("unset %s", homeVariable)
	}
	return problem.WithHint("Mend owner and mode of the folder, or let %s name another one that can be written to.", homeVariable).
		WithNext("export %s=/var/tmp/skiff-$(id -u)", homeVariable)
}

// refused returns the path that the host refuses to read or write, and why; 0 when the error is about something else.
func refused(err error) (path string, why syscall.Errno) {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file):
		path, err = file.Path, file.Err
	case errors.As(err, &link):
		path, err = link.New, link.Err
	default:
		return "", 0
	}
	for _, why := range []syscall.Errno{syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.ENOTDIR} {
		if errors.Is(err, why) {
			return path, why
		}
	}
	return path, 0
}

// within reports whether path is folder or below it.
func within(folder, path string) bool {
	below, err := filepath.Rel(folder, path)
	return folder != "" && err == nil && below != ".." && !strings.HasPrefix(below, "../")
}

// standing returns the path, or the nearest folder above it that is there.
func standing(path string) string {
	for {
		above := filepath.Dir(path)
		if _, err := os.Lstat(path); err == nil || above == path {
			return path
		}
		path = above
	}
}
