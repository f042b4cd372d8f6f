package background_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/internal/background"
)

func TestStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, fifo := filepath.Join(dir, "below", "log"), filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// It prints its priority, whether it leads a session (the sixth field, see proc_pid_stat(5)), and an argument. Opening
	// the pipe waits for the reader.
	script := `nice; read -r p c s g t sid rest </proc/$$/stat; [ "$sid" = $$ ] && echo leads; echo "$1" >&2; echo done >"$0"`
	if err := background.Start(log, "/bin/sh", "-c", script, fifo, "a b"); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.Open(fifo) // waits for the program to get there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pipe.Close() }()
	if said, err := io.ReadAll(pipe); err != nil || string(said) != "done\n" {
		t.Errorf("the program said %q, error %v", said, err)
	}
	printed, err := os.ReadFile(log)
	if err != nil || string(printed) != "19\nleads\na b\n" {
		t.Errorf("the log: got %q and error %v, want priority 19, a session of its own and the argument", printed, err)
	}
}

func TestStartTwice(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte(strings.Repeat("old ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := background.Start(log, "/bin/echo", "new"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		printed, err := os.ReadFile(log)
		if err == nil && string(printed) == "new\n" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the log: got %q and error %v, want the new words alone", printed, err)
		}
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := background.Start(filepath.Join(file, "log"), "/bin/echo"); err == nil {
		t.Error("with a log that cannot be: got no error")
	}
}
