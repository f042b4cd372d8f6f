package host

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
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

func TestOnBattery(t *testing.T) {
	t.Parallel()
	supply := func(kind, file, value string) fstest.MapFS {
		return fstest.MapFS{kind + "/type": {Data: []byte(kind + "\n")}, kind + "/" + file: {Data: []byte(value + "\n")}}
	}
	together := func(all ...fstest.MapFS) fstest.MapFS {
		sum := fstest.MapFS{}
		for _, one := range all {
			maps.Copy(sum, one)
		}
		return sum
	}
	mouse := supply("Battery", "status", "Discharging")
	mouse["Battery/scope"] = &fstest.MapFile{Data: []byte("Device\n")}
	tests := []struct {
		name     string
		supplies fstest.MapFS
		want     bool
	}{
		{"nothing is known", fstest.MapFS{}, false},
		{"unplugged", together(supply("Mains", "online", "0"), supply("Battery", "status", "Discharging")), true},
		{"a battery alone", supply("Battery", "status", "Discharging"), true},
		{"plugged in", together(supply("Mains", "online", "1"), supply("Battery", "status", "Charging")), false},
		{"plugged in, and the supply is too weak", together(supply("USB", "online", "1"), supply("Battery", "status", "Discharging")), false},
		{"full", supply("Battery", "status", "Full"), false},
		{"a mouse's", mouse, false},
	}
	for _, test := range tests {
		if got := onBattery(test.supplies); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
	if onBattery(os.DirFS(filepath.Join(t.TempDir(), "absent"))) {
		t.Error("a system without such a folder is taken to run on a battery")
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
