//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// TestRealDamagedMemory damages what a real libvirt keeps, in two ways, of which libvirt takes one for no memory at all.
func TestRealDamagedMemory(t *testing.T) {
	drivertest.Image(t)
	drivertest.ServeLibvirt(t)
	d := realDriver(filepath.Join(t.TempDir(), "accelerator.json"))
	spec := realSpec(t)
	m := created(t, d, spec)
	defer func() {
		if err := m.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}()
	waiting, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for name, damage := range map[string]func(*os.File, int64) error{
		"its header":      func(file *os.File, _ int64) error { _, err := file.WriteAt(make([]byte, 16), 0); return err },
		"its second half": func(file *os.File, size int64) error { return file.Truncate(size / 2) },
	} {
		m := d.Machine(spec).(*Machine) // its connection to the guest is a new one
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(waiting); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := m.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(saved(), m.domain+".save")
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("suspended within %s, in %d MiB", time.Since(begun), info.Size()>>20)
		if err := damage(file, info.Size()); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		wantKept(t, m, true)
		if err := m.Resume(t.Context()); !fail.Is(err, fail.SnapshotMismatch) {
			t.Errorf("%s: Resume gave error %v, want %s", name, err, fail.SnapshotMismatch)
		} else {
			t.Logf("%s: %v", name, err)
		}
		_ = wantState(t, m, machine.Stopped)
	}
}

// saved is the folder in which libvirt keeps memory.
func saved() string {
	if os.Getuid() == 0 {
		return "/var/lib/libvirt/qemu/save"
	}
	config, _ := os.UserConfigDir()
	return filepath.Join(config, "libvirt/qemu/save")
}
