package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/fail"
)

// TestDiskFull has a file system of its own, in a process with its own mounts, which needs no root where users may have namespaces.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) })
	c := child{Dir: t.TempDir(), Source: s.source(), Blob: descriptor(t, content), Full: true}
	process := exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), childVariable+"="+c.text(t))
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		process.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		process.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		process.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := process.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), errMount) {
		t.Skipf("this host lets nobody mount a small file system (%v %s); TestWriteFails is without one", err, out)
	}
	if err != nil {
		t.Errorf("on a full disk: %v\n%s", err, out)
	}
	if spans := strings.Fields(s.spans()); len(spans) != 2 || spans[0] != "all" || spans[1] == "all" {
		t.Errorf("got the ranges %q, want all and then the rest", spans)
	}
}

const errMount = "mount a small file system"

// onFullDisk downloads to a disk that turns out to be too small, and again after it has grown.
func (c child) onFullDisk(ctx context.Context, out io.Writer) error {
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", c.Dir, "tmpfs", 0, "size=200k")); err != nil {
		return fmt.Errorf(errMount+": %w", err)
	}
	d, err := New(Config{Dir: c.Dir, Sources: []string{c.Source}})
	if err != nil {
		return err
	}
	ask := d.free
	err = d.Fetch(ctx, []v1.Descriptor{c.Blob}, nil)
	if !fail.Is(err, fail.HostDiskFull) || !strings.Contains(err.Error(), "1 MiB are missing, and 0 MiB are free in "+c.Dir) {
		return fmt.Errorf("before it began: got error %w, want one that tells the room", err)
	}
	d.free = func(string) (int64, error) { return 1 << 40, nil } // another process takes it later
	err = d.Fetch(ctx, []v1.Descriptor{c.Blob}, nil)
	if !fail.Is(err, fail.HostDiskFull) || !strings.Contains(err.Error(), "no space left on device; ") {
		return fmt.Errorf("got error %w, want %s", err, fail.HostDiskFull)
	}
	if known, ok := errors.AsType[*fail.Error](err); !ok || !strings.HasPrefix(known.Next, "df -h "+c.Dir) {
		return fmt.Errorf("got error %w, want a command that looks at the disk", err)
	}
	if err := unix.Mount("tmpfs", c.Dir, "tmpfs", unix.MS_REMOUNT, "size=400k"); err != nil {
		return err
	}
	d.free = ask
	return d.Fetch(ctx, []v1.Descriptor{c.Blob}, nil)
}

// TestWriteFails writes to the device that is always full.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) })
	other := newServer(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
		t.Errorf("got a request for %s, want none", r.URL.Path)
	})
	d, _ := newTest(t, Config{Sources: []string{s.source(), other.source()}})
	blob := descriptor(t, content)
	r, err := d.begin([]v1.Descriptor{blob}, nil)
	if err != nil {
		t.Fatal(err)
	}
	part, err := openPart(t.Context(), partPath(d.partials(), blob), blob)
	if err != nil {
		t.Fatal(err)
	}
	defer part.close()
	if part.file, err = os.OpenFile("/dev/full", os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	err = r.each(t.Context(), "download", func(s source) error { return r.from(t.Context(), s, blob, part) })
	wantFailure(t, err, fail.HostDiskFull, "no space left on device")
}
