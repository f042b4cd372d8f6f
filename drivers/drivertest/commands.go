package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/machine"
)

// commands holds a machine to machine.Runner.
func commands(ctx context.Context, t *testing.T, target Target) {
	m := create(ctx, t, target)
	if _, err := m.Run(ctx, machine.Cmd{Args: []string{"true"}}); err == nil && !target.Exists {
		t.Error("a command ran on a stopped machine")
	}
	must(t, "Start", m.Start(ctx))
	must(t, "wait for the guest", machine.Wait(ctx, m))
	wantListed(ctx, t, target, machine.Running)
	size(ctx, t, m, target.Spec)
	address(ctx, t, m, target.Spec)
	runs(ctx, t, m)
	ends(ctx, t, m)
	puts(ctx, t, m)
	inParallel(ctx, t, m)
	wantState(ctx, t, m, machine.Running)
	// A guest that is up powers off when it is asked, well before the driver loses patience.
	must(t, "Stop", m.Stop(ctx))
	wantState(ctx, t, m, machine.Stopped)
	must(t, "Start again", m.Start(ctx))
	must(t, "wait for the guest again", machine.Wait(ctx, m))
	if got, err := m.Run(ctx, machine.Cmd{Args: []string{"cat", putPath}}); err != nil || string(got.Stdout) != "new" {
		t.Errorf("after a restart the file is %q (%v), want %q", got.Stdout, err, "new")
	}
	address(ctx, t, m, target.Spec)
}

// size looks that the guest has the processors and the memory that were asked for.
func size(ctx context.Context, t *testing.T, m machine.Machine, spec machine.Spec) {
	t.Helper()
	if spec.CPUs == 0 {
		return
	}
	got, err := m.Run(ctx, machine.Cmd{Args: strings.Fields(askCPUs)})
	if want := online(spec.CPUs); err != nil || strings.TrimSpace(string(got.Stdout)) != want {
		t.Errorf("the guest has the processors %q (%v), want %q", got.Stdout, err, want)
	}
	got, err = m.Run(ctx, machine.Cmd{Args: strings.Fields(askMemory)})
	var kib int
	for line := range strings.Lines(string(got.Stdout)) {
		_, _ = fmt.Sscanf(line, "MemTotal: %d kB", &kib)
	}
	// The kernel keeps a part for itself, less than a tenth of the smallest machine.
	if least := spec.MemoryMiB * 9 / 10; err != nil || kib>>10 > spec.MemoryMiB || kib>>10 < least {
		t.Errorf("the guest has %d MiB of memory (%v), want %d to %d", kib>>10, err, least, spec.MemoryMiB)
	}
}

// address looks that the guest has the address of its Spec, whatever it had been before.
func address(ctx context.Context, t *testing.T, m machine.Machine, spec machine.Spec) {
	t.Helper()
	if !spec.Network.Address.IsValid() {
		return
	}
	got, err := m.Run(ctx, machine.Cmd{Args: strings.Fields(askAddress)})
	if err != nil || !strings.Contains(string(got.Stdout), " "+spec.Network.Address.String()+" ") {
		t.Errorf("the guest's address is %q (%v), want %s", got.Stdout, err, spec.Network.Address)
	}
}

// What the suite asks guests, besides cat and stat of files that it has put there.
const (
	askCPUs    = "cat /sys/devices/system/cpu/online"
	askMemory  = "cat /proc/meminfo"
	askAddress = "ip -o -4 address show dev eth0"
)

// online is how Linux writes that all of n processors are in use.
func online(n int) string {
	if n == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", n-1)
}

func runs(ctx context.Context, t *testing.T, m machine.Machine) {
	t.Helper()
	var out bytes.Buffer
	result, err := m.Run(ctx, machine.Cmd{Args: []string{"cat"}, Stdin: strings.NewReader("a b\n"), Stdout: &out})
	if err != nil || out.String() != "a b\n" || len(result.Stdout) != 0 {
		t.Errorf("cat gave %q and kept %q (%v), want %q and nothing", out.String(), result.Stdout, err, "a b\n")
	}
	_, err = m.Run(ctx, machine.Cmd{Args: []string{"sh", "-c", "exit 3"}})
	var failed *machine.RunError
	if !errors.As(err, &failed) || failed.ExitCode != 3 {
		t.Errorf("a command that exits with 3 gave error %v, want *machine.RunError with that status", err)
	}
}

// ends looks that the end of ctx ends a command.
func ends(ctx context.Context, t *testing.T, m machine.Machine) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := m.Run(limited, machine.Cmd{Args: []string{"sleep", "600"}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > time.Minute {
		t.Errorf("a command whose ctx ended gave error %v after %s, want %v soon", err, time.Since(begun), context.DeadlineExceeded)
	}
}

const putPath = "/var/lib/skiff-drivertest/a/b"

func puts(ctx context.Context, t *testing.T, m machine.Machine) {
	t.Helper()
	for _, content := range []string{"old and longer", "new"} {
		must(t, "Put", m.Put(ctx, putPath, 0o640, strings.NewReader(content)))
		got, err := m.Run(ctx, machine.Cmd{Args: []string{"cat", putPath}})
		if err != nil || string(got.Stdout) != content {
			t.Errorf("the file is %q (%v), want %q", got.Stdout, err, content)
		}
	}
	got, err := m.Run(ctx, machine.Cmd{Args: []string{"stat", "-c", "%a", putPath}})
	if err != nil || string(got.Stdout) != "640\n" {
		t.Errorf("the file's mode is %q (%v), want 640", got.Stdout, err)
	}
	// A Put that breaks off must not show.
	broken := errors.New("the source broke off")
	if err := m.Put(ctx, putPath, 0o600, &brokenReader{err: broken}); err == nil {
		t.Error("Put of a source that breaks off gave no error")
	}
	got, err = m.Run(ctx, machine.Cmd{Args: []string{"cat", putPath}})
	if err != nil || string(got.Stdout) != "new" {
		t.Errorf("after a Put that broke off the file is %q (%v), want %q", got.Stdout, err, "new")
	}
}

// brokenReader gives a part and then an error.
type brokenReader struct {
	err   error
	begun bool
}

func (r *brokenReader) Read(p []byte) (int, error) {
	if r.begun {
		return 0, r.err
	}
	r.begun = true
	return copy(p, "half"), nil
}

// inParallel runs several commands at a time.
func inParallel(ctx context.Context, t *testing.T, m machine.Machine) {
	t.Helper()
	var group sync.WaitGroup
	for _, text := range []string{"one", "two", "three"} {
		group.Go(func() {
			got, err := m.Run(ctx, machine.Cmd{Args: []string{"cat"}, Stdin: strings.NewReader(text)})
			if err != nil || string(got.Stdout) != text {
				t.Errorf("of several commands one gave %q (%v), want %q", got.Stdout, err, text)
			}
		})
	}
	group.Wait()
}
