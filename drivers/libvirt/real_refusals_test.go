//go:build linux && cgo && libvirt_dlopen

package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// TestRealForeignDomain defines a domain of the machine's name by other means, and looks that it is left alone.
func TestRealForeignDomain(t *testing.T) {
	drivertest.Image(t)
	drivertest.ServeLibvirt(t)
	d, spec := realDriver(""), realSpec(t)
	virsh := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "virsh", append([]string{"-c", d.options.URI}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("virsh %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	name, file := domain.Name(spec), filepath.Join(t.TempDir(), "domain.xml")
	text := fmt.Sprintf("<domain type='qemu'><name>%s</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>", name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	virsh("define", file)
	defer virsh("undefine", name)
	before := virsh("dumpxml", name)
	m := d.Machine(spec)
	_ = wantState(t, m, machine.Absent)
	_, createErr := d.Create(t.Context(), spec)
	for what, err := range map[string]error{"Create": createErr, "Start": m.Start(t.Context()), "Stop": m.Stop(t.Context())} {
		if !fail.Is(err, fail.DomainForeign) {
			t.Errorf("%s gave error %v, want %s", what, err, fail.DomainForeign)
		}
	}
	if err := m.Delete(t.Context()); err != nil { // of the machine there is nothing
		t.Errorf("Delete: %v", err)
	}
	if after := virsh("dumpxml", name); after != before {
		t.Errorf("the foreign domain is\n%s\nwant it as it was:\n%s", after, before)
	}
}

// socketURI is the libvirt behind a socket.
func socketURI(path string) string { return "qemu+unix:///system?socket=" + path }

// wantRefusal looks that everything fails as it must where there is no way to libvirt.
func wantRefusal(t *testing.T, uri string, want fail.ID, remedy string) {
	t.Helper()
	d, spec := realDriver(""), testSpec(t)
	d.options.URI = uri
	if got := d.Check(t.Context())[0]; got.Level != drivers.Failure || got.ID != want || !strings.Contains(got.Remedy, remedy) {
		t.Errorf("Check: got %+v, want the failure %s with the remedy %q", got, want, remedy)
	}
	m := d.Machine(spec)
	_, createErr := d.Create(t.Context(), spec)
	_, listErr := d.Machines(t.Context())
	for what, err := range map[string]error{
		"Create": createErr, "Machines": listErr, "State": wantState(t, m, machine.Broken), "Start": m.Start(t.Context()), "Delete": m.Delete(t.Context()),
	} {
		if !fail.Is(err, want) {
			t.Errorf("%s gave error %v, want %s", what, err, want)
		}
	}
}

func TestRealNoSocket(t *testing.T) {
	drivertest.Image(t)
	wantRefusal(t, socketURI(filepath.Join(t.TempDir(), "none")), fail.LibvirtUnreachable, "systemctl restart")
}

// TestRealNoLibrary runs itself where libvirt's library cannot be loaded: the loader finds a file of its name first that is none.
func TestRealNoLibrary(t *testing.T) {
	const search = "LD_LIBRARY_PATH" // ld.so(8)
	if os.Getenv(search) == "" {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "libvirt.so.0"), []byte("nothing to load"), 0o600); err != nil {
			t.Fatal(err)
		}
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRealNoLibrary$", "-test.v")
		again.Env = append(os.Environ(), search+"="+dir)
		out, err := again.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRealNoLibrary")) {
			t.Errorf("without the library (%v):\n%s", err, out)
		}
		return
	}
	d := realDriver(filepath.Join(t.TempDir(), "accelerator.json"))
	finding := d.checkLibvirt(t.Context())
	if finding.ID != fail.LibvirtUnreachable || !finding.Missing || !strings.Contains(finding.Remedy, "apt-get install") {
		t.Errorf("got %+v, want that libvirt is missing, and how to install it", finding)
	}
	if _, err := d.Machines(t.Context()); !fail.Is(err, fail.LibvirtUnreachable) {
		t.Errorf("got error %v, want %s", err, fail.LibvirtUnreachable)
	}
}

// lockedVariable names a socket that the process must not be let to.
const lockedVariable = "SKIFF_TEST_LIBVIRT_LOCKED"

// TestRealNoAccess runs itself as a user who may not enter the folder of libvirt's socket.
func TestRealNoAccess(t *testing.T) {
	if path := os.Getenv(lockedVariable); path != "" {
		wantRefusal(t, socketURI(path), fail.LibvirtNoAccess, "usermod")
		return
	}
	drivertest.Image(t)
	dir := shortDir(t) // mode 0700
	path := filepath.Join(dir, "sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	newNobody(t).run(t, "TestRealNoAccess", lockedVariable+"="+path)
}

// TestRealUserConformance is TestRealConformance for a user without rights, whose libvirt the library starts by itself.
func TestRealUserConformance(t *testing.T) {
	image := drivertest.Image(t)
	n := newNobody(t)
	for _, path := range []string{image.Disk, image.Kernel, image.Initrd} { // the image may lie in a folder of root's alone
		to := filepath.Join(n.images, filepath.Base(path))
		out, err := exec.CommandContext(t.Context(), "cp", "--reflink=auto", "--sparse=always", path, to).CombinedOutput()
		if err == nil {
			err = os.Chmod(to, 0o444)
		}
		if err != nil {
			t.Fatalf("copy the image: %v: %s", err, out)
		}
	}
	n.run(t, "TestRealConformance", "SKIFF_TEST_LIBVIRT_URI="+SessionURI)
}

// nobody is a user without rights, with folders of its own.
type nobody struct {
	uid, gid              uint32
	home, runtime, images string
	binary                string
}

// newNobody skips the test unless it can be another user. libvirt turns users away that the host does not know, so it is the
// one who is nobody by name.
func newNobody(t *testing.T) nobody {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	account, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	self, selfErr := os.Executable()
	dir := shortDir(t)
	n := nobody{
		uid: uint32(uid), gid: uint32(gid),
		home: filepath.Join(dir, "home"), runtime: filepath.Join(dir, "run"), images: filepath.Join(dir, "images"), binary: filepath.Join(dir, "test"),
	}
	problems := []error{uidErr, gidErr, selfErr, os.Chmod(dir, 0o755)} // the user has to enter it
	for _, folder := range []string{n.home, n.runtime, n.images} {
		problems = append(problems, os.Mkdir(folder, 0o700), os.Chown(folder, int(uid), int(gid)))
	}
	content, err := os.ReadFile(self)
	problems = append(problems, err, os.WriteFile(n.binary, content, 0o755)) // the folder of the binary itself may be closed
	if err := errors.Join(problems...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.end(t) })
	return n
}

// run runs one test as that user.
func (n nobody) run(t *testing.T, test string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), n.binary, "-test.run=^"+test+"$", "-test.count=1", "-test.v", "-test.timeout=15m")
	cmd.Dir = n.home
	cmd.Env = append(env, "HOME="+n.home, "XDG_RUNTIME_DIR="+n.runtime, "PATH="+os.Getenv("PATH"), "USER=nobody", "SKIFF_TEST_IMAGE="+n.images)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.uid, Gid: n.gid}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test+" ") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// end ends the daemons that libvirt's library has started for the user. They are told by their environment, as others may be
// nobody too.
func (n nobody) end(t *testing.T) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Error(err)
	}
	for _, path := range all {
		words, _ := os.ReadFile(path) // it may have ended
		if !strings.Contains("\x00"+string(words), "\x00XDG_RUNTIME_DIR="+n.runtime+"\x00") {
			continue
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			err = syscall.Kill(id, syscall.SIGKILL)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("end process %d: %v", id, err)
		}
	}
}
