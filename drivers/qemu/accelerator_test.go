package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
)

// withKVM gives the driver a device that can be opened.
func withKVM(t *testing.T, d *Driver) {
	t.Helper()
	d.kvm = filepath.Join(t.TempDir(), "kvm")
	d.options.Memory = filepath.Join(t.TempDir(), "cache", "accelerator.json")
	if err := os.WriteFile(d.kvm, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// withFlags gives the driver processors with these flags.
func withFlags(t *testing.T, d *Driver, flags string) {
	t.Helper()
	d.cpuinfo = filepath.Join(t.TempDir(), "cpuinfo")
	text := "processor\t: 0\nmodel name\t: vmx svm\nflags\t\t: " + flags + "\nbugs\t\t: vmx\n\n"
	if err := os.WriteFile(d.cpuinfo, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAccelerator(t *testing.T) {
	t.Parallel()
	const plain = "KVM is present but cannot run guests here; using software emulation, about ten times slower"
	tests := []struct {
		how   behaviour
		name  string
		note  string
		words string // a part of them
	}{
		{works, "kvm", "", ""},
		{noProbe, "tcg", plain, "a test guest ended in an internal error of kvm"},
		{hangs, "tcg", plain, "a test guest did not boot in time"},
		{dies, "tcg", plain, "QEMU ended: exit status 1: qemu: -netdev stream: cannot reach anything"},
	}
	for _, test := range tests {
		t.Run(string(test.how), func(t *testing.T) {
			t.Parallel()
			d, spec := newDriver(t, test.how, t.TempDir()), testSpec(t)
			withKVM(t, d)
			if test.how == hangs {
				d.limits.probe = 200 * time.Millisecond
			}
			name, note, words := d.Accelerator(t.Context(), spec.Image)
			if name != test.name || note != test.note || !strings.Contains(words, test.words) || (words == "") != (test.words == "") {
				t.Errorf("got %s, %q and %q, want %s, %q and %q", name, note, words, test.name, test.note, test.words)
			}
			if known, ok := d.recall(); !ok || string(known.Name) != test.name || known.Note != note || known.Words != words {
				t.Errorf("it remembers %+v, want %s and %q", known, test.name, note)
			}
		})
	}
}

func TestAcceleratorIsRemembered(t *testing.T) {
	t.Parallel()
	d, spec := newDriver(t, noProbe, t.TempDir()), testSpec(t)
	withKVM(t, d)
	if name, _, _ := d.Accelerator(t.Context(), spec.Image); name != "tcg" {
		t.Fatalf("got %s, want tcg", name)
	}
	// Another answer of the host would show, were it asked again.
	key := d.key(spec.Image)
	d.remember(known{Key: key, Until: time.Now().Add(time.Hour), choice: choice{Name: kvm}})
	if name, _, _ := d.Accelerator(t.Context(), spec.Image); name != "kvm" {
		t.Errorf("got %s, want kvm from memory", name)
	}
	d.remember(known{Key: key, Until: time.Now().Add(-time.Hour), choice: choice{Name: kvm}})
	if name, _, _ := d.Accelerator(t.Context(), spec.Image); name != "tcg" {
		t.Errorf("got %s from a memory that has run out, want tcg", name)
	}
	d.remember(known{Key: key, Until: time.Now().Add(time.Hour), choice: choice{Name: kvm}})
	if err := os.WriteFile(spec.Image.Kernel, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, _, _ := d.Accelerator(t.Context(), spec.Image); name != "tcg" {
		t.Errorf("got %s from a memory of another kernel, want tcg", name)
	}
}

func TestAcceleratorCancelled(t *testing.T) {
	t.Parallel()
	d, spec := newDriver(t, hangs, t.TempDir()), testSpec(t)
	withKVM(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.accelerator(ctx, spec.Image); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	if _, ok := d.recall(); ok {
		t.Error("it remembers an answer that it did not get")
	}
}

func TestNoKVM(t *testing.T) {
	t.Parallel()
	d := newDriver(t, works, t.TempDir())
	name, note, _ := d.Accelerator(t.Context(), testSpec(t).Image)
	if want := "there is no " + d.kvm; name != "tcg" || !strings.Contains(note, want) {
		t.Errorf("got %s and %q, want tcg and %q", name, note, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Driver)
		want   []drivers.Level // qemu, qemu-img, accelerator
		remedy string          // of the first that is not well
	}{
		"all there":            {func(d *Driver) { withKVM(t, d) }, []drivers.Level{drivers.Good, drivers.Good, drivers.Good}, ""},
		"no KVM":               {func(*Driver) {}, []drivers.Level{drivers.Good, drivers.Good, drivers.Warning}, ""},
		"no module of Intel's": {func(d *Driver) { withFlags(t, d, "fpu vmx lm") }, []drivers.Level{drivers.Good, drivers.Good, drivers.Warning}, "sudo modprobe kvm_intel"},
		"no module of AMD's":   {func(d *Driver) { withFlags(t, d, "fpu svm lm") }, []drivers.Level{drivers.Good, drivers.Good, drivers.Warning}, "sudo modprobe kvm_amd"},
		"it cannot":            {func(d *Driver) { withFlags(t, d, "fpu lm svm_lock") }, []drivers.Level{drivers.Good, drivers.Good, drivers.Warning}, ""},
		"KVM does not work": {func(d *Driver) {
			withKVM(t, d)
			d.remember(known{choice: choice{Name: tcg, Note: "no"}})
		}, []drivers.Level{drivers.Good, drivers.Good, drivers.Warning}, ""},
		"old QEMU": {func(d *Driver) { d.options.QEMU = playing(t, old) },
			[]drivers.Level{drivers.Failure, drivers.Good, drivers.Warning}, install()},
		"no qemu-img": {func(d *Driver) { d.options.QEMUImg = "no-such-qemu-img" },
			[]drivers.Level{drivers.Good, drivers.Failure, drivers.Warning}, install()},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, works, t.TempDir())
			test.change(d)
			remedy := ""
			for i, finding := range d.Check(t.Context()) {
				if finding.Level != test.want[i] || finding.Text == "" || !strings.HasSuffix(finding.Text, ".") {
					t.Errorf("got %+v, want level %s and a sentence", finding, test.want[i])
				}
				if remedy == "" {
					remedy = finding.Remedy
				}
			}
			if remedy != test.remedy {
				t.Errorf("got remedy %q, want %q", remedy, test.remedy)
			}
		})
	}
}
