package qemu

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// rewrite changes a file that "v1" wrote to one of another version, in which there is a field more, or new in the place of old. A
// manifest gets its sum anew.
func rewrite(t *testing.T, path, by, old string, new ...string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum, content, _ := bytes.Cut(raw, []byte("\n"))
	summed := len(sum) == 2*sha256.Size
	if !summed {
		content = raw
	}
	more := old + ","
	if len(new) > 0 {
		content, more = bytes.Replace(content, []byte(old), []byte(new[0]), 1), ""
	}
	if by != "" {
		more += fmt.Sprintf("%q: %q,", "skiff", by)
	}
	const written = `"skiff": "v1",`
	if !bytes.Contains(content, []byte(written)) {
		t.Fatalf("%s does not name the version that wrote it: %s", path, content)
	}
	content = bytes.Replace(content, []byte(written), []byte(more), 1)
	if summed {
		content = fmt.Appendf(nil, "%x\n%s", sha256.Sum256(content), content)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantNewer expects an error that names both versions and tells nobody to delete.
func wantNewer(t *testing.T, what string, err error) {
	t.Helper()
	known, ok := errors.AsType[*fail.Error](err)
	if !ok || known.ID != fail.StateNewer || !strings.Contains(err.Error(), "written by skiff v9, this is v1") {
		t.Errorf("%s: got error %v, want %s with both versions", what, err, fail.StateNewer)
		return
	}
	if advice := known.Hint + known.Next + fail.Lookup(known.ID).Advice; strings.Contains(advice, "delete") || strings.Contains(advice, "emove") {
		t.Errorf("%s: the advice is %q, want none to delete", what, advice)
	}
}

func versionOne(t *testing.T) *Driver {
	t.Helper()
	d := newDriver(t, works, t.TempDir())
	d.options.Version = "v1"
	return d
}

// TestMemoryOfANewerSkiff: saved memory that only a newer skiff can read is refused, and stays.
func TestMemoryOfANewerSkiff(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, path string){
		"field":   func(t *testing.T, path string) { rewrite(t, path, "v9", `"gpus": 1`) },
		"version": func(t *testing.T, path string) { rewrite(t, path, "v9", `"version": 1`, `"version": 2`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := started(t, versionOne(t))
			if err := m.Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(m.files.suspended(), manifestName)
			change(t, path)
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, saveErr := m.SaveSnapshot(t.Context(), "x", nil, nil)
			for what, err := range map[string]error{
				"Resume": m.Resume(t.Context()), "Start": m.Start(t.Context()), "Fits": m.Fits(t.Context()), "SaveSnapshot": saveErr,
			} {
				wantNewer(t, what, err)
			}
			wantState(t, m, machine.Stopped)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the memory's manifest: got %s and %v, want it as it was", got, err)
			}
			if kept, err := m.Suspended(t.Context()); err != nil || !kept {
				t.Errorf("Suspended: got %t and %v, want it kept", kept, err)
			}
			if err := m.Forget(t.Context()); err != nil { // it was asked for by name
				t.Errorf("Forget: %v", err)
			}
			if err := m.Start(t.Context()); err != nil {
				t.Errorf("Start after Forget: %v", err)
			}
		})
	}
}

// TestUnknownFieldOfMemory: a field that no newer skiff wrote is named with its file.
func TestUnknownFieldOfMemory(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"", "v1", "v0.9"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			m := started(t, versionOne(t))
			if err := m.Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(m.files.suspended(), manifestName)
			rewrite(t, path, by, `"gpus": 1`)
			err := m.Resume(t.Context())
			if !fail.Is(err, fail.SnapshotMismatch) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `unknown field "gpus"`) {
				t.Errorf("Resume: got error %v, want %s with the file and the field", err, fail.SnapshotMismatch)
			}
		})
	}
}

// TestSnapshotOfANewerSkiff: it is listed with the reason, and neither restored nor deleted.
func TestSnapshotOfANewerSkiff(t *testing.T) {
	t.Parallel()
	m := started(t, versionOne(t))
	if _, err := m.SaveSnapshot(t.Context(), "old", nil, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.files.snapshot("old"), manifestName)
	rewrite(t, path, "v9", `"gpus": 1`)
	list, err := m.Snapshots(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("Snapshots: got %+v and %v, want one", list, err)
	}
	for what, err := range map[string]error{
		"Snapshots": list[0].Err, "RestoreSnapshot": m.RestoreSnapshot(t.Context(), "old"), "DeleteSnapshot": m.DeleteSnapshot(t.Context(), "old"),
	} {
		wantNewer(t, what, err)
	}
	wantState(t, m, machine.Running)
	layers, err := m.files.layerFiles()
	if err != nil || len(layers) != 2 {
		t.Errorf("layers: got %q and %v, want both", layers, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the snapshot: %v", err)
	}
}

// TestDiskOfANewerSkiff: a disk whose layers only a newer skiff knows is not booted from, and keeps all of them.
func TestDiskOfANewerSkiff(t *testing.T) {
	t.Parallel()
	m := started(t, versionOne(t))
	if _, err := m.SaveSnapshot(t.Context(), "old", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	rewrite(t, m.files.chain(), "v9", `"gpus": 1`)
	_, saveErr := m.SaveSnapshot(t.Context(), "x", nil, nil)
	for what, err := range map[string]error{
		"State": wantState(t, m, machine.Broken), "Start": m.Start(t.Context()), "SaveSnapshot": saveErr,
		"RestoreSnapshot": m.RestoreSnapshot(t.Context(), "old"), "DeleteSnapshot": m.DeleteSnapshot(t.Context(), "old"),
	} {
		wantNewer(t, what, err)
	}
	layers, err := m.files.layerFiles()
	if err != nil || len(layers) != 2 {
		t.Errorf("layers: got %q and %v, want both", layers, err)
	}
	if _, err := os.Stat(m.files.snapshot("old")); err != nil {
		t.Errorf("the snapshot: %v", err)
	}
	rewritten, err := os.ReadFile(m.files.chain())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.files.chain(), bytes.Replace(rewritten, []byte(`"v9"`), []byte(`"v1"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	err = wantState(t, m, machine.Broken)
	if known, ok := errors.AsType[*fail.Error](err); !ok || known.ID != fail.StateCorrupt || !strings.Contains(err.Error(), "gpus") || !strings.Contains(err.Error(), m.files.chain()) || strings.Contains(known.Hint+known.Next, "delete") {
		t.Errorf("with a field that this version wrote: got %+v, want %s with the file and the field, and no advice to delete", err, fail.StateCorrupt)
	}
}
