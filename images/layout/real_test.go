package layout

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/images"
)

// TestRealImage packs the built guest image, makes a bundle of it and assembles that: it takes a minute, and 1.5 GB of the disk.
func TestRealImage(t *testing.T) {
	folder := os.Getenv("SKIFF_TEST_IMAGE")
	if folder == "" || testing.Short() {
		t.Skip("SKIFF_TEST_IMAGE names no guest image")
	}
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		t.Fatal(err)
	}
	begin, layout := time.Now(), filepath.Join(t.TempDir(), "layout")
	packed, err := Pack(t.Context(), []string{folder}, layout, PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, part := range packed[0].Parts {
		t.Logf("%-20s %10d %10d", part.Name, part.Size, part.Packed)
		size += part.Size
	}
	t.Logf("%-20s %10d %10d in %s", "all", size, packed[0].Bytes, time.Since(begin).Round(time.Second))
	// Everything is carried once: 753 MB of the disk and 378 MB of the mirror are 855 MB. Compressed in haste they are 250.
	if size > 950<<20 || packed[0].Bytes > 300<<20 || len(packed[0].Parts) != len(partNames(runtime.GOARCH)) {
		t.Errorf("got %d parts of %d bytes, compressed %d: is something carried twice?", len(packed[0].Parts), size, packed[0].Bytes)
	}
	fsys, done, err := Open(bundleOf(t, layout))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	begin = time.Now()
	to := filepath.Join(t.TempDir(), "image")
	if err := Assemble(t.Context(), fsys, read(t, fsys), to, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("assembled in %s", time.Since(begin).Round(time.Second))
	got, want := room(t, filepath.Join(to, images.DiskName)), room(t, filepath.Join(folder, images.DiskName))
	if got > want+want/50 {
		t.Errorf("the disk takes %d bytes, and took %d before: where are its holes?", got, want)
	}
}

// room is how much room a file takes.
func room(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("the system does not say how much room a file takes")
	}
	return stat.Blocks * 512
}
