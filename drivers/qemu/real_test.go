package qemu

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// TestRealConformance boots real guests, about six times.
func TestRealConformance(t *testing.T) {
	memory := filepath.Join(t.TempDir(), "accelerator.json")
	drivertest.Image(t)
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
	drivertest.Image(t)
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

func realDriver(memory string) *Driver {
	return New(Options{
		Memory: memory,
		Runner: func(target machine.SSH) machine.Runner { return ssh.New(target) },
	})
}

// realSpec describes a machine of the image, in a network of its own.
func realSpec(t *testing.T) machine.Spec {
	t.Helper()
	image := drivertest.Image(t)
	spec := testSpec(t)
	spec.Image = image
	spec.SSH.Address = drivertest.ServeNetwork(t, spec.Network)
	return spec
}
