//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/qemu"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// TestRealConformance boots real guests under a real libvirt, about six times.
func TestRealConformance(t *testing.T) {
	drivertest.Image(t)
	drivertest.ServeLibvirt(t)
	memory := filepath.Join(t.TempDir(), "accelerator.json")
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		spec := realSpec(t)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("console: %s", hostfiles.Tail(filepath.Join(spec.Dir, "console.log")))
			}
		})
		return drivertest.Target{
			Driver: realDriver(memory), Spec: spec,
			Fresh: func() drivers.Driver { return realDriver(memory) },
			Crash: killed,
		}
	})
}

// TestRealLibvirtKilledDuringStart kills a libvirt that it has started itself; where one ran before there is nothing to
// kill.
func TestRealLibvirtKilledDuringStart(t *testing.T) {
	drivertest.Image(t)
	daemon := drivertest.ServeLibvirt(t)
	if daemon == nil {
		t.Skip("the libvirt that answers here is not the test's to kill")
	}
	d := realDriver(filepath.Join(t.TempDir(), "accelerator.json"))
	m, err := d.Create(t.Context(), realSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}()
	d.connect = func(uri string) (connection, error) {
		c, err := connect(uri)
		return killing{connection: c, kill: func() { daemon.Kill(t) }}, err
	}
	if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtLost) {
		t.Errorf("Start gave error %v, want %s", err, fail.LibvirtLost)
	}
	d.connect = connect
	if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtUnreachable) {
		t.Errorf("Start without libvirt gave error %v, want %s", err, fail.LibvirtUnreachable)
	}
	daemon.Start(t)
	if err := m.Start(t.Context()); err != nil {
		t.Errorf("Start with libvirt back: %v", err)
	}
	_ = wantState(t, m, machine.Running)
}

// killing is a connection whose libvirt ends before it starts a domain.
type killing struct {
	connection
	kill func()
}

func (k killing) Start(name string) error {
	k.kill()
	return k.connection.Start(name)
}

func realDriver(memory string) *Driver {
	runner := func(target machine.SSH) machine.Runner { return ssh.New(target) }
	return New(Options{Runner: runner, QEMU: qemu.New(qemu.Options{Runner: runner, Memory: memory}), URI: os.Getenv("SKIFF_TEST_LIBVIRT_URI")})
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

// killed ends the domain's QEMU as the kernel's out-of-memory killer does, and returns once libvirt knows.
func killed(ctx context.Context, m machine.Machine) error {
	vm := m.(*Machine)
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range all {
		words, _ := os.ReadFile(path) // it may have ended
		if !strings.Contains(string(words), "\x00guest="+vm.domain+",") {
			continue
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			err = syscall.Kill(id, syscall.SIGKILL)
		}
		if err != nil {
			return err
		}
		return vm.driver.do(ctx, time.Minute, func(ctx context.Context, c connection) error {
			if ended, err := vm.ended(ctx, c, time.Minute); !ended {
				return errors.Join(errors.New("libvirt does not see that QEMU was killed"), err)
			}
			return nil
		})
	}
	return fmt.Errorf("there is no process of domain %s", vm.domain)
}
