package qemu

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

// A machine whose files were removed while it ran is still found; nobody else knows of it any more.
func TestMachinesOutliveTheirFiles(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := started(t, d)
	want := drivers.Found{Cluster: "dev", Name: "skiff", Dir: m.spec.Dir, State: machine.Running}
	wantFound(t, d, want)
	if err := os.RemoveAll(m.spec.Dir); err != nil {
		t.Fatal(err)
	}
	wantFound(t, d, want)
	if err := os.RemoveAll(m.spec.RunDir); err != nil {
		t.Fatal(err)
	}
	want.State = machine.Broken // nobody can ask it any more
	wantFound(t, d, want)
	// What was found is enough to end it.
	found := machine.Spec{Cluster: want.Cluster, Name: want.Name, Dir: want.Dir}
	if err := d.Machine(found).Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if all, err := d.Machines(t.Context()); err != nil || slices.Contains(all, want) {
		t.Errorf("after Delete: got %+v (%v), want it gone", all, err)
	}
}

// The folder of sockets is removed while the machine runs. Nobody can control the process any more, and it holds the disk.
func TestSocketGone(t *testing.T) {
	t.Parallel()
	lost := func(t *testing.T) *Machine {
		m := started(t, newDriver(t, works, t.TempDir()))
		if err := os.RemoveAll(m.spec.RunDir); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-2 * m.driver.limits.start) // the process is not one that has yet to make its socket
		if err := os.Chtimes(m.files.pid(), long, long); err != nil {
			t.Fatal(err)
		}
		if err := wantState(t, m, machine.Broken); !errors.Is(err, machine.ErrUncontrolled) {
			t.Errorf("State: got error %v, want ErrUncontrolled", err)
		}
		return m
	}
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		m := lost(t)
		m.driver.options.StopTimeout = 100 * time.Millisecond
		if err := os.MkdirAll(m.spec.RunDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = wantState(t, m, machine.Running)
	})
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		m := lost(t)
		m.driver.options.StopTimeout = 100 * time.Millisecond
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = wantState(t, m, machine.Stopped)
	})
}

// A machine that an earlier skiff started has its socket in the folder that this one had.
func TestSocketElsewhere(t *testing.T) {
	t.Parallel()
	m := started(t, newDriver(t, works, t.TempDir()))
	spec := m.spec
	spec.RunDir = shortDir(t)
	moved := m.driver.machine(spec)
	_ = wantState(t, moved, machine.Running)
	if err := moved.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = wantState(t, moved, machine.Stopped)
}

func wantFound(t *testing.T, d *Driver, want drivers.Found) {
	t.Helper()
	found, err := d.Machines(t.Context())
	if err != nil || !slices.Contains(found, want) {
		t.Errorf("got %+v (%v), want %+v among them", found, err, want)
	}
}

func TestSpecOf(t *testing.T) {
	t.Parallel()
	spec := machine.Spec{Cluster: "dev-1", Name: "skiff-m02", Dir: "/state/a,b c", RunDir: "/run/a,b"}
	ours := append([]string{"qemu-system-x86_64"}, args(spec, tcg, []string{firstLayer})...)
	change := func(old, new string) []string {
		var words []string
		for _, word := range ours {
			words = append(words, strings.Replace(word, old, new, 1))
		}
		return words
	}
	tests := []struct {
		name  string
		words []string
		want  bool
	}{
		{"ours", ours, true},
		{"words as ps tells them", strings.Fields(strings.Join(ours, " ")), true},
		{"of libvirt", change("guest=skiff ", "guest=skiff-"), false},
		{"of another name", change("guest=skiff ", "guest="), false},
		{"with another pid file", change("qemu.pid", "pid"), false},
		{"with another monitor", change("unix:", "tcp:"), false},
		{"of three words", change("skiff-m02", "skiff m02"), false},
		{"cut off", ours[:2], false},
		{"in a shell", []string{"sh", "-c", strings.Join(ours, " ")}, false},
		{"nothing", []string{""}, false},
	}
	for _, test := range tests {
		got, ok := specOf(test.words)
		if ok != test.want {
			t.Errorf("%s: got %t, want %t", test.name, ok, test.want)
		}
		if ok && (got.Cluster != spec.Cluster || got.Name != spec.Name || got.Dir != spec.Dir || got.RunDir != spec.RunDir) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, spec)
		}
	}
}
