// Package kubeconfig adds a cluster to the user's kubeconfig, takes it out again and says whether it is there. Files
// are edited as YAML trees, so that entries of others, unknown fields and comments stay as they are; they are written
// whole or not at all, with mode 0600, under the lock file that kubectl uses too.
//
// Everywhere, list is the user's KUBECONFIG: one path, or several separated as in PATH; empty means ~/.kube/config. name
// is the one name of context, cluster and user. own is a kubeconfig whose current context is the cluster alone.
//
// Only what is skiff's is changed, also where the user has entries of the same name: those whose cluster is at an address of
// skiff's (see Address), or has the authority or the server that own has.
package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/skiff-k8s/skiff/fail"
)

// Seen is what the user's kubeconfig has of a cluster.
type Seen struct {
	Configured bool // context, cluster and user of that name are there and the same as in own
	Current    bool // the current context is skiff's and has that name
}

// Look says what there is, merging several files as kubectl does: the first that has an entry counts. No file is no
// error; one that cannot be read or parsed gives fail.KubeconfigUnreadable.
func Look(list, name string, own []byte) (Seen, error) {
	want, err := entryOf(own, name)
	if err != nil {
		return Seen{}, err
	}
	files, err := load(list)
	if err != nil {
		return Seen{}, err
	}
	seen := Seen{Configured: true, Current: effectiveCurrent(files) == name}
	if f := having(files, kinds()[2], name); f != nil && !newOwner(files, name, own).owns(f, kinds()[2]) {
		seen.Current = false
	}
	for _, kind := range kinds() {
		file := having(files, kind, name)
		if file == nil || !same(file.item(kind, name), kind, want) {
			seen.Configured = false
		}
	}
	return seen, nil
}

// Check fails with fail.KubeconfigUnreadable or fail.KubeconfigNotWritable if Merge would. It changes nothing.
func Check(list string) error {
	files, err := load(list)
	if err != nil {
		return err
	}
	return writable(target(files))
}

// Merge adds or replaces context, cluster and user of that name, and makes it the current context if setCurrent. A
// namespace that the user gave the context stays. An entry is replaced in the file that has it; a new one goes into the
// first file that exists, else into the last (as kubectl does). Where it would have to replace what is not skiff's, it
// changes nothing and returns a *Foreign. Merging twice is as once. A cancelled ctx ends the wait for the lock.
func Merge(ctx context.Context, list, name string, own []byte, setCurrent bool) error {
	want, err := entryOf(own, name)
	if err != nil {
		return err
	}
	return modify(ctx, list, func(files []*file) error {
		if err := newOwner(files, name, own).conflict(); err != nil {
			return err
		}
		for _, kind := range kinds() {
			f := having(files, kind, name)
			if f == nil {
				f = target(files)
			}
			if same(f.item(kind, name), kind, want) {
				continue
			}
			if err := f.set(kind, name, want); err != nil {
				return err
			}
		}
		if setCurrent && effectiveCurrent(files) != name {
			target(files).setCurrent(name)
		}
		return nil
	})
}

// Remove takes out context, cluster and user of that name, as far as they are skiff's, from all files, and unsets the
// current context if it was that. What is not there is no error. own may be nil, for a cluster that is gone or never got its
// kubeconfig.
func Remove(ctx context.Context, list, name string, own []byte) error {
	return modify(ctx, list, func(files []*file) error {
		type place struct {
			file *file
			kind kind
		}
		var ours []place // decided before anything is removed, as one entry says whose another is
		owner := newOwner(files, name, own)
		for _, f := range files {
			for _, kind := range kinds() {
				if f.item(kind, name) != nil && owner.owns(f, kind) {
					ours = append(ours, place{f, kind})
				}
			}
		}
		for _, one := range ours {
			one.file.remove(one.kind, name)
		}
		if len(ours) == 0 || having(files, kinds()[2], name) != nil {
			return nil // the current context is another's
		}
		for _, f := range files {
			if f.current() == name {
				f.setCurrent("")
			}
		}
		return nil
	})
}

// modify changes the files under their locks and writes those that changed.
func modify(ctx context.Context, list string, change func([]*file) error) error {
	paths, err := paths(list)
	if err != nil {
		return err
	}
	if files, err := loadPaths(paths); err != nil {
		return err
	} else if unchanged(files, change) {
		return nil // without a lock: nothing to do needs no right to write
	}
	unlock, err := lock(ctx, paths)
	if err != nil {
		return err
	}
	defer unlock()
	files, err := loadPaths(paths)
	if err != nil {
		return err
	}
	if err := change(files); err != nil {
		return err
	}
	for _, f := range files {
		if err := f.write(); err != nil {
			return err
		}
	}
	return nil
}

func unchanged(files []*file, change func([]*file) error) bool {
	return change(files) == nil && !slices.ContainsFunc(files, func(f *file) bool { return f.changed })
}

// paths splits list; a path that is named twice counts once.
func paths(list string) ([]string, error) {
	var all []string
	for _, path := range filepath.SplitList(list) {
		if path != "" && !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fail.New(fail.KubeconfigUnreadable, "find the kubeconfig", "%w", err)
	}
	return []string{filepath.Join(home, ".kube", "config")}, nil
}

func load(list string) ([]*file, error) {
	paths, err := paths(list)
	if err != nil {
		return nil, err
	}
	return loadPaths(paths)
}

// target is the file for new entries: the first that exists, else the last (client-go,
// tools/clientcmd/config.go, GetDefaultFilename).
func target(files []*file) *file {
	for _, f := range files {
		if f.exists {
			return f
		}
	}
	return files[len(files)-1]
}

// having returns the first file with an entry of that kind and name, or nil.
func having(files []*file, kind kind, name string) *file {
	for _, f := range files {
		if f.item(kind, name) != nil {
			return f
		}
	}
	return nil
}

// effectiveCurrent is the current context as kubectl sees it: the first one set.
func effectiveCurrent(files []*file) string {
	for _, f := range files {
		if current := f.current(); current != "" {
			return current
		}
	}
	return ""
}

// unreadable makes the error for a file that must not be touched.
func unreadable(path string, err error) error {
	return fail.New(fail.KubeconfigUnreadable, fmt.Sprintf("read the kubeconfig %q", path), "%w", err)
}

func notWritable(path string, err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok { // the path is in the phrase already
		err = fmt.Errorf("%s %s: %w", pathError.Op, filepath.Base(pathError.Path), pathError.Err)
	}
	return fail.New(fail.KubeconfigNotWritable, fmt.Sprintf("write the kubeconfig %q", path), "%w", err)
}

// equal compares what two pieces of YAML mean.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }
