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
