package qemu

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestChain(t *testing.T) {
	t.Parallel()
	f := files{dir: t.TempDir()}
	c, err := f.readChain()
	if err != nil || !slices.Equal(c.below(c.Active), []string{firstLayer}) {
		t.Errorf("without a file: got %+v and error %v, want the first layer", c, err)
	}
	c = c.with("disk-1.qcow2", firstLayer).with("disk-2.qcow2", "disk-1.qcow2").with("disk-3.qcow2", firstLayer)
	if err := c.write(f); err != nil {
		t.Fatal(err)
	}
	c, err = f.readChain()
	if err != nil || !slices.Equal(c.below("disk-2.qcow2"), []string{firstLayer, "disk-1.qcow2", "disk-2.qcow2"}) || c.Active != "disk-3.qcow2" {
		t.Errorf("got %+v and error %v, want what was written", c, err)
	}
	for name, text := range map[string]string{
		"no JSON":       `{`,
		"a path":        `{"active": "../disk.qcow2"}`,
		"another file":  `{"active": "disk.qcow2", "parents": {"disk-1.qcow2": "/etc/passwd"}}`,
		"a circle":      `{"active": "disk-1.qcow2", "parents": {"disk-1.qcow2": "disk-2.qcow2", "disk-2.qcow2": "disk-1.qcow2"}}`,
		"an odd number": `{"active": "disk-01.qcow2"}`,
	} {
		if err := os.WriteFile(f.chain(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.readChain(); err == nil || !strings.Contains(err.Error(), f.chain()) {
			t.Errorf("%s: got error %v, want one that names the file", name, err)
		}
	}
}

// TestTidy: layers go when nothing stands on them, and are put together when one alone does.
func TestTidy(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := created(t, d, testSpec(t))
	save := func(name string) {
		t.Helper()
		if _, err := m.SaveSnapshot(t.Context(), name, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...string) {
		t.Helper()
		got, err := m.files.layerFiles()
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got the layers %v (%v), want %v", got, err, want)
		}
		wantState(t, m, "Stopped")
	}
	save("a")
	save("b")
	save("c")
	expect(firstLayer, "disk-1.qcow2", "disk-2.qcow2", "disk-3.qcow2")
	do(m.DeleteSnapshot(t.Context(), "b")) // in the middle
	expect(firstLayer, "disk-2.qcow2", "disk-3.qcow2")
	do(m.RestoreSnapshot(t.Context(), "a")) // c is on a branch now
	expect(firstLayer, "disk-2.qcow2", "disk-4.qcow2")
	do(m.DeleteSnapshot(t.Context(), "a")) // both branches stand on it
	expect(firstLayer, "disk-2.qcow2", "disk-4.qcow2")
	do(m.RestoreSnapshot(t.Context(), "c"))
	expect("disk-2.qcow2", "disk-5.qcow2")
	do(m.DeleteSnapshot(t.Context(), "c"))
	expect("disk-5.qcow2")
	do(m.Delete(context.WithoutCancel(t.Context())))
	if left, err := os.ReadDir(m.files.dir); err != nil || len(left) > 0 {
		t.Errorf("after Delete: got %v (%v), want nothing", left, err)
	}
}
