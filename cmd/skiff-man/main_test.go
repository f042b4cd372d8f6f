package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cmd/internal/cli"
)

// pages runs skiff-man and returns what it wrote.
func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	var stderr bytes.Buffer
	if code := run([]string{"--version", "v1.2.3", "--epoch", "1900000000", dir}, &stderr); code != 0 {
		t.Fatalf("got exit code %d, want 0\n%s", code, stderr.String())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[entry.Name()] = string(content)
	}
	return got
}

// TestPages: each command that help shows has a page and no other has, twice the same bytes, with its name, version and date.
func TestPages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	got := pages(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "skiff-gone.1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := pages(t, dir)
	var want []string
	var below func(cmd *cobra.Command)
	below = func(cmd *cobra.Command) {
		want = append(want, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		for _, one := range cmd.Commands() {
			if one.IsAvailableCommand() {
				below(one)
			}
		}
	}
	below(cli.Commands("v1.2.3"))
	for name, page := range got {
		if !slices.Contains(want, name) {
			t.Errorf("there is a page %s, and no such command", name)
		}
		if page != again[name] {
			t.Errorf("%s: the second time it has other bytes", name)
		}
		command := strings.TrimSuffix(name, ".1")
		for _, part := range []string{
			`.TH "` + strings.ToUpper(strings.ReplaceAll(command, "-", `\-`)) + `" "1" "Mar 2030" "skiff v1.2.3" "skiff manual"`,
			command + ` - `, ".SH SYNOPSIS", "--profile",
		} {
			if !strings.Contains(strings.ReplaceAll(page, `\-`, "-"), strings.ReplaceAll(part, `\-`, "-")) {
				t.Errorf("%s: got %.300q, want %q in it", name, page, part)
			}
		}
		if home, err := os.UserHomeDir(); err == nil && strings.Contains(page, home+"/") {
			t.Errorf("%s: it names a folder of this computer", name)
		}
	}
	if len(again) != len(want) {
		t.Errorf("got %d pages, want %d: those of commands that are gone are removed", len(again), len(want))
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"dir"}, {"--version", "v1", "dir"}, {"--version", "v1", "--epoch", "x", "dir"}, {"--version", "v1", "--epoch", "1"}} {
		var stderr bytes.Buffer
		if code := run(args, &stderr); code != 2 || !strings.Contains(stderr.String(), "Usage:") {
			t.Errorf("%q: got exit code %d and %q, want 2 with the usage", args, code, stderr.String())
		}
	}
}
