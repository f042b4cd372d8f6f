//go:build !linux

package qemu

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
)

// arguments returns the words that a process was started with. ps does not tell words from blanks within them, so a path
// with a blank is not found; skiff's own have none.
func arguments(id int) ([]string, error) {
	out, err := exec.CommandContext(context.Background(), "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(id)).Output() //nolint:forbidigo // it ends at once
	return strings.Fields(string(out)), err
}
