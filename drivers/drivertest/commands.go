package drivertest

import (
	"bytes"
	"context"
	"errors"
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
	must(t, "wait for the guest", wait(ctx, m))
	runs(ctx, t, m)
	ends(ctx, t, m)
	puts(ctx, t, m)
	together(ctx, t, m)
	wantState(ctx, t, m, machine.Running)
	// A guest that is up powers off when it is asked, well before the driver loses patience.
	must(t, "Stop", m.Stop(ctx))
	wantState(ctx, t, m, machine.Stopped)
	must(t, "Start again", m.Start(ctx))
	must(t, "wait for the guest again", wait(ctx, m))
	if got, err := m.Run(ctx, machine.Cmd{Args: []string{"cat", putPath}}); err != nil || string(got.Stdout) != "new" {
		t.Errorf("after a restart the file is %q (%v), want %q", got.Stdout, err, "new")
	}
}

func wait(ctx context.Context, m machine.Machine) error {
	if waiter, ok := m.(interface{ Wait(context.Context) error }); ok {
		return waiter.Wait(ctx)
	}
	_, err := m.Run(ctx, machine.Cmd{Args: []string{"true"}})
	return err
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

// together runs several commands at a time.
func together(ctx context.Context, t *testing.T, m machine.Machine) {
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
