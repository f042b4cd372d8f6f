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
