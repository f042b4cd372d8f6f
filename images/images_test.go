package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/fail"
)

// testImage writes a small image folder: a sparse disk, a kernel and a file in a subfolder.
func testImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	manifest := Manifest{KubernetesVersion: "v1.37.2", Architecture: "amd64", DiskBytes: 8 << 20, Files: map[string]File{}}
	disk := make([]byte, 8<<20)
	copy(disk[3<<20:], "data in the middle")
	disk[len(disk)-1] = 1
	for name, content := range map[string][]byte{
		DiskName: disk, KernelName: []byte("a kernel"), MirrorName + "/blobs/sha256/x": []byte("a blob"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		sum, err := Hash(t.Context(), path, name == DiskName, nil)
		if err != nil {
			t.Fatal(err)
		}
		manifest.Files[name] = File{Name: name, Size: int64(len(content)), SHA256: sum, Sparse: name == DiskName, Mode: 0o644}
	}
	writeManifest(t, dir, manifest)
	return dir
}

func writeManifest(t *testing.T, dir string, manifest Manifest) {
	t.Helper()
	content, err := manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ManifestName), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantID(t *testing.T, err error, id fail.ID) {
	t.Helper()
	if !fail.Is(err, id) {
		t.Errorf("got error %v, want one with ID %s", err, id)
	}
}

// TestEmulator: an image's QEMU is there for hosts that can run it.
func TestEmulator(t *testing.T) {
	t.Parallel()
	manifest := Manifest{Architecture: runtime.GOARCH, Files: map[string]File{"qemu/qemu-system-x86_64": {}}}
	want := ""
	if runtime.GOOS == "linux" {
		want = "/base/qemu/qemu-system-x86_64"
	}
	if got := manifest.Emulator("/base"); got != want {
		t.Errorf("Emulator: got %q, want %q", got, want)
	}
	foreign, without := manifest, manifest
	foreign.Architecture, without.Files = "s390x", nil
	for _, m := range []Manifest{foreign, without, {}} {
		if got := m.Emulator("/base"); got != "" {
			t.Errorf("Emulator of %+v: got %q, want none", m, got)
		}
	}
}

func TestReadManifest(t *testing.T) {
	t.Parallel()
	good, err := ReadManifest(testImage(t))
	if err != nil || len(good.Digest) != 64 || good.KubernetesVersion != "v1.37.2" {
		t.Fatalf("got %+v, %v", good, err)
	}
	_, err = ReadManifest(t.TempDir())
	wantID(t, err, fail.ImageMissing)

	for name, change := range map[string]func(*Manifest){
		"other content":        func(m *Manifest) { m.Cmdline = "init=/bin/sh" },
		"leads out of folder":  func(m *Manifest) { m.Files = map[string]File{"../x": {Name: "../x"}}; m.Digest, _ = m.sum() },
		"absolute":             func(m *Manifest) { m.Files = map[string]File{"/x": {Name: "/x"}}; m.Digest, _ = m.sum() },
		"key and name differ":  func(m *Manifest) { m.Files = map[string]File{"x": {Name: "y"}}; m.Digest, _ = m.sum() },
		"the folder as a file": func(m *Manifest) { m.Files = map[string]File{".": {Name: "."}}; m.Digest, _ = m.sum() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, dir := good, t.TempDir()
			change(&bad)
			content, err := json.Marshal(bad)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, ManifestName), content, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = ReadManifest(dir)
			wantID(t, err, fail.ChecksumMismatch)
		})
	}
}

