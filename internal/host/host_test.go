package host

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMeminfo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text       string
		total, available int
		fails            bool
	}{
		{"usual", "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:    8192000 kB\nHugePages_Total:       0\n", 16000, 8000, false},
		{"old kernel", "MemTotal: 2048 kB\n", 2, 0, false},
		{"empty", "", 0, 0, true},
		{"no total", "MemAvailable: 1 kB\n", 0, 0, true},
		{"no number", "MemTotal: many kB\n", 0, 0, true},
	}
	for _, test := range tests {
		total, available, err := meminfo(strings.NewReader(test.text))
		if (err != nil) != test.fails || err == nil && (total != test.total || available != test.available) {
			t.Errorf("%s: got %d, %d and error %v, want %d, %d and an error: %v", test.name, total, available, err, test.total, test.available, test.fails)
		}
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	facts := Look()
	if facts.CPUs < 1 {
		t.Errorf("Look: got %d processors, want at least 1", facts.CPUs)
	}
	if facts.MemoryMiB > 0 && (facts.AvailableMiB < 0 || facts.AvailableMiB > facts.MemoryMiB) {
		t.Errorf("Look: got %d MiB available of %d", facts.AvailableMiB, facts.MemoryMiB)
	}
}

func TestFreeBytes(t *testing.T) {
	t.Parallel()
	if free, err := FreeBytes(t.TempDir()); err != nil || free < 0 {
		t.Errorf("FreeBytes: got %d and error %v", free, err)
	}
	if _, err := FreeBytes(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("FreeBytes of a folder that is not there: got no error")
	}
}
