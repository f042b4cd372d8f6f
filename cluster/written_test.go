package cluster

import (
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// TestClusterOfANewerSkiff: a field that this version does not know is refused with both versions, and nobody is told to delete.
func TestClusterOfANewerSkiff(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile("../config/testdata/79092b1/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{Home: store.Home{State: t.TempDir()}, Version: "v1"}
	write := func(content string) {
		if err := store.Write(m.Home.Cluster("dev").File(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(old))
	c, err := m.Load("dev")
	if err != nil || c.Skiff != "" || !c.Provisioned {
		t.Fatalf("Load of what 79092b1 wrote: got %+v and %v", c, err)
	}
	if err := m.save(c); err != nil {
		t.Fatal(err)
	}
	if c, err = m.Load("dev"); err != nil || c.Skiff != "v1" {
		t.Errorf("Load of what save wrote: got version %q and %v, want v1", c.Skiff, err)
	}
	for _, change := range []string{"gpus: 1\n", "apiVersion: skiff.dev/v2\n"} {
		content := string(old)
		if strings.HasPrefix(change, "apiVersion") {
			content = strings.Replace(content, "apiVersion: skiff.dev/v1alpha1\n", "", 1)
		}
		write("skiff: v9\n" + change + content)
		_, err := m.Load("dev")
		if !fail.Is(err, fail.StateNewer) || !strings.Contains(err.Error(), "written by skiff v9, this is v1") {
			t.Fatalf("%q: got error %v, want %s with both versions", change, err, fail.StateNewer)
		}
		known := err.(*fail.Error) //nolint:errorlint // Load makes it
		if advice := known.Hint + known.Next + fail.Lookup(known.ID).Advice; strings.Contains(advice, "delete") || strings.Contains(advice, "emove") {
			t.Errorf("%q: the advice is %q, want none to delete", change, advice)
		}
	}
}

// TestSnapshotNoteOf79092b1 reads what a snapshot of commit 79092b1 keeps of its cluster.
func TestSnapshotNoteOf79092b1(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/79092b1/snapshot-note.json")
	if err != nil {
		t.Fatal(err)
	}
	var n note
	if err := store.ReadJSON(content, &n); err != nil || n.Description != "before" || n.Config.MemoryMiB != 2048 || !n.Config.Provisioned {
		t.Errorf("got %+v and %v", n, err)
	}
}
