package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/skiff-k8s/skiff/images"
)

func TestNormaliseBolt(t *testing.T) {
	t.Parallel()
	database := func(moment time.Time, leases bool) string {
		path := filepath.Join(t.TempDir(), "meta.db")
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		stamp, err := moment.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			root, err := tx.CreateBucket([]byte("v1"))
			if err != nil {
				return err
			}
			image, err := root.CreateBucket([]byte("image"))
			if err != nil {
				return err
			}
			if leases {
				if _, err := root.CreateBucket([]byte("leases")); err != nil {
					return err
				}
			}
			// Enough to need pages of their own.
			for i := range 20 {
				blob, err := root.CreateBucket(fmt.Appendf(nil, "blob%d", i))
				if err != nil {
					return err
				}
				if err := blob.Put([]byte("text"), bytes.Repeat([]byte{byte(i)}, 1500)); err != nil {
					return err
				}
			}
			return errors.Join(image.Put([]byte("createdat"), stamp), image.Put([]byte("target"), []byte("sha256:x")), image.SetSequence(7))
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	var contents [][]byte
	for i, moment := range []time.Time{time.Unix(1, 0), time.Unix(2_000_000_000, 5)} {
		path := database(moment, i == 1)
		if err := normaliseBolt(path); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bolt.Tx) error {
			image := tx.Bucket([]byte("v1")).Bucket([]byte("image"))
			if got := string(image.Get([]byte("target"))); got != "sha256:x" || image.Sequence() != 7 {
				t.Errorf("got target %q, sequence %d, want sha256:x, 7", got, image.Sequence())
			}
			return nil
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(contents[0], contents[1]) {
		t.Error("databases that differ in times and leases only are not equal afterwards")
	}
}

func TestCpioCanBeUnpacked(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	var out bytes.Buffer
	archive := cpio{to: &out}
	archive.add("bin", 0o040755, nil)
	archive.add("bin/odd", 0o100755, []byte("12345"))
	archive.add("init", 0o100755, []byte("#!"))
	if err := archive.close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "--extract", "--quiet", "--no-preserve-owner")
	cmd.Dir, cmd.Stdin = dir, &out
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, text)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "bin", "odd")); err != nil || string(got) != "12345" {
		t.Errorf("got %q, %v, want 12345", got, err)
	}
}

