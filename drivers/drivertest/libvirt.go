package drivertest

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
)

// Libvirt is the libvirt of the host that a test has started, as there was none.
type Libvirt struct{ dir string }

// ServeLibvirt starts libvirt when none answers, and ends it with the test; nil when one answers already. Only root can
// start that of the host; for others the library starts one of theirs by itself.
func ServeLibvirt(t *testing.T) *Libvirt {
	t.Helper()
	if answers(t.Context()) == nil {
		return nil
	}
	l := &Libvirt{dir: t.TempDir()}
	t.Cleanup(func() {
		l.end(t, "libvirtd", syscall.SIGTERM)
		l.end(t, "virtlogd", syscall.SIGTERM)
	})
	l.Start(t)
	return l
}

// answers asks whether there is a libvirt.
func answers(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "virsh", "-c", "qemu:///session", "version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Start starts the daemons that do not run, and returns once libvirt answers.
func (l *Libvirt) Start(t *testing.T) {
	t.Helper()
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", "/run/libvirt/virtlogd-sock"); err == nil {
		_ = conn.Close()
	} else {
		l.launch(t, "virtlogd")
	}
	l.launch(t, "libvirtd")
	limited, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := answers(limited)
		if err == nil {
			return
		}
		select {
		case <-limited.Done():
			t.Fatalf("libvirt does not answer: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Kill ends libvirt without warning. Its machines run on.
func (l *Libvirt) Kill(t *testing.T) {
	t.Helper()
	l.end(t, "libvirtd", syscall.SIGKILL)
}

func (l *Libvirt) launch(t *testing.T, name string) {
	t.Helper()
	args := []string{name, "-d", "-p", l.pidFile(name)}
	if device, err := os.Stat(kvm); name == "libvirtd" && err == nil && device.Mode().Perm()&0o066 == 0 {
		args = append(l.withoutKVM(t), args...)
	}
	if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("start %s: %v: %s", name, err, out)
	}
}

// kvm is the device that libvirt looks for. Where root alone may open it, libvirt examines QEMU as root, finds KVM, then finds
// that its guests' user may not have it, and forgets what it learned: so it examines QEMU anew in every call, for seconds
// (qemu_capabilities.c, virQEMUCapsIsValid).
const kvm = "/dev/kvm"

// withoutKVM is the beginning of a command that runs where that device is a file which nobody can use. Libvirt cannot give its
// guests a /dev of their own with a mount in it, so it is told not to.
func (l *Libvirt) withoutKVM(t *testing.T) []string {
	t.Helper()
	nothing, settings := filepath.Join(l.dir, "nothing"), filepath.Join(l.dir, "qemu.conf")
	must(t, "make a file", os.WriteFile(nothing, nil, 0o000))
	must(t, "make settings", os.WriteFile(settings, []byte("namespaces = []\n"), 0o600))
	return []string{
		"unshare", "--mount", "--propagation", "slave", "sh", "-c",
		`mount --bind "$0" "$1" && mount --bind "$2" /etc/libvirt/qemu.conf && shift 2 && exec "$@"`, nothing, kvm, settings,
	}
}

func (l *Libvirt) pidFile(name string) string { return filepath.Join(l.dir, name+".pid") }

// end ends a daemon that launch has started, and returns once it has ended.
func (l *Libvirt) end(t *testing.T, name string, signal syscall.Signal) {
	t.Helper()
	raw, err := os.ReadFile(l.pidFile(name))
	if err != nil {
		return // it does not run
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err == nil {
		err = syscall.Kill(id, signal)
	}
	for err == nil && lives(id) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("end %s: %v", name, err)
	}
	_ = os.Remove(l.pidFile(name))
}

// lives reports whether the process has not ended; one that nobody has waited for yet has.
func lives(id int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}
