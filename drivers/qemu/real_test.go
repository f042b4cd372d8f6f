package qemu

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
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
	name, note, _ := d.Accelerator(t.Context(), spec.Image)
	t.Logf("accelerator: %s, %q", name, note)
	m := created(t, d, spec)
	answering(t, m)
	wantGuest(t, m, spec)
	begun := time.Now()
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(begun); took >= d.options.StopTimeout {
		t.Errorf("the guest did not power off by itself within %s", took)
	} else {
		t.Logf("powered off after %s", took)
	}
}

// TestRealSavedBoot: machines that go on from one saved boot are what their seed disks say, at the right time, and share nothing
// that should be a machine's own; and they boot from their disks.
func TestRealSavedBoot(t *testing.T) {
	image := drivertest.Image(t)
	d := realDriver(filepath.Join(t.TempDir(), "accelerator.json"))
	if name, _, _ := d.Accelerator(t.Context(), image); name != string(tcg) {
		t.Skipf("guests run with %s here, and nothing is saved", name)
	}
	image.Boots = filepath.Join(t.TempDir(), "boots")
	own := map[string]bool{}
	for range 2 {
		spec := realSpec(t)
		spec.Image = image
		begun := time.Now()
		if _, err := d.SaveBoot(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		t.Logf("a boot was there after %s", time.Since(begun))
		m := created(t, d, spec)
		answering(t, m)
		if !resumes(t, m) {
			t.Error("it boots from its disk")
		}
		wantGuest(t, m, spec)
		for _, command := range []string{"cat /etc/machine-id", "od -A n -N 16 -t x8 /dev/urandom", "cat /etc/ssh/ssh_host_ed25519_key.pub"} {
			value := output(t, m, command)
			if own[value] || value == "" {
				t.Errorf("%s: got %q, which another machine has too", command, value)
			}
			own[value] = true
		}
		seconds, err := strconv.ParseInt(strings.TrimSpace(output(t, m, "date +%s")), 10, 64)
		if off := time.Since(time.Unix(seconds, 0)).Abs(); err != nil || off > 5*time.Second {
			t.Errorf("its clock is off by %s (%v)", off, err)
		}
		if journal := output(t, m, "journalctl --boot --unit skiff-identity --quiet --lines 3"); !strings.Contains(journal, "Finished") {
			t.Errorf("the journal has %q of the service that gave it its identity", journal)
		}
		id := output(t, m, "cat /etc/machine-id")
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		answering(t, m)
		if resumes(t, m) {
			t.Error("it was used, and goes on from the saved boot")
		}
		wantGuest(t, m, spec)
		if again := output(t, m, "cat /etc/machine-id"); again != id {
			t.Errorf("after a boot its ID is %q, and was %q", again, id)
		}
		if err := m.Delete(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// answering starts a machine and waits until commands run in its guest.
func answering(t *testing.T, m *Machine) {
	t.Helper()
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
}

func output(t *testing.T, m *Machine, command string) string {
	t.Helper()
	got, err := m.Run(t.Context(), machine.Cmd{Args: strings.Fields(command)})
	if err != nil {
		t.Errorf("%s: %v", command, err)
	}
	return string(got.Stdout)
}

// wantGuest looks at what the seed disk made of the guest.
func wantGuest(t *testing.T, m *Machine, spec machine.Spec) {
	t.Helper()
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
		if got := output(t, m, test.command); !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.command, got, test.want)
		}
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
