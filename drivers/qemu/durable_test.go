package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/machine"
)

// flush is a file or folder as it was when it was flushed.
type flush struct {
	file    os.FileInfo // the same under all names
	content string
}

// flushesOf makes the driver record what it flushes.
func flushesOf(d *Driver) *[]flush {
	var flushes []flush
	d.sync = func(path string) error {
		file, err := os.Stat(path)
		if err != nil {
			return err
		}
		is, err := contentOf(path)
		flushes = append(flushes, flush{file, is})
		return errors.Join(err, hostfiles.Sync(path))
	}
	return &flushes
}

// contentOf returns the names in a folder, or what tells one content of a file from the next.
func contentOf(path string) (string, error) {
	file, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !file.IsDir() {
		return fmt.Sprint(file.Size(), " bytes of ", file.ModTime()), nil
	}
	entries, err := os.ReadDir(path)
	names := "/"
	for _, entry := range entries {
		names += entry.Name() + "/"
	}
	return names, err
}

// lasts reports whether all of a file or folder as it is now was flushed. A name that comes back does no harm.
func (f flush) lasts(now string) bool {
	if !f.file.IsDir() {
		return f.content == now
	}
	for name := range strings.SplitSeq(now, "/") {
		if !strings.Contains(f.content, "/"+name+"/") && name != "" {
			return false
		}
	}
	return true
}

// wantDurable fails unless a loss of power now leaves these files and folders as they are.
func wantDurable(t *testing.T, flushes []flush, paths ...string) {
	t.Helper()
	for _, path := range paths {
		file, err := os.Stat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		now, err := contentOf(path)
		if err != nil {
			t.Error(err)
		}
		last := flush{content: "nothing"}
		for _, flush := range flushes {
			if os.SameFile(flush.file, file) {
				last = flush
			}
		}
		if last.file == nil || !last.lasts(now) {
			t.Errorf("%s: a loss of power would change it: on the disk is %q, and now there is %q", path, last.content, now)
		}
	}
}

// state names what makes up a saved state.
func state(path string) []string {
	return []string{
		path, filepath.Join(path, memoryName), filepath.Join(path, devicesName), filepath.Join(path, manifestName), filepath.Dir(path),
	}
}

// TestDurable: what was saved is on the disk when the command that saved it says so.
func TestDurable(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := started(t, d)
	ctx := t.Context()
	flushes := flushesOf(d)
	layers := func() (paths []string) {
		names, err := m.files.layerFiles()
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			paths = append(paths, m.files.layer(name))
		}
		return append(paths, m.files.dir)
	}
	if _, err := m.SaveSnapshot(ctx, "running", nil, nil); err != nil {
		t.Fatal(err)
	}
	wantDurable(t, *flushes, append(state(m.files.snapshot("running")), layers()...)...)
	*flushes = nil
	if err := m.Suspend(ctx); err != nil {
		t.Fatal(err)
	}
	wantDurable(t, *flushes, append(state(m.files.suspended()), layers()...)...)
	*flushes = nil
	if _, err := m.SaveSnapshot(ctx, "suspended", nil, nil); err != nil {
		t.Fatal(err)
	}
	wantDurable(t, *flushes, append(state(m.files.snapshot("suspended")), layers()...)...)
	*flushes = nil
	if err := m.RestoreSnapshot(ctx, "running"); err != nil {
		t.Fatal(err)
	}
	wantDurable(t, *flushes, state(m.files.suspended())...)
	if err := m.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	*flushes = nil
	if err := m.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	wantDurable(t, *flushes, layers()...)
}

// TestCannotFlush: where the disk does not take the memory, the guest continues and nothing claims to be saved.
func TestCannotFlush(t *testing.T) {
	t.Parallel()
	for _, name := range []string{memoryName, devicesName, manifestName, firstLayer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, works, t.TempDir())
			m := started(t, d)
			broken := errors.New("input/output error")
			d.sync = func(path string) error {
				if filepath.Base(path) == name {
					return broken
				}
				return nil
			}
			if err := m.Suspend(t.Context()); !errors.Is(err, broken) {
				t.Errorf("Suspend: got error %v, want %v", err, broken)
			}
			wantState(t, m, machine.Running)
			if _, err := m.SaveSnapshot(t.Context(), "x", nil, nil); !errors.Is(err, broken) {
				t.Errorf("SaveSnapshot: got error %v, want %v", err, broken)
			}
			wantState(t, m, machine.Running)
			for _, path := range []string{m.files.suspended(), m.files.snapshot("x")} {
				if hostfiles.Exists(path) {
					t.Errorf("%s is there", path)
				}
			}
			if err := m.Stop(context.WithoutCancel(t.Context())); (name == firstLayer) != errors.Is(err, broken) {
				t.Errorf("Stop: got error %v", err)
			}
		})
	}
}
