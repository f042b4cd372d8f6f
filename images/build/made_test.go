package build

import (
	"os"
	"testing"
	"time"
)

// TestMade: the day of a result is that of the step's folder, wherever the step is needed.
func TestMade(t *testing.T) {
	t.Parallel()
	cache, step := Cache{Root: t.TempDir()}, &Step{Name: "debian"}
	goal := &Step{Name: "image", Needs: []*Step{{Name: "other"}, {Name: "disk", Needs: []*Step{step}}}}
	if got := cache.made(goal, "debian"); !got.IsZero() {
		t.Errorf("nothing was made: got %s", got)
	}
	want := time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)
	if err := os.Mkdir(cache.Dir(step), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(cache.Dir(step), want, want); err != nil {
		t.Fatal(err)
	}
	if got := cache.made(goal, "debian"); !got.Equal(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
