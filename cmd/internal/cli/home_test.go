package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// TestHomeUnusable: a folder of skiff's that the host refuses is a matter of the host, and told with its remedy.
func TestHomeUnusable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := []struct {
		name string
		home string // SKIFF_HOME
		path string // that the host refuses
		why  error
		next string // empty: it stays the error that it was
	}{
		{"read-only", dir, filepath.Join(dir, "state"), syscall.EROFS, "unset SKIFF_HOME"},
		{"of another user", dir, filepath.Join(dir, "state", "clusters"), syscall.EPERM, "unset SKIFF_HOME"},
		{"a folder above", dir, filepath.Dir(dir), syscall.EROFS, "unset SKIFF_HOME"},
		{"a file in its place", dir, filepath.Join(dir, "state"), syscall.ENOTDIR, "unset SKIFF_HOME"},
		{"forbidden to its owner", dir, filepath.Join(dir, "state"), syscall.EACCES, "chmod u+rwx " + dir},
		{"the usual folders", "", filepath.Join(dir, "state"), syscall.EROFS, "export SKIFF_HOME="},
		{"elsewhere", dir, "/dev/kvm", syscall.EACCES, ""},
		{"something else", dir, filepath.Join(dir, "state"), syscall.EIO, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := &app{
				deps: Deps{Env: func(name string) string { return map[string]string{homeVariable: test.home}[name] }},
				home: store.Home{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state"), Cache: filepath.Join(dir, "cache"), Run: filepath.Join(dir, "run")},
			}
			cause := fmt.Errorf("lock: %w", errors.Join(&fs.PathError{Op: "mkdir", Path: test.path, Err: test.why}))
			err := a.homeUnusable(cause)
			var known *fail.Error
			switch {
			case !errors.As(err, &known):
				if test.next != "" {
					t.Errorf("got error %v, want %s", err, fail.HomeUnusable)
				}
			case known.ID != fail.HomeUnusable || !strings.HasPrefix(known.Next, test.next) || test.next == "":
				t.Errorf("got %s with next %q, want %q", known.ID, known.Next, test.next)
			case !strings.Contains(err.Error(), test.path) || !strings.Contains(err.Error(), test.home):
				t.Errorf("got error %v, want it to name %s and %s", err, test.home, test.path)
			}
		})
	}
	known := fail.New(fail.MachineFailed, "boot", "%w", &fs.PathError{Path: dir, Err: os.ErrPermission})
	if got := (&app{}).homeUnusable(known); !errors.Is(got, error(known)) {
		t.Errorf("got error %v, want the one that has an ID already", got)
	}
}
