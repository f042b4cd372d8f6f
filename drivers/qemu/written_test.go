package qemu

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSavedStateOf79092b1 reads the saved memory, the snapshot and the layers that commit 79092b1 wrote.
func TestSavedStateOf79092b1(t *testing.T) {
	t.Parallel()
	f := files{cluster: "dev", dir: "testdata/79092b1"}
	c, err := f.readChain()
	if err != nil || c.Active != "disk-1.qcow2" || c.Parents["disk-1.qcow2"] != firstLayer {
		t.Errorf("layers: got %+v and %v", c, err)
	}
	list, err := f.readSnapshots()
	if err != nil || len(list) != 1 || list[0].err != nil || list[0].manifest.Layer != firstLayer || len(list[0].manifest.Note) == 0 {
		t.Errorf("snapshots: got %+v and %v", list, err)
	}
	kept, err := readManifest(f.suspended())
	if err != nil || kept.Memory == nil || kept.Memory.Key.CPUs != 2 {
		t.Fatalf("saved memory: got %+v and %v", kept, err)
	}
	if devices, err := readDevices(f.suspended(), kept.Memory.Devices); err != nil || string(devices) != "devices of a guest" {
		t.Errorf("devices: got %q and %v", devices, err)
	}
	// The memory itself is a copy of the guest's, with holes, so it is not in testdata.
	dir := t.TempDir()
	saved := make([]byte, kept.Memory.Bytes)
	copy(saved[70000:], "memory of a guest")
	if err := os.WriteFile(filepath.Join(dir, memoryName), saved, 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := os.Create(filepath.Join(t.TempDir(), "to"))
	if err == nil {
		err = to.Truncate(kept.Memory.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	if err := loadKept(t.Context(), to, dir, kept.Memory); err != nil {
		t.Errorf("load the memory: %v", err)
	}
}
