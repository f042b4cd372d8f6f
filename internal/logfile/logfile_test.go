package logfile

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBound: a log stays bounded while somebody appends to it, and its latest lines are there.
func TestBound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	synctest.Test(t, func(t *testing.T) {
		writer, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = writer.Close() }()
		ctx, cancel := context.WithCancel(t.Context())
		go Bound(ctx, func(path string, err error) { t.Errorf("%s: %v", path, err) }, path, path+".none")
		say := func(text string) {
			t.Helper()
			if _, err := writer.WriteString(text); err != nil {
				t.Fatal(err)
			}
			time.Sleep(interval)
			synctest.Wait()
		}
		for range 3 {
			say(strings.Repeat("early\n", Limit/6+1))
		}
		say("late\n")
		cancel()
		synctest.Wait()
	})
	now, err := os.ReadFile(path)
	if err != nil || string(now) != "late\n" {
		t.Errorf("the log has %d bytes (%v), want the last line", len(now), err)
	}
	if older, err := os.Stat(Older(path)); err != nil || older.Size() < Limit || older.Size() > 2*Limit {
		t.Errorf("its older part: got %v (%v), want about %d bytes", older, err, Limit)
	}
}

// TestNotRotated: what cannot be kept elsewhere is not cut off.
func TestNotRotated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, make([]byte, Limit), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(Older(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := rotate(path); err == nil {
		t.Error("got no error, want one")
	}
	if info, err := os.Stat(path); err != nil || info.Size() != Limit {
		t.Errorf("got %v (%v), want the log as it was", info, err)
	}
}
