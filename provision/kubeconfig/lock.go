package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/fail"
)

const (
	// lockPoll is how often a lock is tried; whoever holds one needs milliseconds.
	lockPoll = 20 * time.Millisecond
	// lockPatience is after how long a lock counts as left behind by a process that died.
	lockPatience = 10 * time.Second
)

// lock takes the locks of all paths, in the order of their names, as kubectl does: a lock is a file beside the
// kubeconfig that exists (client-go, tools/clientcmd/loader.go, lockFile). It is not an advisory lock on a file that
// stays, since kubectl would wait for that to vanish.
func lock(ctx context.Context, paths []string) (unlock func(), err error) {
	var held []string
	unlock = func() {
		for _, path := range slices.Backward(held) {
			_ = os.Remove(path)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for _, path := range slices.Sorted(slices.Values(paths)) {
		if err := lockOne(ctx, path); err != nil {
			unlock()
			return nil, err
		}
		held = append(held, lockName(path))
	}
	return unlock, nil
}

func lockName(path string) string { return path + ".lock" }

func lockOne(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return notWritable(path, err)
	}
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		f, err := os.OpenFile(lockName(path), os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return notWritable(path, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return fmt.Errorf("wait for %q: %w", lockName(path), ctx.Err())
			}
			return fail.New(fail.KubeconfigNotWritable, fmt.Sprintf("write the kubeconfig %q", path),
				"%q is there: another program is changing it, or died while it did", lockName(path)).
				WithHint("If no kubectl runs, remove that file.").WithNext("rm %s", lockName(path))
		}
	}
}

// writable says whether write could do its work, from the rights of the folder or the nearest one above that exists.
func writable(f *file) error {
	path, err := resolve(f.path)
	if err != nil {
		return notWritable(f.path, err)
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(f.path)} { // the latter for the lock
		for {
			err := unix.Access(dir, unix.W_OK)
			if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
				dir = filepath.Dir(dir)
				continue
			}
			if err != nil {
				return notWritable(f.path, fmt.Errorf("folder %q: %w", dir, err))
			}
			break
		}
	}
	return nil
}

// resolve follows symbolic links, also to a file that does not exist yet.
func resolve(path string) (string, error) {
	const maxLinks = 40 // as Linux has it (path_resolution(7))
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a link, or nothing there
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("more than %d symbolic links", maxLinks)
}
