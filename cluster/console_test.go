package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestConsole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "console.log")
	write := func(flags int, text string) {
		t.Helper()
		file, err := os.OpenFile(path, flags|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = file.WriteString(text)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hears := func(c *console, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.until(ctx, func(line string) bool { return line == want }); err != nil {
			t.Errorf("wait for %q: %v", want, err)
		}
	}
	absent := &console{path: path}
	write(os.O_APPEND, "old\nhalf")
	c := &console{path: path, from: 4}
	go func() {
		time.Sleep(2 * consoleTick)
		write(os.O_APPEND, " a line\nawake\nlater\n")
	}()
	hears(c, "half a line")
	hears(c, "awake")
	hears(c, "later") // what comes after a line that was wanted is not lost
	hears(absent, "old")

	write(os.O_TRUNC, "anew\n")
	hears(c, "anew")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.until(ctx, func(string) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing was said: got error %v, want %v", err, context.Canceled)
	}
	folder := &console{path: t.TempDir()}
	if err := folder.until(t.Context(), func(string) bool { return true }); err == nil {
		t.Error("a folder as the file of the console: got no error")
	}
}
