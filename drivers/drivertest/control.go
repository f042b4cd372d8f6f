package drivertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/machine"
)

// controlVariable makes a test binary the process that starts a machine and is killed then. It names a file with the
// machine's Spec.
const controlVariable = "SKIFF_DRIVERTEST_CONTROL"

// Controlled reports whether this process is the one that starts a machine and is killed then. A test that makes more than a
// driver before it calls Run leaves that out there.
func Controlled() bool { return os.Getenv(controlVariable) != "" }

// controlled is what that process prints when the machine runs.
const controlled = "drivertest: the machine runs"

// outlive looks that a machine, started by a process that is killed then, runs on and is found by others.
func outlive(ctx context.Context, t *testing.T, target Target) {
	raw, err := json.Marshal(target.Spec)
	must(t, "describe the machine", err)
	file := filepath.Join(t.TempDir(), "spec.json")
	must(t, "describe the machine", os.WriteFile(file, raw, 0o600))
	self, err := os.Executable()
	must(t, "find the test binary", err)
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(ctx, self, "-test.run=^"+name+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), controlVariable+"="+file)
	out, err := cmd.StdoutPipe()
	must(t, "start the controlling process", err)
	must(t, "start the controlling process", cmd.Start())
	var printed strings.Builder
	started := false
	for lines := bufio.NewScanner(out); !started && lines.Scan(); {
		fmt.Fprintln(&printed, lines.Text())
		started = strings.Contains(lines.Text(), controlled)
	}
	must(t, "kill the controlling process", cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	if !started {
		t.Fatalf("the controlling process did not start the machine:\n%s", printed.String())
	}
	m := target.Fresh().Machine(target.Spec)
	wantState(ctx, t, m, machine.Running)
	wantListed(ctx, t, target, machine.Running)
	must(t, "Delete", m.Delete(ctx))
	wantState(ctx, t, m, machine.Absent)
	wantListed(ctx, t, target, machine.Absent)
}

// control is the process that is killed. What newTarget makes besides the driver is taken back first, as nobody does so
// later.
func control(t *testing.T, newTarget func(t *testing.T) Target, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	must(t, "read the machine's description", err)
	var spec machine.Spec
	must(t, "read the machine's description", json.Unmarshal(raw, &spec))
	ok := t.Run("control", func(t *testing.T) {
		m, err := newTarget(t).Driver.Create(t.Context(), spec)
		must(t, "Create", err)
		must(t, "Start", m.Start(t.Context()))
	})
	if !ok {
		return
	}
	fmt.Fprintln(os.Stdout, controlled)
	<-t.Context().Done() // which is after the end of the process
}
