package ssh

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/images"
)

// programNames are the programs of the guest that run outside of containers.
func programNames() []string {
	return []string{
		"/usr/local/bin/containerd", "/usr/local/bin/containerd-shim-runc-v2", "/usr/local/bin/ctr", "/usr/local/bin/runc", "/usr/local/bin/kube",
		"/opt/cni/bin/bridge", "/opt/cni/bin/host-local", "/opt/cni/bin/loopback", "/opt/cni/bin/portmap",
	}
}

// testDisk makes the folder of a guest image that has the real configuration and programs of a few bytes, and returns the
// path of its disk.
func testDisk(t *testing.T) string {
	t.Helper()
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		if mke2fs, err = exec.LookPath("/sbin/mke2fs"); err != nil {
			t.Skip("mke2fs of Debian's e2fsprogs is not here")
		}
	}
	root, dir := t.TempDir(), t.TempDir()
	if err := os.CopyFS(root, os.DirFS("../../images/build/guest")); err != nil {
		t.Fatal(err)
	}
	manifest := images.Manifest{KubernetesVersion: "v1.37.2", Architecture: "amd64"}
	for _, name := range programNames() {
		content := []byte("the program " + name)
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		manifest.Components = append(manifest.Components, images.Component{Name: filepath.Base(name), Digest: hex.EncodeToString(sum[:])})
	}
	for _, name := range []string{"kubeadm", "kubectl", "kubelet"} {
		if err := os.Symlink("kube", filepath.Join(root, "usr/local/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(dir, images.DiskName)
	if out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum", "-d", root, disk, "16m").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	writeManifest(t, dir, manifest)
	return disk
}

func writeManifest(t *testing.T, dir string, manifest images.Manifest) {
	t.Helper()
	content, err := manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, images.ManifestName), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	parts, err := openParts(testDisk(t))
	if err != nil {
		t.Fatal(err)
	}
	defer parts.close()
	got := map[string]string{}
	for _, part := range parts.list {
		if part.link != "" {
			got[part.path] = "-> " + part.link
			continue
		}
		content, err := io.ReadAll(part.open())
		if err != nil || int64(len(content)) != part.size {
			t.Errorf("%s: got %d bytes (%v), want %d", part.path, len(content), err, part.size)
		}
		sum := sha256.Sum256(content)
		if digest := hex.EncodeToString(sum[:]); digest != part.digest {
			t.Errorf("%s: got the digest %s, want %s", part.path, digest, part.digest)
		}
		got[part.path] = string(content)
	}
	for path, want := range map[string]string{
		"/usr/local/bin/kube":                 "the program",
		"/usr/local/bin/kubelet":              "-> kube",
		"/etc/skiff/network.nft":              `oifname != "cni0" masquerade`,
		"/etc/sysctl.d/90-skiff.conf":         "net.ipv4.ip_forward = 1",
		"/etc/modules-load.d/skiff.conf":      "br_netfilter\noverlay\n",
		"/etc/systemd/system/kubelet.service": "/usr/local/bin/kubelet",
	} {
		if !strings.Contains(got[path], want) {
			t.Errorf("%s is %q, want it to have %q", path, got[path], want)
		}
	}
	for _, setting := range []string{"\nvm.dirty_", "\nvm.min_free_kbytes"} {
		if text := got["/etc/sysctl.d/90-skiff.conf"]; strings.Contains(text, setting) {
			t.Errorf("the kernel settings are those of a guest, with %q: %q", setting, text)
		}
	}
}

// settings, what is written down to be restored, must have all that the guest's file changes.
func TestSettingsAreComplete(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../images/build/guest/etc/sysctl.d/90-skiff.conf")
	if err != nil {
		t.Fatal(err)
	}
	text, err := cautious(string(content))
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(settings)
	for line := range strings.Lines(text) {
		key, _, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if path := strings.ReplaceAll(strings.TrimSpace(key), ".", "/"); !slices.Contains(known, path) {
			t.Errorf("%s is changed and not restored", path)
		}
	}
}

func TestPartsOfAnotherImage(t *testing.T) {
	t.Parallel()
	if _, err := openParts(filepath.Join(t.TempDir(), images.DiskName)); err == nil {
		t.Error("an image that is not there: got no error")
	}
	disk := testDisk(t)
	manifest, err := images.ReadManifest(filepath.Dir(disk))
	if err != nil {
		t.Fatal(err)
	}
	for i := range manifest.Components {
		if manifest.Components[i].Name == "runc" {
			manifest.Components[i].Digest = strings.Repeat("0", 64)
		}
	}
	writeManifest(t, filepath.Dir(disk), manifest)
	parts, err := openParts(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer parts.close()
	for _, part := range parts.list {
		if part.path == "/usr/local/bin/runc" {
			if _, err := io.Copy(io.Discard, part.open()); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("a program with another digest than the manifest's: got %v, want an error that tells it", err)
			}
		}
	}
	if _, err := anyCard("something else"); err == nil {
		t.Error("got no error for a file that is not what it was")
	}
}