func TestStampInodesMakesFileSystemsEqual(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("mke2fs"); err != nil {
		t.Skip("mke2fs is not installed")
	}
	stamp := strconv.FormatInt(epoch.Unix(), 10)
	image := func(moment time.Time) string {
		root, path := t.TempDir(), filepath.Join(t.TempDir(), "disk")
		for _, name := range []string{"b", "a", "dir/c"} {
			file := filepath.Join(root, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(name), 0o644), os.Chtimes(file, moment, moment)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := command{env: []string{"E2FSPROGS_FAKE_TIME=" + stamp, "MKE2FS_CONFIG=/dev/null"}, args: []string{
			"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-U", diskUUID, "-O", "^metadata_csum,uninit_bg,64bit,extent,has_journal", "-E", "hash_seed=" + hashSeed + ",root_owner=0:0",
			"-d", root, path, "32m",
		}}.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stampInodes(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := image(time.Unix(1_000_000_000, 1)), image(time.Unix(1_500_000_000, 2))
	a, errA := hashFile(one)
	b, errB := hashFile(two)
	if a != b || errA != nil || errB != nil {
		t.Errorf("file systems of equal files differ: %s, %v and %s, %v", a, errA, b, errB)
	}
	if fsck, err := exec.LookPath("e2fsck"); err == nil {
		if _, err := (command{args: []string{fsck, "-f", "-n", one}}).run(t.Context()); err != nil {
			t.Errorf("the file system is damaged: %v", err)
		}
	}
}

func TestNeededFindsLibrariesAndTheLoader(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/lib/x86_64-linux-gnu/libc.so.6"); err != nil {
		t.Skip("this is no Debian on amd64")
	}
	list, err := needed("/", "/usr/bin/ls")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, l := range list {
		paths = append(paths, l.path)
		if info, err := os.Lstat(l.file); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %q is not a file: %v", l.path, l.file, err)
		}
	}
	all := strings.Join(paths, " ")
	for _, want := range []string{"/lib64/ld-linux-x86-64.so.2", "/usr/lib/x86_64-linux-gnu/libc.so.6"} {
		if !strings.Contains(all, want) {
			t.Errorf("got %s, want %s among them", all, want)
		}
	}
}

// The version that the manifest tells of a component is the one that its go.mod builds.
func TestComponentVersionsAreThoseOfTheirModules(t *testing.T) {
	t.Parallel()
	for _, c := range components() {
		dir := filepath.Join("..", "components", c.name)
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasPrefix(c.module, "github.com/skiff-k8s/") {
			continue
		}
		if want := c.module + " " + c.version; !strings.Contains(string(content), want) {
			t.Errorf("%s: its go.mod does not require %s", c.name, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "go.sum")); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	mod, err := os.ReadFile("../components/traefik/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/go-acme/lego/v5 " + legoVersion; !strings.Contains(string(mod), want) {
		t.Errorf("traefik's go.mod does not require %s, which the build copies", want)
	}
}

// TestGuestGivesBackWhatItFrees: drivers pass discards on, so the guest must send them.
func TestGuestGivesBackWhatItFrees(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(initScript) {
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[1] == "mount" && fields[3] == "ext4" {
			if !slices.Contains(strings.Split(fields[5], ","), "discard") {
				t.Errorf("the root file system is mounted with %s, want discard", fields[5])
			}
			return
		}
	}
	t.Error("nothing mounts the root file system")
}

func TestGuestFilesAgreeWithTheBuild(t *testing.T) {
	t.Parallel()
	files, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		t.Helper()
		content, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if want := "registry.k8s.io/pause:" + pauseVersion; !strings.Contains(read("etc/containerd/config.toml"), want) {
		t.Errorf("containerd's configuration does not name %s, the image that is there", want)
	}
	var network struct {
		Plugins []struct {
			Type string `json:"type"`
		} `json:"plugins"`
	}
	if err := json.Unmarshal([]byte(read("etc/cni/net.d/10-skiff.conflist")), &network); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range network.Plugins {
		found := false
		for _, c := range components() {
			found = found || c.name == "cni" && c.outputs[plugin.Type] != ""
		}
		if !found {
			t.Errorf("the network uses the plugin %q, which is not built", plugin.Type)
		}
	}
	for unit := range enabled {
		if _, err := fs.Stat(files, "etc/systemd/system/"+unit); err != nil && unit != "ssh.service" {
			t.Errorf("%s is enabled: %v", unit, err)
		}
	}
	if !strings.HasPrefix(read("usr/local/lib/skiff/seed"), "#!/bin/sh\n") {
		t.Error("the seed script would not be made executable")
	}
}

func TestCopyGuestReplacesLinksAndSetsModes(t *testing.T) {
	t.Parallel()
	files, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	root, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, []byte("theirs"), 0o644), os.MkdirAll(filepath.Join(root, "etc"), 0o755), os.Symlink(other, filepath.Join(root, "etc/hosts"))); err != nil {
		t.Fatal(err)
	}
	if err := copyGuest(files, root); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(other); err != nil || string(got) != "theirs" {
		t.Errorf("a link was followed out of the root: %q, %v", got, err)
	}
	for path, want := range map[string]fs.FileMode{"usr/local/lib/skiff/seed": 0o755, "etc/hosts": 0o644} {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", path, info, err, want)
		}
	}
}

func TestUnlockRoot(t *testing.T) {
	t.Parallel()
	shadow := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(shadow, []byte("root:!unset:1:0:::::\nsshd:!:1::::::\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := unlockRoot(shadow); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(shadow)
	if want := "root:*:1:0:::::\nsshd:!:1::::::\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestHashTreeSeesNamesModesAndContents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	seen := map[string]string{}
	look := func(what string) {
		t.Helper()
		sum, err := hashTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[sum]; ok {
			t.Errorf("%s: same digest as %s", what, before)
		}
		seen[sum] = what
	}
	look("empty")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	look("a file")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	look("executable")
	if err := os.Rename(path, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	look("renamed")
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("y"), 0o755); err != nil {
		t.Fatal(err)
	}
	look("other content")
}

func TestPublishPointsCurrentToTheImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := errors.Join(os.Mkdir(old, 0o755), os.Chtimes(old, time.Time{}, time.Now().Add(-2*keepFor))); err != nil {
		t.Fatal(err)
	}
	for _, digest := range []string{"one", "two", "two"} {
		from := t.TempDir()
		if err := os.WriteFile(filepath.Join(from, "file"), []byte(digest), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := publish(from, dir, manifestWith(digest)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "current", "file"))
		if err != nil || string(got) != digest {
			t.Errorf("current has %q, %v, want %q", got, err, digest)
		}
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an image of long ago is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "one")); err != nil {
		t.Errorf("the image made before is gone: %v", err)
	}
}

func manifestWith(digest string) images.Manifest { return images.Manifest{Digest: digest} }
