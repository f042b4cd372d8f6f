package qemu

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

// withBoot returns a spec for whose size a boot is saved.
func withBoot(t *testing.T, d *Driver) machine.Spec {
	t.Helper()
	spec := testSpec(t)
	spec.Image.Boots = filepath.Join(t.TempDir(), "boots")
	if saved, err := d.SaveBoot(t.Context(), spec); !saved || err != nil {
		t.Fatalf("SaveBoot: got %t (%v), want a saved boot", saved, err)
	}
	return spec
}

// elsewhere is the spec of another machine with the same image.
func elsewhere(t *testing.T, spec machine.Spec) machine.Spec {
	t.Helper()
	other := testSpec(t)
	other.Image = spec.Image
	return other
}

// resumes reports whether the machine's process went on from a saved memory.
func resumes(t *testing.T, m *Machine) bool {
	t.Helper()
	p, err := find(m.files.pid())
	if err != nil || p == nil {
		t.Fatalf("got process %v (%v), want one", p, err)
	}
	defer p.release()
	arguments, err := processes.Arguments(p.id)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(arguments, "-incoming")
}

// told starts a machine and returns what it reports.
func told(t *testing.T, m *Machine) string {
	t.Helper()
	var all []string
	if err := m.StartReporting(t.Context(), func(text string, _, _ int64) { all = append(all, text) }); err != nil {
		t.Fatal(err)
	}
	wantState(t, m, machine.Running)
	return strings.Join(all, "; ")
}

func TestSavedBoot(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	spec := withBoot(t, d)
	if saved, err := d.SaveBoot(t.Context(), spec); saved || err != nil {
		t.Errorf("SaveBoot once more: got %t (%v), want nothing to do", saved, err)
	}
	boot := bootOf(spec)
	count, err := readLayer(boot.disk())
	if err != nil || count.Count == 0 {
		t.Fatalf("the saved boot's disk has %+v (%v), want what its guest wrote", count, err)
	}
	sum, err := images.Hash(t.Context(), boot.disk(), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []machine.Spec{spec, elsewhere(t, spec)} {
		m := created(t, d, own)
		if text := told(t, m); text != "" || !resumes(t, m) {
			t.Errorf("the machine boots from its disk: %q", text)
		}
		if hostfiles.Exists(m.files.unused()) {
			t.Error("the machine runs, and counts as one that was never used")
		}
		layer, err := readLayer(m.files.disk())
		if err != nil || layer.Count <= count.Count || layer.Backing != own.Image.Disk {
			t.Errorf("its disk has %+v (%v), want more than %d, over %s", layer, err, count.Count, own.Image.Disk)
		}
		notStale(t, m, "nothing")
		if err := m.Suspend(t.Context()); err != nil {
			t.Errorf("Suspend: %v", err)
		}
		if err := m.Resume(t.Context()); err != nil {
			t.Errorf("Resume: %v", err)
		}
		notStale(t, m, "nothing")
		if err := killed(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		layer, err = readLayer(m.files.disk())
		if err != nil {
			t.Fatal(err)
		}
		if told(t, m); resumes(t, m) {
			t.Error("a machine that was used goes on from a saved boot")
		}
		if again, err := readLayer(m.files.disk()); err != nil || again.Count <= layer.Count {
			t.Errorf("its disk has %+v (%v), want what was there before, %d, and more", again, err, layer.Count)
		}
	}
	if again, err := images.Hash(t.Context(), boot.disk(), false, nil); err != nil || again != sum {
		t.Errorf("the saved boot's disk has changed (%v)", err)
	}
}

// TestUselessBoot: whatever is wrong with a saved boot, the machine boots from its disk, on which nothing of it is left.
func TestUselessBoot(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(t *testing.T, boot files, m *Machine)
		want  string // a part of what is reported; empty: nothing is
	}{
		"none":          {func(_ *testing.T, boot files, _ *Machine) { _ = os.RemoveAll(boot.dir) }, ""},
		"more memory":   {func(_ *testing.T, _ files, m *Machine) { m.spec.MemoryMiB = 3000 }, ""},
		"another image": {func(_ *testing.T, _ files, m *Machine) { m.spec.Image.Digest = "x" }, ""},
		"a larger disk": {func(_ *testing.T, _ files, m *Machine) { m.spec.DiskBytes = 30 << 30 }, ""},
		"newer QEMU":    {func(t *testing.T, _ files, m *Machine) { m.driver.options.QEMU = playing(t, newer) }, ""},
		"a snapshot":    {func(t *testing.T, _ files, m *Machine) { snapshotOf(t, m) }, ""},
		"bit of the manifest": {func(t *testing.T, boot files, _ *Machine) {
			change(t, filepath.Join(boot.suspended(), manifestName), flipped)
		}, "manifest"},
		"bit of the memory": {func(t *testing.T, boot files, _ *Machine) {
			flipAt(t, filepath.Join(boot.suspended(), memoryName), countAt)
		}, "differs from what was saved"},
		"bit of the disk": {func(t *testing.T, boot files, _ *Machine) { change(t, boot.disk(), flipped) }, "its disk is not as it was written"},
		"QEMU that ends":  {func(t *testing.T, _ files, m *Machine) { m.driver.options.QEMU = playing(t, noLoad) }, "saved boot is of no use"},
		"no identity": {func(t *testing.T, _ files, m *Machine) {
			m.driver.options.QEMU, m.driver.limits.named = playing(t, nobodys), 100*time.Millisecond
		}, namedMarker},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, works, t.TempDir())
			spec := withBoot(t, d)
			m := created(t, d, elsewhere(t, spec))
			test.spoil(t, bootOf(spec), m)
			if text := told(t, m); (text == "") != (test.want == "") || !strings.Contains(text, test.want) {
				t.Errorf("it reports %q, want %q", text, test.want)
			}
			if resumes(t, m) {
				t.Error("it goes on from the saved boot")
			}
			notStale(t, m, "nothing")
			if hostfiles.Exists(m.files.unused()) {
				t.Error("the machine runs, and counts as one that was never used")
			}
		})
	}
}

