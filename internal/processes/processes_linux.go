package processes

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Arguments returns the arguments that a process was started with; none when it has ended and was not yet waited for.
func Arguments(id int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id))
	return strings.Split(string(raw), "\x00"), err
}

// List returns the arguments of this user's processes by their numbers.
func List(context.Context) (map[int][]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int][]string{}
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // it has ended
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() {
			continue
		}
		if words, err := Arguments(id); err == nil {
			all[id] = words
		}
	}
	return all, nil
}
