// Package golden compares what a test got with a file of what it should get. Such files hold what people read: plans,
// help texts, generated pages. Only tests import it, as it adds the flag -update to the program that does.
package golden

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The flag package has no other way to add a flag to a test binary.
var update = flag.Bool("update", false, "rewrite golden files and generated pages instead of comparing them")

// Compare fails t when got differs from the file at path, and shows the difference. The path is relative to the folder
// of the test, as in "testdata/plan.golden". Line endings do not matter. With -update it writes the file, and the folders
// above it, instead; then a difference is no failure. Tests that compare different files may run in parallel.
func Compare(t testing.TB, path string, got []byte) {
	t.Helper()
	if err := check(path, got, *update); err != nil {
		t.Error(err)
	}
}

func check(path string, got []byte, rewrite bool) error {
	got = unixLines(got)
	want, err := os.ReadFile(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read golden file: %w", err)
	case err == nil && bytes.Equal(unixLines(want), got):
		return nil
	case rewrite:
		return write(path, got)
	case err != nil:
		return fmt.Errorf("there is no %s; run the test with -update to write it. Got:\n%s", path, got)
	}
	diff := cmp.Diff(lines(want), lines(got))
	return fmt.Errorf("%s differs (-want +got); if the change is meant, run the test with -update:\n%s", path, diff)
}

func write(path string, got []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("update golden file: %w", err)
	}
	if err := os.WriteFile(path, got, 0o644); err != nil {
		return fmt.Errorf("update golden file: %w", err)
	}
	return nil
}

// lines makes cmp show whole lines, as it joins bytes of a long text otherwise.
func lines(text []byte) []string { return strings.Split(string(unixLines(text)), "\n") }

// unixLines undoes what git on Windows does to text files.
func unixLines(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}
