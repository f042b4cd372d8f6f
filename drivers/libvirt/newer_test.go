package libvirt

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
)

// TestNoteOf79092b1 reads the note of saved memory that commit 79092b1 wrote.
func TestNoteOf79092b1(t *testing.T) {
	t.Parallel()
	m := Machine{driver: New(Options{Version: "v1"}), note: "testdata/79092b1/suspended.json"}
	if n, err := m.read(); err != nil || n.Skiff != "" || n.CPUs != 2 || n.MemoryMiB != 2048 {
		t.Errorf("got %+v and %v", n, err)
	}
}

// TestMemoryOfANewerSkiff: saved memory whose note only a newer skiff can read is refused, and stays. A field that no newer skiff
// wrote is named with its file.
func TestMemoryOfANewerSkiff(t *testing.T) {
	t.Parallel()
	libvirt := &standIn{}
	m := suspendedMachine(t, libvirt)
	m.driver.options.Version = "v1"
	note, err := os.ReadFile(m.note)
	if err != nil {
		t.Fatal(err)
	}
	write := func(fields string) {
		t.Helper()
		if err := os.WriteFile(m.note, bytes.Replace(note, []byte("{"), []byte("{"+fields), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`"skiff": "v9", "gpus": 1,`)
	for what, err := range map[string]error{"Resume": m.Resume(t.Context()), "Start": m.Start(t.Context())} {
		known, ok := errors.AsType[*fail.Error](err)
		if !ok || known.ID != fail.StateNewer || !strings.Contains(err.Error(), "written by skiff v9, this is v1") || strings.Contains(known.Hint+known.Next, "delete") {
			t.Errorf("%s: got %+v, want %s with both versions", what, err, fail.StateNewer)
		}
	}
	wantKept(t, m, true)
	for _, by := range []string{"", `"skiff": "v1", `} {
		write(by + `"gpus": 1,`)
		err := m.Resume(t.Context())
		if !fail.Is(err, fail.SnapshotMismatch) || !strings.Contains(err.Error(), m.note) || !strings.Contains(err.Error(), `unknown field "gpus"`) {
			t.Errorf("%s: got error %v, want %s with the file and the field", by, err, fail.SnapshotMismatch)
		}
	}
	wantKept(t, m, true)
	write("")
	if err := m.Resume(t.Context()); err != nil {
		t.Errorf("Resume with the note as it was: %v", err)
	}
	if err := m.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := m.read(); err != nil || n.Skiff != "v1" {
		t.Errorf("the note: got %+v and %v, want the version that wrote it", n, err)
	}
}
