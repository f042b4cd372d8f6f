package ext4_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/images/ext4"
)

// makeDisk makes a file system of the folder root as the guest image's is made.
func makeDisk(t *testing.T, root string) string {
	t.Helper()
	program, err := exec.LookPath("mke2fs")
	if err != nil {
		if program, err = exec.LookPath("/sbin/mke2fs"); err != nil {
			t.Skip("mke2fs of Debian's e2fsprogs is not here")
		}
	}
	disk := filepath.Join(t.TempDir(), "disk.raw")
	out, err := exec.CommandContext(t.Context(), program, "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "32768", "-m", "0",
		"-O", "has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,uninit_bg,dir_nlink,extra_isize,resize_inode,^metadata_csum",
		"-J", "size=4", "-d", root, disk, "256m").CombinedOutput()
	if err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	return disk
}

func TestReadsWhatMke2fsWrote(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	random := make([]byte, 9<<20+123)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	clear(random[1<<20 : 3<<20]) // a hole: mke2fs leaves blocks of zeros out
	holes := make([]byte, 2000*8192)
	for i := range 2000 { // more pieces than fit into an inode
		holes[i*8192] = byte(i)
	}
	files := map[string][]byte{
		"usr/local/bin/kube": random, "etc/empty": nil, "etc/short": []byte("short\n"), "holes": holes, "zeros": make([]byte, 1<<20),
		"exact": random[:8192],
	}
	for i := range 2000 { // a folder with an index
		files[fmt.Sprintf("many/a file with a rather long name, number %d", i)] = fmt.Appendf(nil, "%d", i)
	}
	for name, content := range files {
		write(t, filepath.Join(root, name), content)
	}
	long := strings.Repeat("far/", 30) + "away"
	for name, target := range map[string]string{"usr/local/bin/kubelet": "kube", "long": long} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "usr/local/bin/kube"), 0o755); err != nil {
		t.Fatal(err)
	}
	disk, err := ext4.Open(makeDisk(t, root))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	for name, want := range files {
		file, err := disk.Lookup(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(file.Reader())
		if err != nil || !bytes.Equal(got, want) || file.Size != int64(len(want)) || !file.Mode.IsRegular() {
			t.Errorf("%s: got %d bytes of mode %s (%v), want %d bytes", name, len(got), file.Mode, err, len(want))
		}
	}
	for name, want := range map[string]string{"usr/local/bin/kubelet": "kube", "/long": long} {
		link, err := disk.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := link.Target(); got != want || err != nil {
			t.Errorf("%s: got a link to %q (%v), want %q", name, got, err, want)
		}
	}
	kube, err := disk.Lookup("usr/local/bin/kube")
	if err != nil || kube.Mode != 0o755 {
		t.Errorf("got mode %v (%v), want 0755", kube.Mode, err)
	}
	for _, name := range []string{"usr/none", "etc/short/below", "usr/local/bin/kubelet/below"} {
		if _, err := disk.Lookup(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got error %v, want one that wraps %v", name, err, fs.ErrNotExist)
		}
	}
}

func TestRefusesWhatIsNoFileSystem(t *testing.T) {
	t.Parallel()
	for name, content := range map[string][]byte{"empty": nil, "short": []byte("x"), "zeros": make([]byte, 8<<20)} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, content)
		if disk, err := ext4.Open(path); err == nil {
			disk.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

// The disk comes from the user's cache; a damaged one must give errors, not a panic or an endless loop.
func TestOutlivesDamage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/file"), []byte("content"))
	content, err := os.ReadFile(makeDisk(t, root))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "damaged")
	for range 60 {
		damaged := bytes.Clone(content[:4<<20])
		for range 20000 {
			damaged[random.IntN(len(damaged))] = byte(random.Uint32())
		}
		damaged[1024+0x38], damaged[1024+0x39] = 0x53, 0xef
		write(t, path, damaged)
		disk, err := ext4.Open(path)
		if err != nil {
			continue
		}
		if file, err := disk.Lookup("etc/file"); err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(file.Reader(), 1<<20))
		}
		disk.Close()
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
