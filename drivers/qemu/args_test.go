package qemu

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/machine"
)

func TestArgs(t *testing.T) {
	t.Parallel()
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", CPUs: 2, MemoryMiB: 4096, DiskBytes: 20 << 30,
		Dir: "/state/a,b \"c\"/skiff", RunDir: "/run/a,b/skiff",
		Image: machine.Image{
			Disk: "/base/disk.raw", Kernel: "/base/vmlinuz", Initrd: "/base/initrd", Cmdline: "console=ttyS0 root=/dev/vda",
		},
		Network: machine.Network{
			Socket: "/run/a,b/net.sock", MAC: "5a:94:ef:e4:0c:ee",
			Address: netip.MustParsePrefix("192.168.127.2/24"), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
	}
	for _, accel := range []accelerator{kvm, tcg} {
		golden.Compare(t, "testdata/args-"+string(accel)+".golden", lines(args(spec, accel, []string{firstLayer, "disk-3.qcow2"})))
	}
	golden.Compare(t, "testdata/args-probe.golden", lines(probeArgs(spec.Image, kvm)))
}

// TestHardwareKeepsItsClock: the kernel is told to trust the processor's clock, and the other words for emulation, under emulation
// alone, whatever image the machine has and however many processors.
func TestHardwareKeepsItsClock(t *testing.T) {
	t.Parallel()
	const older = "console=ttyS0 mitigations=off tsc=reliable highres=off rcupdate.rcu_expedited=1 audit=0" // as of 79092b1
	for _, cmdline := range []string{"console=ttyS0 audit=0", older} {
		for _, cpus := range []int{1, 2, 8} {
			spec := machine.Spec{CPUs: cpus, Image: machine.Image{Cmdline: cmdline}}
			for _, accel := range []accelerator{kvm, hvf} {
				if got := valueOf(args(spec, accel, []string{firstLayer}), "-append"); got != "console=ttyS0 audit=0" {
					t.Errorf("%s, %d CPUs, image %q: got %q, want no word for emulation", accel, cpus, cmdline, got)
				}
				if got := valueOf(probeArgs(spec.Image, accel), "-append"); got != "console=ttyS0 audit=0 skiff.probe=1" {
					t.Errorf("probe of %s, image %q: got %q, want no word for emulation", accel, cmdline, got)
				}
			}
			if got := valueOf(args(spec, tcg, []string{firstLayer}), "-append"); strings.Count(got, "tsc=reliable") != 1 {
				t.Errorf("emulation, %d CPUs, image %q: got %q, want tsc=reliable once", cpus, cmdline, got)
			}
		}
	}
}

// TestProgram: the image's own QEMU is for software emulation alone, and is told where its firmware is.
func TestProgram(t *testing.T) {
	t.Parallel()
	d := New(Options{QEMU: "the-hosts"})
	with := machine.Image{Emulator: "/base/qemu/qemu-system-x86_64"}
	tests := map[string]struct {
		image machine.Image
		accel accelerator
		want  string
		data  string
	}{
		"emulated":             {with, tcg, with.Emulator, "/base/qemu"},
		"virtualised":          {with, kvm, "the-hosts", ""},
		"image of another day": {machine.Image{}, tcg, "the-hosts", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := d.program(test.image, test.accel); got != test.want {
				t.Errorf("program: got %q, want %q", got, test.want)
			}
			list := args(machine.Spec{Image: test.image}, test.accel, []string{firstLayer})
			if got := valueOf(list, "-L"); got != test.data {
				t.Errorf("-L: got %q, want %q", got, test.data)
			}
		})
	}
}

// lines puts each option with its value on a line.
func lines(args []string) []byte {
	text := strings.Join(args, "\n")
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			text = strings.Replace(text, arg+"\n", arg+" ", 1)
		}
	}
	for _, flag := range []string{"-nodefaults", "-no-user-config", "-no-reboot"} {
		text = strings.Replace(text, flag+" ", flag+"\n", 1)
	}
	return []byte(text + "\n")
}