func snapshotOf(t *testing.T, m *Machine) {
	t.Helper()
	if _, err := m.SaveSnapshot(t.Context(), "x", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestBootCutOff: a start that was killed before the guest went on is done again from the beginning.
func TestBootCutOff(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := created(t, d, withBoot(t, d))
	kept, err := m.savedBoot(tcg)
	if err == nil {
		err = m.copyDisk(t.Context(), bootOf(m.spec).disk(), kept.Disk.SHA256)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, m, machine.Stopped)
	if told(t, m); !resumes(t, m) {
		t.Error("it boots from its disk")
	}
	notStale(t, m, "nothing")
}

// TestBootWithoutRoom: a machine whose disk cannot be made is not started, and the next start finds it as it was.
func TestBootWithoutRoom(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	m := created(t, d, withBoot(t, d))
	room := d.options.QEMUImg
	d.options.QEMUImg = playing(t, fullDisk)
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("Start: got error %v, want what qemu-img says", err)
	}
	wantState(t, m, machine.Stopped)
	d.options.QEMUImg = room
	if text := told(t, m); text != "" || !resumes(t, m) {
		t.Errorf("with room, it boots from its disk: %q", text)
	}
}

// TestSaveBootCutOff: the machine of a builder that was killed is ended by the next one.
func TestSaveBootCutOff(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	spec := testSpec(t)
	spec.Image.Boots = t.TempDir()
	left := spec
	left.Cluster, left.Name = "boot", "nameless"
	dir, err := newFolder(bootOf(spec).dir)
	if err != nil {
		t.Fatal(err)
	}
	left.Dir = dir
	m := d.machine(left)
	if err := m.bootNameless(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := m.process(t.Context())
	if err != nil || p == nil {
		t.Fatalf("got process %v (%v), want one", p, err)
	}
	defer p.release()
	if saved, err := d.SaveBoot(t.Context(), spec); !saved || err != nil {
		t.Errorf("SaveBoot: got %t (%v), want a saved boot", saved, err)
	}
	if p.alive() {
		t.Error("the first machine runs on")
	}
}

// TestSaveBootFails: a guest that does not get so far leaves nothing.
func TestSaveBootFails(t *testing.T) {
	t.Parallel()
	for _, how := range []behaviour{deaf, dies, noSave} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, how, t.TempDir())
			d.limits.boot = 300 * time.Millisecond
			spec := testSpec(t)
			spec.Image.Boots = t.TempDir()
			if saved, err := d.SaveBoot(t.Context(), spec); saved || err == nil {
				t.Errorf("got %t (%v), want an error", saved, err)
			}
			if left, err := os.ReadDir(spec.Image.Boots); err != nil || len(left) > 0 {
				t.Errorf("it left %v (%v)", left, err)
			}
			all, err := processes.List(context.WithoutCancel(t.Context()))
			for _, words := range all {
				if slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(word, spec.Image.Boots) }) {
					t.Errorf("a process is left: %q (%v)", words, err)
				}
			}
		})
	}
}
