package build

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/tuning"
)

// TestCmdlineIsForHardwareToo: what is right for emulation alone is the drivers' to add.
func TestCmdlineIsForHardwareToo(t *testing.T) {
	t.Parallel()
	if got := tuning.Hardware().Cmdline(cmdline); got != cmdline {
		t.Errorf("the image's command line is %q, and %q without the words for emulation", cmdline, got)
	}
}

// TestInitSetsTheScheduler: the initrd gives programs longer turns where the kernel's command line says so, and nowhere else.
func TestInitSetsTheScheduler(t *testing.T) {
	t.Parallel()
	const kernels = "750000"
	tests := map[string]struct {
		plan tuning.Plan
		want string
	}{
		"hardware":  {tuning.Hardware(), kernels},
		"emulation": {tuning.Emulation(), "4000000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(path string) string { return filepath.Join(dir, path) }
			for path, text := range map[string]string{
				"proc/cmdline": test.plan.Cmdline(cmdline) + "\n", "sys/sched/min_granularity_ns": kernels, // another kernel has one of them
			} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			whole := fmt.Sprintf(initScript, "virtio")
			_, rest, found := strings.Cut(whole, "turns=\n")
			part, _, ends := strings.Cut(rest, "n=0\n")
			if !found || !ends {
				t.Fatalf("got %s, want a part that sets the scheduler", whole)
			}
			part = strings.NewReplacer("/bin/busybox cat", "cat", "/bin/busybox", ":", "/proc/", at("proc")+"/", "/sys/", at("sys")+"/").Replace(part)
			if out, err := exec.CommandContext(t.Context(), "sh", "-e", "-u", "-c", "turns=\n"+part).CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("got %q and error %v from %s", out, err, part)
			}
			got, err := os.ReadFile(at("sys/sched/min_granularity_ns"))
			if err != nil || strings.TrimSpace(string(got)) != test.want {
				t.Errorf("got %q and error %v, want %s", got, err, test.want)
			}
			if entries, err := os.ReadDir(at("sys/sched")); err != nil || len(entries) != 1 {
				t.Errorf("got %v and error %v, want no file that the kernel does not have", entries, err)
			}
		})
	}
}
