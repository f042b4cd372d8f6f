package ssh

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sandbox runs the driver's scripts on this host with all their folders moved into a temporary one, and without the
// programs that change the system itself.
type sandbox struct {
	t    *testing.T
	root string
}

func newSandbox(t *testing.T) sandbox {
	t.Helper()
	s := sandbox{t, t.TempDir()}
	for name, content := range map[string]string{
		"etc/cni/theirs": "theirs", "usr/local/bin/kubectl": "their kubectl", "usr/local/bin/other": "other",
		"proc/sys/net/ipv4/ip_forward": "0\n", "proc/sys/kernel/panic": "0\n", "opt/theirs": "theirs", "var/lib/other": "other", "proc/modules": "ext4 1 1 - Live 0\n",
		"proc/self/mounts": "disk / ext4 rw 0 0\ndisk /var/lib/containerd ext4 rw 0 0\n",
	} {
		s.write(name, content)
	}
	return s
}

func (s sandbox) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a script; without its error it must succeed.
func (s sandbox) run(name, stdin string, args ...string) (string, error) {
	s.t.Helper()
	text, err := scripts.ReadFile("scripts/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	const harmless = "modprobe() { return 1; }\nsystemctl() { :; }\nnft() { :; }\nrmmod() { :; }\nmountpoint() { return 1; }\nip() { :; }\numount() { echo \"umount $*\"; }\n" +
		"rm() { case $* in *immutable*) echo \"rm: cannot remove $*\" >&2; return 1 ;; esac; command rm \"$@\"; }\n"
	pairs := []string{"iptables ip6tables", ""}
	for _, dir := range []string{"/var/lib/skiff", "/proc/", "/sys/", "/run/", "/usr/lib/systemd/"} {
		pairs = append(pairs, dir, s.root+dir)
	}
	moved := strings.NewReplacer(pairs...).Replace(string(text))
	synced := "sync() { for file in \"$@\"; do wc -c \"$file\" >>" + s.synced() + "; done; }\n"
	cmd := exec.CommandContext(s.t.Context(), "sh", append([]string{"-c", harmless + synced + moved, name}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	return string(out), err
}

// synced is a file, outside of the machine's, with size and name of every file that was synced.
func (s sandbox) synced() string { return s.root + ".synced" }

func (s sandbox) must(name, stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.run(name, stdin, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// tree returns all files with mode and content.
func (s sandbox) tree() string {
	s.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(s.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(data)
		case info.Mode().Type() == fs.ModeSymlink:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		fmt.Fprintf(&all, "%s %s %q\n", strings.TrimPrefix(path, s.root), info.Mode(), content)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all.String()
}

// wantTree looks that the files are as in an earlier tree.
func (s sandbox) wantTree(want string) {
	s.t.Helper()
	if got := s.tree(); got != want {
		s.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func (s sandbox) folders() string {
	return s.root + "/etc/cni " + s.root + "/opt/cni " + s.root + "/var/lib/etcd"
}

const testSettings = "net/ipv4/ip_forward kernel/panic kernel/none"

// TestGivesBackAsItWas takes, puts, lets a cluster make files, and gives back.
func TestGivesBackAsItWas(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	before := s.tree()
	for range 2 {
		s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	}
	if _, err := s.run("take.sh", "", "dev 2", s.folders(), testSettings); err == nil || !strings.Contains(err.Error(), "dev 1") {
		t.Errorf("a second cluster: got %v, want an error that names the first", err)
	}
	bin := s.root + "/usr/local/bin/"
	for range 2 {
		s.must("put.sh", "new kube", bin+"kube", "755", "d1", "8", "")
		s.must("put.sh", "", bin+"kubectl", "link", "link:kube", "0", "kube")
		s.must("put.sh", "bridge", s.root+"/opt/cni/bin/bridge", "755", "d2", "6", "")
	}
	if got, err := os.ReadFile(bin + "kubectl"); err != nil || string(got) != "new kube" {
		t.Errorf("kubectl is %q (%v), want a link to kube", got, err)
	}
	have := s.must("have.sh", "")
	for _, want := range []string{"d1 " + bin + "kube\n", "link:kube " + bin + "kubectl\n", "d2 " + s.root + "/opt/cni/bin/bridge\n"} {
		if !strings.Contains(have, want) {
			t.Errorf("have.sh says %q, want it to have %q", have, want)
		}
	}
	// What the cluster makes while it runs, and what changes.
	s.write("etc/cni/net.d/ours", "ours")
	s.write("var/lib/etcd/member/db", "db")
	s.write("proc/sys/net/ipv4/ip_forward", "1\n")
	s.must("give.sh", "", "dev 2", s.folders()) // nothing: it is another's
	if !strings.Contains(s.must("have.sh", ""), "d1") {
		t.Error("giving another cluster's machine back has changed something")
	}
	for range 2 {
		s.must("give.sh", "", "dev 1", s.folders())
	}
	s.wantTree(before)
}

// TestPutIsLasting looks that the content is on the disk before it is noted that it is there.
func TestPutIsLasting(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	s.must("put.sh", "new kube", s.root+"/usr/local/bin/kube", "755", "d1", "8", "")
	synced, err := os.ReadFile(s.synced())
	if want := "8 " + s.root + "/usr/local/bin/.skiff.part\n"; err != nil || !strings.HasSuffix(string(synced), want) {
		t.Errorf("got synced %q (%v), want %q at the end", synced, err, want)
	}
}

// TestPutThatIsCutOff looks that neither the file of before nor the one that is there is lost.
func TestPutThatIsCutOff(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	before := s.tree()
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	kubectl := s.root + "/usr/local/bin/kubectl"
	if _, err := s.run("put.sh", "only a part", kubectl, "755", "d1", "100", ""); err == nil {
		t.Error("a part passed for the whole")
	}
	if got, err := os.ReadFile(kubectl); err != nil || string(got) != "their kubectl" {
		t.Errorf("after a part has arrived, the file is %q (%v), want the old one", got, err)
	}
	if have := s.must("have.sh", ""); strings.Contains(have, "d1") {
		t.Errorf("have.sh says %q of a file that did not arrive", have)
	}
	// Cut off between the copy of what was there and the note of it.
	s.write("var/lib/skiff/replaced"+s.root+"/usr/local/bin/other", "o")
	s.must("put.sh", "new", s.root+"/usr/local/bin/other", "755", "d2", "3", "")
	s.must("give.sh", "", "dev 1", s.folders())
	s.wantTree(before)
}

// TestGiveThatIsCutOff looks that a second run, which finds the list of before removed, takes nobody's files.
func TestGiveThatIsCutOff(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	before := s.tree()
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	if err := os.RemoveAll(s.root + "/var/lib/skiff/before"); err != nil {
		t.Fatal(err)
	}
	s.must("give.sh", "", "dev 1", s.folders())
	s.wantTree(before)
}

// TestTakeThatIsCutOff looks that a machine which is not anybody's in the end has no notes either.
func TestTakeThatIsCutOff(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	if err := os.Remove(s.root + "/proc/self/mounts"); err != nil {
		t.Fatal(err)
	}
	before := s.tree()
	if _, err := s.run("take.sh", "", "dev 1", s.folders(), testSettings); err == nil {
		t.Error("a part that failed passed for the whole")
	}
	s.wantTree(before)
}

// TestGivesNoMounts looks that what is still mounted in a folder is not removed with it: it may be somebody's files.
func TestGivesNoMounts(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	s.write("var/lib/etcd/volume/theirs", "theirs")
	s.write("proc/self/mounts", "disk / ext4 rw 0 0\ndisk "+s.root+"/var/lib/etcd/volume ext4 rw 0 0\n")
	if _, err := s.run("give.sh", "", "dev 1", s.folders()); err == nil || !strings.Contains(err.Error(), "still mounted") {
		t.Errorf("got %v, want an error that tells of the mount", err)
	}
	if _, err := os.Stat(s.root + "/var/lib/etcd/volume/theirs"); err != nil {
		t.Errorf("what was mounted is gone: %v", err)
	}
	s.write("proc/self/mounts", "disk / ext4 rw 0 0\n")
	s.must("give.sh", "", "dev 1", s.folders())
	if _, err := os.Stat(s.root + "/var/lib/skiff"); err == nil {
		t.Error("once nothing is mounted any more, the machine is not given back")
	}
}

// TestGivesAllOrSaysSo looks that a file which cannot be removed keeps the machine the cluster's.
func TestGivesAllOrSaysSo(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"etc/cni/net.d/immutable", "usr/local/bin/immutable"} {
		s := newSandbox(t)
		s.must("take.sh", "", "dev 1", s.folders(), testSettings)
		if strings.HasPrefix(name, "usr/") {
			s.must("put.sh", "x", s.root+"/"+name, "755", "d1", "1", "")
		} else {
			s.write(name, "x")
		}
		if _, err := s.run("give.sh", "", "dev 1", s.folders()); err == nil || !strings.Contains(err.Error(), "immutable") {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
		if _, err := os.Stat(s.root + "/var/lib/skiff/owner"); err != nil {
			t.Errorf("%s: the machine is nobody's any more: %v", name, err)
		}
	}
}

// TestStopUnmounts looks that mounts of the cluster go, whatever they are called, and that those of before stay.
func TestStopUnmounts(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	s.write("proc/self/mounts", `disk / ext4 rw 0 0
disk /var/lib/containerd ext4 rw 0 0
disk /var/lib/kubelets ext4 rw 0 0
tmpfs /var/lib/kubelet/pods/1/volumes/a\040b tmpfs rw 0 0
overlay /run/containerd/task/1/rootfs overlay rw 0 0
`)
	const want = "umount /var/lib/kubelet/pods/1/volumes/a b\numount /run/containerd/task/1/rootfs\n"
	if got := s.must("stop.sh", ""); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A file that somebody has changed is put again.
func TestHaveSeesChanges(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	kube := s.root + "/usr/local/bin/kube"
	s.must("put.sh", "kube", kube, "755", "d1", "4", "")
	if err := os.Remove(kube); err != nil {
		t.Fatal(err)
	}
	s.write("usr/local/bin/kube", "evil")
	if have := s.must("have.sh", ""); strings.Contains(have, "d1") {
		t.Errorf("have.sh says %q of a file that was changed", have)
	}
}

// TestBuiltIn looks that a kernel which has what a cluster needs built in, and no modules at all, will do.
func TestBuiltIn(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	if err := os.Remove(s.root + "/proc/modules"); err != nil {
		t.Fatal(err)
	}
	const mark = "proc/sys/net/bridge/bridge-nf-call-iptables"
	s.write("proc/filesystems", "nodev\tproc\n\text4\n")
	for _, module := range []string{"br_netfilter", "overlay"} {
		if out := s.must("look.sh", ""); !strings.Contains(out, "module "+module+"\n") {
			t.Errorf("a kernel without %s passes:\n%s", module, out)
		}
	}
	if _, err := s.run("start.sh", ""); err == nil {
		t.Error("a kernel without either is started")
	}
	s.write(mark, "1\n")
	s.write("proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n")
	if out := s.must("look.sh", ""); strings.Contains(out, "\nmodule ") {
		t.Errorf("what is built in is taken for missing:\n%s", out)
	}
	before := s.tree()
	s.must("take.sh", "", "dev 1", s.folders(), testSettings)
	s.write("usr/lib/systemd/systemd-sysctl", "#!/bin/sh\n")
	s.must("start.sh", "")
	if err := os.RemoveAll(s.root + "/usr/lib"); err != nil {
		t.Fatal(err)
	}
	s.must("give.sh", "", "dev 1", s.folders())
	s.wantTree(before)
}
