package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A pod's log may go between being found and being read, here as a link that leads nowhere.
func TestPodLogsThatGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stays.log"), []byte("first\nlast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "gone.log")); err != nil {
		t.Fatal(err)
	}
	args := podLogs(dir, logOptions{lines: 1})
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output() //nolint:gosec // the test's own words
	if err != nil || !strings.HasSuffix(string(out), "stays.log <==\nlast\n") {
		t.Errorf("got %q (%v), want the last line of the log that stays", out, err)
	}
}
