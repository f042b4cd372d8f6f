package cluster_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
)

// changes changes the description of the cluster: its first line becomes first, which may be empty, and its last one last.
func (w *world) changes(first, last string) {
	w.t.Helper()
	file := w.Home.Cluster("dev").File()
	content, err := os.ReadFile(file)
	w.must(err)
	var lines []string
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "skiff:") {
			lines = append(lines, line)
		}
	}
	w.must(os.WriteFile(file, []byte(first+strings.Join(lines, "")+last), 0o600))
}

// advised returns what an error tells the user to do.
func advised(err error) string {
	known, ok := errors.AsType[*fail.Error](err)
	if !ok {
		return ""
	}
	if known.Hint == "" {
		return fail.Lookup(known.ID).Advice + known.Next
	}
	return known.Hint + known.Next
}

// TestDeleteOfANewerCluster: what a newer skiff has of a cluster this one does not know, so it deletes it only by force. Nobody is told
// to do that.
func TestDeleteOfANewerCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.changes("skiff: v9\n", "gpus: 1\n")
	for what, try := range map[string]func() error{
		"delete": func() error {
			_, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink)
			return err
		},
		"start": func() error { _, err := w.Start(t.Context(), w.options(), w.sink); return err },
		"stop": func() error {
			_, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink)
			return err
		},
	} {
		err := try()
		if !fail.Is(err, fail.StateNewer) || !strings.Contains(err.Error(), "written by skiff v9, this is v1.2.3") || !strings.Contains(err.Error(), "gpus") {
			t.Errorf("%s: got error %v, want %s with both versions and the field", what, err, fail.StateNewer)
		}
		if advice := advised(err); advice == "" || strings.Contains(advice, "delete") || strings.Contains(advice, "force") {
			t.Errorf("%s: the advice is %q, want some, and none to delete", what, advice)
		}
	}
	w.changes("skiff: v1.2.3\n", "")
	file := w.Home.Cluster("dev").File()
	content, err := os.ReadFile(file)
	w.must(err)
	w.must(os.WriteFile(file, []byte(strings.Replace(string(content), "gpus: 1\n", "", 1)), 0o600))
	if got := w.status(); got != allWell {
		t.Errorf("after them: got %q, want %q", got, allWell)
	}
	w.changes("skiff: v9\n", "gpus: 1\n")
	if deleted, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev", Force: true}, w.sink); err != nil || !deleted {
		t.Errorf("delete by force: got %t and %v", deleted, err)
	}
	if said := w.said(); !strings.Contains(said, "does not know") || !strings.Contains(said, "gpus") {
		t.Errorf("delete by force: it said %q, want what it does not know", said)
	}
	w.gone()
}

// TestUnknownField: a field that no newer skiff wrote is named with its file, and nobody is told to delete for it. A file that is
// none is another matter.
func TestUnknownField(t *testing.T) {
	t.Parallel()
	for first, text := range map[string]string{
		"":                "",
		"skiff: v1.2.3\n": "written by skiff v1.2.3: ",
		"skiff: v1.0.0\n": "written by skiff v1.0.0: ",
	} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.options())
			w.changes(first, "gpus: 1\n")
			_, err := w.Load("dev")
			if !fail.Is(err, fail.StateCorrupt) || !strings.Contains(err.Error(), w.Home.Cluster("dev").File()) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), `unknown field "gpus"`) {
				t.Errorf("got error %v, want %s with the file, %q and the field", err, fail.StateCorrupt, text)
			}
			if advice := advised(err); strings.Contains(advice, "delete") || strings.Contains(advice, "emove") {
				t.Errorf("the advice is %q, want none to delete", advice)
			}
			w.must(os.WriteFile(w.Home.Cluster("dev").File(), []byte("\x00"), 0o600))
			if _, err := w.Load("dev"); !strings.Contains(advised(err), "skiff delete -p dev") {
				t.Errorf("garbage: the advice is %q, want the way out", advised(err))
			}
			w.deletes()
			w.gone()
		})
	}
}

// TestMemoryOfANewerSkiff: a start does not boot over saved memory that only a newer skiff can resume from.
func TestMemoryOfANewerSkiff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.stops()
	w.did()
	w.driver.Failures = map[fake.Op]fake.Failure{fake.Resume: {ID: fail.StateNewer, Error: "written by skiff v9"}}
	w.fails(w.options(), fail.StateNewer)
	if steps, _ := w.did(); strings.Contains(steps, "boot") || !strings.Contains(steps, "resume") {
		t.Errorf("the steps were %q, want no boot", steps)
	}
	w.suspended(true)
	w.driver.Failures = nil
	if _, warnings := w.did(); warnings != "" {
		t.Errorf("it warned: %s", warnings)
	}
	w.starts(w.options())
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
}

// TestNoteOfANewerSkiff: what a newer skiff noted in a snapshot is refused; with what no newer one noted nobody is told to delete it.
func TestNoteOfANewerSkiff(t *testing.T) {
	t.Parallel()
	for by, id := range map[string]fail.ID{"v9": fail.StateNewer, "v1.2.3": fail.SnapshotMismatch} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.options())
			w.saves("old")
			path := filepath.Join(w.Home.Cluster("dev").Node("skiff").Dir, "fake.json")
			raw, err := os.ReadFile(path)
			w.must(err)
			var record map[string]any
			w.must(json.Unmarshal(raw, &record))
			saved := record["snapshots"].([]any)[0].(map[string]any)
			note, err := base64.StdEncoding.DecodeString(saved["note"].(string))
			w.must(err)
			note = bytes.Replace(note, []byte(`{"skiff":"v1.2.3",`), fmt.Appendf(nil, `{"skiff":%q,"gpus":1,`, by), 1)
			saved["note"] = note
			raw, err = json.Marshal(record)
			w.must(err)
			w.must(os.WriteFile(path, raw, 0o600))
			_, err = w.RestoreSnapshot(t.Context(), cluster.RestoreOptions{Profile: "dev", Name: "old"}, w.sink)
			if !fail.Is(err, id) || !strings.Contains(err.Error(), `unknown field "gpus"`) || strings.Contains(advised(err), "delete") {
				t.Errorf("got error %v with advice %q, want %s with the field, and none to delete", err, advised(err), id)
			}
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
		})
	}
}
