package fail_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
)

// exitCodes are the classes of exit codes as the reference page explains them.
func exitCodes() []struct {
	code  int
	class string
} {
	return []struct {
		code  int
		class string
	}{
		{0, "Done, or there was nothing to do."},
		{fail.CodeInternal, "Internal or unknown: a bug. Please report it."},
		{fail.CodeUsage, "Usage: an unknown command or flag, or a bad value."},
		{fail.CodeConfig, "Configuration: a file or a setting is wrong."},
		{fail.CodeHost, "A host tool, driver or permission is missing."},
		{fail.CodeNotFound, "Not found."},
		{fail.CodeConflict, "Conflict, locked, or in the wrong state."},
		{fail.CodeResources, "The host has too little memory, disk or CPU."},
		{fail.CodeDownload, "Network or download."},
		{fail.CodeTimeout, "Something took too long."},
		{fail.CodeGuest, "Something failed in the guest or its surroundings."},
		{fail.CodeInterrupted, "Interrupted: by Ctrl-C or SIGTERM, or because the terminal was closed (SIGHUP). What `start` had begun is rolled back."},
	}
}

// TestReference compares the reference page of errors with the table; with -update it writes the page.
func TestReference(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	page.WriteString(`---
title: Errors and exit codes
---
<!-- Made from fail/table.go by "make generate"; change it there. -->

Every error of skiff has an ID, which is never renamed or used again for something else, and an exit code. A message says
what failed, why, and the next command where there is one. With ` + "`-o json`" + ` the ID is the field ` + "`name`" + `.

## Exit codes

| code | meaning |
|---|---|
`)
	for _, row := range exitCodes() {
		fmt.Fprintf(&page, "| %d | %s |\n", row.code, row.class)
	}
	page.WriteString("\n## Errors\n")
	for _, kind := range fail.Table() {
		fmt.Fprintf(&page, "\n### %s\n\n%s Exit code %d.\n\nWhat to do: %s\n", kind.ID, kind.Title, kind.Code, kind.Advice)
	}
	golden.Compare(t, "../site/content/reference/errors.md", page.Bytes())
}

// TestExitCodes holds the page and the table together: no row may have a code that the page does not explain.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	var explained []int
	for _, row := range exitCodes() {
		explained = append(explained, row.code)
	}
	for _, kind := range fail.Table() {
		if !slices.Contains(explained, kind.Code) {
			t.Errorf("%s: got exit code %d, want one of %v", kind.ID, kind.Code, explained)
		}
	}
}
