package qemu

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
)

// TestEmulatorNoticesChangedCode: two processors, one of which changes the code that the other runs. Debian's QEMU 7.2 fails it in
// one of the first rounds of 2000; what that does to Linux is told in site/content/design/own-qemu.md.
func TestEmulatorNoticesChangedCode(t *testing.T) {
	emulator := drivertest.Image(t).Emulator
	if emulator == "" {
		t.Fatal("the guest image has no emulator")
	}
	source, program := filepath.Join("testdata", "changedcode"), filepath.Join(t.TempDir(), "changedcode")
	build := exec.CommandContext(t.Context(), "gcc", "-m32", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables",
		"-nostdlib", "-static", "-no-pie", "-Wl,-T,"+filepath.Join(source, "link.ld")+",--build-id=none,-N,--no-warn-rwx-segments", "-o", program,
		filepath.Join(source, "start.S"), filepath.Join(source, "main.c"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// The firmware that boots a kernel of this kind is not in the guest image, as machines need none; it comes with Debian's QEMU.
	out, err := exec.CommandContext(ctx, emulator, "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "qemu64", "-smp", "2", "-m", "64",
		"-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
		"-L", "/usr/share/seabios", "-L", "/usr/share/qemu", "-kernel", program).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("got %q, %v, want ok", out, err)
	}
}
