package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/skiff-k8s/skiff/internal/logfile"
)

// TestBoundsLogs: an agent that runs keeps its own log and its machine's console from growing for ever.
func TestBoundsLogs(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.247.1")
	c.Console = filepath.Join(filepath.Dir(file(c)), "console.log")
	for _, path := range []string{c.LogFile, c.Console} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, logfile.Limit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client := spawn(t, c)
	for _, path := range []string{c.LogFile, c.Console} {
		for large := true; large; {
			status(t, client) // it fails when the test takes too long
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			large = info.Size() >= logfile.Limit
		}
		if info, err := os.Stat(logfile.Older(path)); err != nil || info.Size() < logfile.Limit {
			t.Errorf("%s: got the older part %v (%v), want all that was there", path, info, err)
		}
	}
}
