//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
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
	serveLibvirt(t)
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
	daemon := serveLibvirt(t)
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
		return killing{connection: c, kill: func() { daemon.end(t, syscall.SIGKILL) }}, err
	}
	if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtLost) {
		t.Errorf("Start gave error %v, want %s", err, fail.LibvirtLost)
	}
	d.connect = connect
	if err := m.Start(t.Context()); !fail.Is(err, fail.LibvirtUnreachable) {
		t.Errorf("Start without libvirt gave error %v, want %s", err, fail.LibvirtUnreachable)
	}
	daemon.start(t)
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

// daemons are the libvirt that a test has started.
type daemons struct{ dir string }

// serveLibvirt starts libvirt when none answers, and ends it with the test; nil when one answers already. A libvirt of
// the user needs no start.
func serveLibvirt(t *testing.T) *daemons {
	t.Helper()
	if c, err := connect(SessionURI); err == nil {
		c.Close()
		return nil
	}
	d := &daemons{dir: t.TempDir()}
	d.start(t)
	t.Cleanup(func() { d.end(t, syscall.SIGTERM) })
	return d
}

// start starts the daemons that do not run, and returns once libvirt answers.
func (d *daemons) start(t *testing.T) {
	t.Helper()
	if conn, err := net.Dial("unix", "/run/libvirt/virtlogd-sock"); err == nil {
		_ = conn.Close()
	} else {
		d.launch(t, "virtlogd")
	}
	d.launch(t, "libvirtd")
	for {
		c, err := connect(SessionURI)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("libvirt does not answer: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *daemons) launch(t *testing.T, name string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, "-d", "-p", d.pidFile(name)).CombinedOutput(); err != nil {
		t.Fatalf("start %s: %v: %s", name, err, out)
	}
}

func (d *daemons) pidFile(name string) string { return filepath.Join(d.dir, name+".pid") }

// end ends what start has started: libvirtd with the signal, and with SIGTERM virtlogd too.
func (d *daemons) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	names := []string{"libvirtd"}
	if signal == syscall.SIGTERM {
		names = append(names, "virtlogd")
	}
	for _, name := range names {
		raw, err := os.ReadFile(d.pidFile(name))
		if err != nil {
			continue // it did not run, or has ended
		}
		id, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if err == nil {
			err = syscall.Kill(id, signal)
		}
		for err == nil && syscall.Kill(id, 0) == nil && !zombie(id) {
			<-time.After(10 * time.Millisecond)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("end %s: %v", name, err)
		}
		_ = os.Remove(d.pidFile(name))
	}
}

// zombie reports whether a process has ended and nobody has waited for it.
func zombie(id int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	return err != nil || strings.Contains(string(raw), ") Z ")
}
