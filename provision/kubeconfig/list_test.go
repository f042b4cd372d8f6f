package kubeconfig_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

func TestEntries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	list := first + string(filepath.ListSeparator) + second
	if got, err := kubeconfig.Entries(list); err != nil || got != nil {
		t.Errorf("Entries of no file: got %v and error %v, want none", got, err)
	}
	if err := os.WriteFile(first, []byte(others), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := kubeconfig.Merge(t.Context(), second, "dev", []byte(own), false); err != nil {
		t.Fatal(err)
	}
	want := []kubeconfig.Entry{
		{Name: "prod", Server: "https://prod.example.com", Current: true},
		{Name: "dev", Server: "https://127.77.3.1:6443"},
	}
	got, err := kubeconfig.Entries(list)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Entries: error %v (-want +got):\n%s", err, diff)
	}
	files, err := kubeconfig.Files(list + string(filepath.ListSeparator) + filepath.Join(dir, "third"))
	if diff := cmp.Diff([]string{first, second}, files); diff != "" || err != nil {
		t.Errorf("Files: error %v (-want +got):\n%s", err, diff)
	}
	if err := os.WriteFile(second, []byte("contexts: [{name: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kubeconfig.Entries(list); !fail.Is(err, fail.KubeconfigUnreadable) {
		t.Errorf("Entries of a broken file: got error %v, want %s", err, fail.KubeconfigUnreadable)
	}
}

func TestStaleLocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	stale := func(now time.Time) []string {
		t.Helper()
		locks, err := kubeconfig.StaleLocks(path, now)
		if err != nil {
			t.Fatal(err)
		}
		return locks
	}
	if got := stale(time.Now().Add(time.Hour)); got != nil {
		t.Errorf("without a lock: got %v, want none", got)
	}
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := stale(time.Now()); got != nil {
		t.Errorf("a lock just taken: got %v, want none", got)
	}
	if got := stale(time.Now().Add(time.Minute)); len(got) != 1 || got[0] != path+".lock" {
		t.Errorf("a lock a minute old: got %v, want it", got)
	}
}