func TestHashSparseDependsOnContentAlone(t *testing.T) {
	t.Parallel()
	const size = 5<<20 + 17
	content := make([]byte, size)
	copy(content[1<<20:], "one")
	content[size-1] = 7
	full, holes := filepath.Join(t.TempDir(), "full"), filepath.Join(t.TempDir(), "holes")
	if err := os.WriteFile(full, content, 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(holes)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for at, text := range map[int64]string{1 << 20: "one", size - 1: "\x07"} {
		if _, err := file.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	hash := func(path string) string {
		t.Helper()
		var read int64
		sum, err := Hash(t.Context(), path, true, func(n int64) { read += n })
		if err != nil {
			t.Fatal(err)
		}
		if read != size {
			t.Errorf("%s: progress told of %d bytes, want %d", path, read, int64(size))
		}
		return sum
	}
	want := hash(full)
	if got := hash(holes); got != want {
		t.Errorf("with holes: got %s, want %s", got, want)
	}
	// The same data elsewhere, and the same data in a longer file, are other files.
	if err := file.Truncate(size + 1); err != nil {
		t.Fatal(err)
	}
	if longer, err := Hash(t.Context(), holes, true, nil); err != nil || longer == want {
		t.Errorf("a longer file has the same digest, or fails: %v", err)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	from, to := testImage(t), filepath.Join(t.TempDir(), "base", "x")
	var last, total int64
	progress := func(done, all int64) {
		if done < last || done > all {
			t.Errorf("progress went from %d to %d of %d", last, done, all)
		}
		last, total = done, all
	}
	if err := Install(t.Context(), from, to, progress); err != nil {
		t.Fatal(err)
	}
	if last != total || total == 0 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	if err := Verify(t.Context(), to); err != nil {
		t.Errorf("the installed image does not verify: %v", err)
	}
	if _, err := os.Stat(to + ".partial"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the partial folder is still there: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(to, MirrorName, "blobs", "sha256", "x"))
	if err != nil || string(got) != "a blob" {
		t.Errorf("got %q, %v, want the blob", got, err)
	}
	info, err := os.Stat(filepath.Join(to, DiskName))
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode of the disk: got %v, %v, want read-only", info.Mode(), err)
	}
	if err := Install(t.Context(), from, to, nil); err != nil {
		t.Errorf("a second Install: %v", err)
	}
}

func TestInstallCopiesWithHoles(t *testing.T) {
	t.Parallel()
	from, to := testImage(t), filepath.Join(t.TempDir(), "disk")
	in, err := os.Open(filepath.Join(from, DiskName))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := copyHashed(t.Context(), in, out, true, nil); err != nil {
		t.Fatal(err)
	}
	want, errWant := os.ReadFile(filepath.Join(from, DiskName))
	got, errGot := os.ReadFile(to)
	if errWant != nil || errGot != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy has %d bytes, %v, and differs from the original of %d, %v", len(got), errGot, len(want), errWant)
	}
}

func TestInstallRefusesWhatTheManifestDoesNotDescribe(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(path string) error
		want  fail.ID
	}{
		"changed": {func(path string) error { return os.WriteFile(path, []byte("A kernel"), 0o644) }, fail.ChecksumMismatch},
		"shorter": {func(path string) error { return os.Truncate(path, 3) }, fail.ChecksumMismatch},
		"gone":    {os.Remove, fail.ImageMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := testImage(t), filepath.Join(t.TempDir(), "x")
			if err := test.spoil(filepath.Join(from, KernelName)); err != nil {
				t.Fatal(err)
			}
			wantID(t, Install(t.Context(), from, to, nil), test.want)
			if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the target exists after a failure: %v", err)
			}
			// Mended, it goes on.
			if err := os.WriteFile(filepath.Join(from, KernelName), []byte("a kernel"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := Install(t.Context(), from, to, nil); err != nil {
				t.Errorf("after mending: %v", err)
			}
		})
	}
	wantID(t, Install(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "x"), nil), fail.ImageMissing)
}

func TestInstallGoesOnAfterACancel(t *testing.T) {
	t.Parallel()
	from, to := testImage(t), filepath.Join(t.TempDir(), "x")
	ctx, cancel := context.WithCancel(t.Context())
	// The disk is first by name and large enough to be remembered.
	err := Install(ctx, from, to, func(done, _ int64) {
		if done >= 8<<20 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the cancel", err)
	}
	if len(readStamps(to+".partial")) == 0 {
		t.Error("nothing is remembered of the first attempt")
	}
	if err := Install(t.Context(), from, to, nil); err != nil {
		t.Error(err)
	}
}

func TestInstallReplacesASpoiltImage(t *testing.T) {
	t.Parallel()
	from, to := testImage(t), filepath.Join(t.TempDir(), "x")
	if err := Install(t.Context(), from, to, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, KernelName)); err != nil {
		t.Fatal(err)
	}
	wantID(t, Verify(t.Context(), to), fail.ImageMissing)
	if err := Install(t.Context(), from, to, nil); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), to); err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := testImage(t)
	kernel := filepath.Join(dir, KernelName)
	if err := Verify(t.Context(), dir); err != nil {
		t.Fatalf("a folder without stamps: %v", err)
	}
	// Same size and time as remembered: not read. This is what makes it cheap, and what it cannot see.
	info, err := os.Stat(kernel)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kernel, []byte("A kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(kernel, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), dir); err != nil {
		t.Errorf("unchanged size and time: got %v, want no second look", err)
	}
	wantID(t, Reread(t.Context(), dir), fail.ChecksumMismatch)
	for range 2 {
		if err := Forget(dir); err != nil {
			t.Errorf("Forget: %v", err)
		}
	}
	wantID(t, Verify(t.Context(), dir), fail.ChecksumMismatch)
	// Another time: read again.
	if err := os.Chtimes(kernel, time.Time{}, info.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	wantID(t, Verify(t.Context(), dir), fail.ChecksumMismatch)
}

// TestInstallFails: what failed leaves nothing behind, and what was cut off goes with the next one.
func TestInstallFails(t *testing.T) {
	t.Parallel()
	from, base := testImage(t), t.TempDir()
	to := filepath.Join(base, "x")
	if err := os.Remove(filepath.Join(from, KernelName)); err != nil {
		t.Fatal(err)
	}
	wantID(t, Install(t.Context(), from, to, nil), fail.ImageMissing)
	for _, name := range []string{"y.partial", "z.old", "kept", "x.partial"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(to); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 2 || entries[0].Name() != "kept" || entries[1].Name() != "x.partial" {
		t.Errorf("got %v and error %v, want what is installed and what the next Install goes on with", entries, err)
	}
}

// TestInstallOnFullDisk: the error tells what is needed and what is free.
func TestInstallOnFullDisk(t *testing.T) {
	t.Parallel()
	from := testImage(t)
	manifest, err := ReadManifest(from)
	if err != nil {
		t.Fatal(err)
	}
	i := installation{from: from, partial: filepath.Join(t.TempDir(), "x.partial")}
	err = i.explain("install", manifest, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	wantID(t, err, fail.HostDiskFull)
	known, _ := errors.AsType[*fail.Error](err)
	if !regexp.MustCompile(`it takes \d+ MiB, and \d+ MiB are free`).MatchString(err.Error()) || known.Next == "" {
		t.Errorf("got error %v with next %q, want both amounts and what to do next", err, known.Next)
	}
}
