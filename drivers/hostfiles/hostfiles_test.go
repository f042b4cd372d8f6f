package hostfiles_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// layer is the beginning of a qcow2 file over base.
func layer(magic, version uint32, base string) []byte {
	raw := binary.BigEndian.AppendUint32(nil, magic)
	raw = binary.BigEndian.AppendUint32(raw, version)
	raw = binary.BigEndian.AppendUint64(raw, 20)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(base)))
	return append(raw, base...)
}

func TestDisk(t *testing.T) {
	t.Parallel()
	const magic = 0x514649fb
	dir := t.TempDir()
	base, path := filepath.Join(dir, "base.raw"), filepath.Join(dir, "disk.qcow2")
	if err := os.WriteFile(base, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		content     []byte
		disk, layer string // parts of the errors; empty: none
	}{
		"a layer":                    {layer(magic, 3, base), "", ""},
		"a layer over another disk":  {layer(magic, 3, "/other"), "", `a layer over "/other"`},
		"no qcow2":                   {layer(1, 3, base), "no qcow2 file", ""},
		"of another version":         {layer(magic, 9, base), "no qcow2 file", ""},
		"cut off":                    {layer(magic, 3, base)[:10], "", "read the disk"},
		"with a name beyond its end": {layer(magic, 3, base)[:21], "", "read the disk"},
		"empty":                      {nil, "no qcow2 file", "read the disk"},
	}
	spec := machine.Spec{Image: machine.Image{Disk: base}}
	wrong := func(err error, want string) bool {
		return (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want)
	}
	for name, test := range tests {
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := hostfiles.CheckDisk(path, spec); wrong(err, test.disk) {
			t.Errorf("%s: CheckDisk gave error %v, want %q", name, err, test.disk)
		}
		if err := hostfiles.CheckLayer(path, spec); wrong(err, test.layer) {
			t.Errorf("%s: CheckLayer gave error %v, want %q", name, err, test.layer)
		}
	}
	if err := errors.Join(os.WriteFile(path, layer(magic, 3, base), 0o600), os.Remove(base)); err != nil {
		t.Fatal(err)
	}
	if err := hostfiles.CheckDisk(path, spec); wrong(err, "the disk of its image") {
		t.Errorf("without the image's disk: CheckDisk gave error %v", err)
	}
	if err := hostfiles.CreateDisk(t.Context(), "/none", path, spec); wrong(err, "is not there") {
		t.Errorf("without the image's disk: CreateDisk gave error %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	if err := hostfiles.DiskFull(&fs.PathError{Err: syscall.ENOSPC}, t.TempDir()); !fail.Is(err, fail.HostDiskFull) {
		t.Errorf("got error %v, want %s", err, fail.HostDiskFull)
	}
	other := errors.New("other")
	if err := hostfiles.DiskFull(other, t.TempDir()); err != other { //nolint:errorlint // the very same is meant
		t.Errorf("got error %v, want it as it was", err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	release, err := hostfiles.Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := hostfiles.Lock(limited, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock gave error %v, want %v", err, context.DeadlineExceeded)
	}
	release()
	release, err = hostfiles.Lock(t.Context(), dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	release()
	if _, err := hostfiles.Lock(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there gave error %v, want %v", err, fs.ErrNotExist)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 0 {
		t.Errorf("it left %q", left)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	if out, err := hostfiles.Output(t.Context(), "sh", "-c", "echo good; echo bad >&2"); err != nil || string(out) != "good\n" {
		t.Errorf("got %q (%v), want what it printed", out, err)
	}
	if _, err := hostfiles.Output(t.Context(), "sh", "-c", "seq 9 >&2; exit 3"); err == nil || !strings.HasSuffix(err.Error(), "exit status 3: 7; 8; 9") {
		t.Errorf("got error %v, want one with the last lines", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hostfiles.Output(ctx, "true"); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}
