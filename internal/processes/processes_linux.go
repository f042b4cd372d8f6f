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

// Ending reports whether a process has no arguments any more since it is about to end, and still holds its files and their
// locks: the kernel takes its memory first, which lasts for as long as there is much of it (proc(5), /proc/pid/stat: state, and
// the flag PF_EXITING of the kernel's include/linux/sched.h).
func Ending(id int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(raw[max(0, strings.LastIndexByte(string(raw), ')')):]), " ") // the name may hold anything
	fields := strings.Fields(after)
	const state, flags, exiting = 0, 6, 0x4
	if len(fields) <= flags {
		return false
	}
	if strings.ContainsAny(fields[state], "ZXx") { // which the first thread may be while others still end
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", id))
		return err == nil && len(threads) > 1
	}
	bits, err := strconv.ParseUint(fields[flags], 10, 64)
	return err == nil && bits&exiting != 0
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
