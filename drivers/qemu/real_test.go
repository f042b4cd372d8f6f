package qemu

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"github.com/containers/gvisor-tap-vsock/pkg/virtualnetwork"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// imageVariable names the folder of a guest image; with it the tests below boot real machines.
const imageVariable = "SKIFF_TEST_IMAGE"

// TestRealConformance boots real guests, about six times.
func TestRealConformance(t *testing.T) {
	memory := filepath.Join(t.TempDir(), "accelerator.json")
	requireImage(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		spec := realSpec(t)
		target := drivertest.Target{
			Driver: realDriver(memory), Spec: spec,
			Fresh: func() drivers.Driver { return realDriver(memory) },
			Crash: killed,
		}
		t.Cleanup(func() {
			if t.Failed() {
				f := filesOf(spec)
				t.Logf("console: %s\nQEMU: %s", hostfiles.Tail(f.console()), hostfiles.Tail(f.errors()))
			}
		})
		return target
	})
}

// TestRealGuest looks at what the seed disk made of the guest.
func TestRealGuest(t *testing.T) {
	requireImage(t)
	d, spec := realDriver(""), realSpec(t)
	name, note := d.Accelerator(t.Context(), spec.Image)
	t.Logf("accelerator: %s, %q", name, note)
	m := created(t, d, spec)
	begun := time.Now()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("QEMU runs after %s", time.Since(begun))
	waiting, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := m.Wait(waiting); err != nil {
		t.Fatalf("%v; console: %s", err, hostfiles.Tail(m.ConsoleLog()))
	}
	t.Logf("commands run after %s", time.Since(begun))
	tests := []struct {
		command string
		want    string // a part of what it prints
	}{
		{"hostname", spec.Name},
		{"cat /etc/hostname", spec.Name},
		{"cat /etc/hosts", spec.Network.Address.Addr().String() + " " + spec.Name},
		{"cat /etc/resolv.conf", "nameserver " + spec.Network.Gateway.String()},
		{"ip -o address show dev eth0", spec.Network.Address.String()},
		{"ip link show dev eth0", "mtu 4000"},
		{"ip route", "default via " + spec.Network.Gateway.String()},
		{"stat -c %a /etc/ssh/ssh_host_ed25519_key", "600"},
		{"systemctl show -p Result skiff-seed.service", "Result=success"},
		{"cat /sys/block/vda/size", fmt.Sprint(spec.DiskBytes / 512)},
		{"cat /sys/block/vdb/ro", "1"},
	}
	for _, test := range tests {
		got, err := m.Run(t.Context(), machine.Cmd{Args: strings.Fields(test.command)})
		if err != nil || !strings.Contains(string(got.Stdout), test.want) {
			t.Errorf("%s: got %q (%v), want %q", test.command, got.Stdout, err, test.want)
		}
	}
	begun = time.Now()
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(begun); took >= d.options.StopTimeout {
		t.Errorf("the guest did not power off by itself within %s", took)
	} else {
		t.Logf("powered off after %s", took)
	}
}

func requireImage(t *testing.T) {
	t.Helper()
	if os.Getenv(imageVariable) == "" {
		t.Skipf("set %s to the folder of a guest image to boot real machines", imageVariable)
	}
}

func realDriver(memory string) *Driver {
	return New(Options{
		Memory: memory,
		Runner: func(target machine.SSH) machine.Runner { return ssh.New(target) },
	})
}

// realSpec describes a machine of the image, in a network of its own.
func realSpec(t *testing.T) machine.Spec {
	t.Helper()
	spec := testSpec(t)
	base, err := filepath.EvalSymlinks(os.Getenv(imageVariable))
	if err != nil {
		t.Fatal(err)
	}
	spec.Image = machine.Image{
		Disk: filepath.Join(base, "disk.raw"), Kernel: filepath.Join(base, "vmlinuz"), Initrd: filepath.Join(base, "initrd"),
		Cmdline: "console=ttyS0 root=/dev/vda rw rootfstype=ext4 net.ifnames=0 quiet",
	}
	spec.SSH.Address = serveNetwork(t, spec.Network)
	return spec
}

// serveNetwork is the virtual network that the cluster's agent has otherwise. It returns where the guest's SSH server is
// published.
func serveNetwork(t *testing.T, n machine.Network) netip.AddrPort {
	t.Helper()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	published := netip.MustParseAddrPort(free.Addr().String())
	_ = free.Close()
	virtual, err := virtualnetwork.New(&types.Configuration{
		MTU: 4000, Subnet: n.Address.Masked().String(), GatewayIP: n.Gateway.String(), GatewayMacAddress: "5a:94:ef:e4:0c:dd",
		Forwards: map[string]string{published.String(): netip.AddrPortFrom(n.Address.Addr(), 22).String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", n.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = virtual.AcceptQemu(context.WithoutCancel(t.Context()), conn)
		}
	}()
	return published
}
