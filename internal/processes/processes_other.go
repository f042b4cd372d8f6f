//go:build !linux

package processes

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Arguments returns the words that a process was started with. ps does not tell words from blanks within them, so a path
// with a blank is not found; skiff's own have none.
func Arguments(id int) ([]string, error) {
	out, err := exec.CommandContext(context.Background(), "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(id)).Output() //nolint:forbidigo // it ends at once
	return strings.Fields(string(out)), err
}

// Ending is not known here.
func Ending(int) bool { return false }

// List returns the words that this user's processes were started with by their numbers.
func List(ctx context.Context) (map[int][]string, error) {
	out, err := exec.CommandContext(ctx, "ps", "-x", "-U", strconv.Itoa(os.Getuid()), "-ww", "-o", "pid=", "-o", "command=").Output()
	if err != nil {
		return nil, err
	}
	all := map[int][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if id, err := strconv.Atoi(words[0]); err == nil {
			all[id] = words[1:]
		}
	}
	return all, nil
}
