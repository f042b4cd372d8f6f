package qemu

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGrow: the guest hears the size of its disk, and again where that stays; a larger disk is never cut off.
func TestGrow(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	said := func(want int64, times int) {
		t.Helper()
		console, err := os.ReadFile(m.files.console())
		if got := strings.Count(string(console), fmt.Sprintf("the disk has %d bytes", want)); err != nil || got != times {
			t.Errorf("the guest heard %d times of %d bytes (%v), want %d", got, want, err, times)
		}
	}
	for i, size := range []int64{60 << 30, 60 << 30, 30 << 30} {
		m.spec.DiskBytes = size
		if err := m.Grow(t.Context()); err != nil {
			t.Fatal(err)
		}
		said(60<<30, i+1)
	}
}

// TestLayerAsLargeAsTheOneBelow: a snapshot does not cut off a disk that is larger than it was asked to be.
func TestLayerAsLargeAsTheOneBelow(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := created(t, d, testSpec(t))
	log := filepath.Join(t.TempDir(), "log")
	d.options.QEMUImg = filepath.Join(t.TempDir(), "qemu-img")
	script := fmt.Sprintf("#!/bin/sh\nfor last; do :; done\necho \"$last\" >%q\nexec %q \"$@\"\n", log, playing(t, image))
	if err := os.WriteFile(d.options.QEMUImg, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	change(t, m.files.disk(), func(content []byte) []byte {
		binary.BigEndian.PutUint64(content[24:], 60<<30)
		return content
	})
	m.spec.DiskBytes = 20 << 30
	if _, err := m.SaveSnapshot(t.Context(), "x", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(log); err != nil || strings.TrimSpace(string(got)) != fmt.Sprint(60<<30) {
		t.Errorf("the new layer has %q bytes (%v), want %d", got, err, 60<<30)
	}
}
