// Package host tells what this computer has to give.
package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts is what a host has to give.
type Facts struct {
	CPUs         int  // processors that this process may use
	MemoryMiB    int  // memory in all; 0 when it cannot be told
	AvailableMiB int  // memory that could be had without swapping; 0 when it cannot be told
	OnBattery    bool // no other supply of power is there; false also where that cannot be told
}

// Look returns the facts of this host.
func Look() Facts {
	facts := Facts{CPUs: runtime.NumCPU(), OnBattery: onBattery(os.DirFS("/sys/class/power_supply"))}
	if file, err := os.Open("/proc/meminfo"); err == nil {
		defer func() { _ = file.Close() }()
		total, available, err := meminfo(file)
		if err == nil {
			facts.MemoryMiB, facts.AvailableMiB = total, available
		}
	}
	return facts
}

// Processor returns the model of the host's processor; empty when Linux does not tell.
func Processor() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// onBattery reads what Linux says of supplies of power (Documentation/ABI/testing/sysfs-class-power): there is a battery of
// the computer itself that is being emptied, and nothing that is plugged in.
func onBattery(supplies fs.FS) bool {
	read := func(supply, file string) string {
		content, _ := fs.ReadFile(supplies, supply+"/"+file)
		return strings.TrimSpace(string(content))
	}
	entries, err := fs.ReadDir(supplies, ".")
	if err != nil {
		return false
	}
	emptied := false
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case read(name, "scope") == "Device": // a mouse's
		case read(name, "type") == "Battery":
			emptied = emptied || read(name, "status") == "Discharging"
		case read(name, "online") == "1":
			return false
		}
	}
	return emptied
}

// meminfo reads MemTotal and MemAvailable, both in MiB (proc_meminfo(5): the file's unit is KiB).
func meminfo(r io.Reader) (total, available int, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		var into *int
		switch name {
		case "MemTotal":
			into = &total
		case "MemAvailable":
			into = &available
		default:
			continue
		}
		kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		if err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", name, err)
		}
		*into = kib / 1024
	}
	if total == 0 {
		return 0, 0, errors.New("no MemTotal")
	}
	return total, available, lines.Err()
}

// FreeBytes returns the bytes that an ordinary user may still write to the file system that holds dir.
func FreeBytes(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("look for free space at %s: %w", dir, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:gosec // both are far below 2^63 on any real disk
}
