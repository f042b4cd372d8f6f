package qemu

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/skiff-k8s/skiff/machine"
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
	kept, err := f.readManifest(f.suspended())
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

// TestMemoryOf79092b1Fits: what 79092b1 saved of a machine is resumed, as the tuning of the kernel is no part of the key.
func TestMemoryOf79092b1Fits(t *testing.T) {
	t.Parallel()
	if err := memoryStays(); err != nil {
		t.Skip(err)
	}
	spec := machine.Spec{
		CPUs: 2, MemoryMiB: 4096, Network: machine.Network{MAC: "5a:94:ef:e4:0c:ee"},
		Image: machine.Image{
			Cmdline: "console=ttyS0 root=/dev/vda mitigations=off no_timer_check tsc=reliable highres=off rcupdate.rcu_expedited=1 audit=0",
		},
	}
	for accel, want := range map[accelerator]string{
		kvm: "b5406f5d16fbb77cdfe074ea51dc4a5b7ab8d44dddaa773f5e4c8f063e2c9df8",
		tcg: "e3a5e057138d1644a93588c4d06682196f8d25c5fb4a14c9c2bd70d491cec0d8",
	} {
		if got := keyOf(spec, accel, "7.2.22").Devices; got != want {
			t.Errorf("%s: got the devices %s, want %s", accel, got, want)
		}
	}
}

// TestSuspendOfAnOlderKernelCommandLine: a machine that an older version of skiff started, which told the kernel something else,
// is suspended and resumed.
func TestSuspendOfAnOlderKernelCommandLine(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	m.spec.Image.Cmdline += " and more"
	if err := m.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSuspended(t, m, true)
	if err := m.Resume(t.Context()); err != nil {
		t.Errorf("Resume: %v", err)
	}
	_ = wantState(t, m, machine.Running)
}
