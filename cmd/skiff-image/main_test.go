package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/images/build"
	"github.com/skiff-k8s/skiff/images/layout"
)

func TestRunExplainsItself(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"nothing":         {nil, 2},
		"unknown command": {[]string{"bake"}, 2},
		"unknown flag":    {[]string{"build", "--fast"}, 2},
		"another's flag":  {[]string{"pack", "--source", "x"}, 2},
		"help":            {[]string{"build", "--help"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			if got := run(t.Context(), test.args, &stdout, &stderr); got != test.want {
				t.Errorf("got exit code %d, want %d", got, test.want)
			}
			if !strings.Contains(stderr.String(), "Usage: skiff-image build") || stdout.Len() > 0 {
				t.Errorf("want the usage on standard error alone, got %q and %q", stderr.String(), stdout.String())
			}
		})
	}
}

// TestPack: parts and sizes are printed, and what is missing or wrong is said.
func TestPack(t *testing.T) {
	t.Parallel()
	folder, out := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "layout")
	if err := clustertest.Image(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	if got := run(t.Context(), []string{"pack", "--out", out, folder}, &stdout, &stderr); got != 0 {
		t.Fatalf("got exit code %d: %s", got, stderr.String())
	}
	for _, want := range []string{"Guest image ", "PART", "kernel                 8", "all, with the recipe", out} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("want %q in:\n%s", want, stdout.String())
		}
	}
	if !layout.IsLayout(os.DirFS(out)) {
		t.Error("there is no layout")
	}
	for want, args := range map[string][]string{
		"--out names":             {"pack", folder},
		`--level is "quick"`:      {"pack", "--out", out, "--level", "quick", folder},
		"nowhere":                 {"pack", "--out", out, filepath.Join(folder, "nowhere")},
		"is neither empty nor an": {"pack", "--out", folder, folder},
	} {
		stderr.Reset()
		if got := run(t.Context(), args, &stdout, &stderr); got != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: got exit code %d and %q, want 1 and %q", args, got, stderr.String(), want)
		}
	}
}

func TestRunNamesAMissingCheckout(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	source := filepath.Join(t.TempDir(), "nowhere")
	if got := run(t.Context(), []string{"build", "--source", source}, &stdout, &stderr); got != 1 || !strings.Contains(stderr.String(), source) {
		t.Errorf("got exit code %d and %q, want 1 and the folder's name", got, stderr.String())
	}
}

func TestFindSourceLooksUpwards(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(root, "a", "b")
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.MkdirAll(filepath.Join(root, "images", "components"), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	if got, err := findSource(); err != nil || got != root {
		t.Errorf("got %q, %v, want %q", got, err, root)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, e := range []build.Event{
		{Step: "kubernetes", Kind: build.Started, Index: 3, Total: 14, Expect: 7 * time.Minute},
		{Step: "kubernetes", Kind: build.Finished, Index: 3, Total: 14, Took: 19*time.Second + 940*time.Millisecond},
		{Step: "disk", Kind: build.Failed, Index: 4, Total: 14, Took: time.Second},
	} {
		show(&out, e)
	}
	want := `[ 3/14] kubernetes … (about 7m0s when nothing is cached)
        kubernetes done in 19.9s
        disk failed after 1s
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

// TestAged: old packages are told of with their age, and the last word of the program that could not fetch newer ones.
func TestAged(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	got := aged(build.Result{Packages: now.AddDate(0, 0, -45), Old: errors.New("mmdebstrap: exit status 25\nErr:1 deb.debian.org\nE: no network\n")}, now)
	if want := "the Debian packages of the image are 45 days old, and newer ones cannot be used: E: no network"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
