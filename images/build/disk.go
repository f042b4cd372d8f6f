package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/images"
)

// diskBytes is the size of the root file system as the guest sees it. The file is sparse: it costs what it holds.
const diskBytes = 20 << 30

// diskUUID and hashSeed are fixed, so that the file system has the same bytes in each build. Every machine has the same UUID;
// nothing in a guest mounts by it.
const (
	diskUUID = "736b6966-6600-4000-8000-000000000001"
	hashSeed = "736b6966-6600-4000-8000-000000000002"
)

// masked are units that only cost time in a guest: consoles nobody sits at, upkeep of a system that is replaced and not upkept,
// and udev, whose work is done before systemd starts (the disk and the card are there, and nothing uses its links). Without udev
// the network cards of pods come and go without a crowd of processes looking at them.
var masked = []string{
	"apt-daily-upgrade.service", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily.timer", "console-getty.service", "dpkg-db-backup.service",
	"dpkg-db-backup.timer", "e2scrub_all.service", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty-static.service",
	"getty.target", "nftables.service", "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-binfmt.service",
	"systemd-boot-system-token.service", "systemd-hwdb-update.service", "systemd-journal-catalog-update.service", "systemd-logind.service",
	"systemd-machine-id-commit.service", "systemd-pcrphase-initrd.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service",
	"systemd-pstore.service", "systemd-tmpfiles-clean.timer", "systemd-udev-settle.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket",
	"systemd-udevd-kernel.socket", "systemd-udevd.service", "systemd-update-done.service", "systemd-update-utmp.service",
	"systemd-update-utmp-runlevel.service", "systemd-user-sessions.service", "dev-hugepages.mount", "dev-mqueue.mount",
	"sys-kernel-debug.mount", "sys-kernel-tracing.mount", "proc-sys-fs-binfmt_misc.automount", "systemd-firstboot.service",
	"systemd-sysusers.service", "ssh.socket",
	"modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service",
	"modprobe@loop.service", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "kmod-static-nodes.service", "systemd-modules-load.service",
	"systemd-random-seed.service", "systemd-remount-fs.service", "systemd-tmpfiles-setup-dev.service",
}

// enabled are the units that start at boot, below the target that wants them.
var enabled = map[string]string{
	"skiff-seed.service": "sysinit.target", "skiff-network.service": "sysinit.target", "containerd.service": "multi-user.target",
	"kubelet.service": "multi-user.target", "ssh.service": "multi-user.target", "skiff-identity.service": "multi-user.target",
}

// kubeNames are the names by which kube knows which program to be, in the guest itself.
var kubeNames = []string{"kubeadm", "kubectl", "kubelet"}

// disk says what goes into the root file system.
type disk struct {
	debian  string // folder with Debian's files
	guest   fs.FS  // skiff's own files, as guest/ has them
	layout  string // OCI image layout
	program programs
}

// make writes the root file system to out/disk.raw.
func (d disk) make(ctx context.Context, out string) error {
	root := filepath.Join(out, "root")
	defer os.RemoveAll(root)
	if _, err := (command{args: []string{"cp", "-a", "--reflink=auto", d.debian, root}}).run(ctx); err != nil {
		return err
	}
	if err := errors.Join(copyGuest(d.guest, root), configureGuest(root), d.install(root)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "sbin/resize2fs")); err != nil { // of e2fsprogs, which Debian's smallest system has
		return fmt.Errorf("the guest cannot grow its file system: %w", err)
	}
	store := filepath.Join(root, "var/lib/containerd")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	if err := unpack(ctx, filepath.Dir(d.program("containerd", "containerd")), d.layout, store); err != nil {
		return fmt.Errorf("unpack the container images: %w", err)
	}
	if err := shareKube(store, filepath.Join(root, "usr/local/bin/kube")); err != nil {
		return err
	}
	return makeFileSystem(ctx, root, filepath.Join(out, images.DiskName))
}

// install copies the programs that run outside of containers.
func (d disk) install(root string) error {
	var problems []error
	put := func(from, to string) {
		problems = append(problems, copyFile(from, filepath.Join(root, to)))
	}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		put(d.program("containerd", name), "usr/local/bin/"+name)
	}
	put(d.program("runc", "runc"), "usr/local/bin/runc")
	for _, name := range []string{"bridge", "host-local", "loopback", "portmap"} {
		put(d.program("cni", name), "opt/cni/bin/"+name)
	}
	for _, name := range kubeNames {
		problems = append(problems, os.Symlink("kube", filepath.Join(root, "usr/local/bin", name)))
	}
	return errors.Join(problems...)
}

// copyGuest lays skiff's files over the root file system. Files that begin with #! can be run.
func copyGuest(guest fs.FS, root string) error {
	return fs.WalkDir(guest, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(root, path)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := fs.ReadFile(guest, path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(content), "#!") {
			mode = 0o755
		}
		// A new file, never through a link into another place.
		if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(target, content, mode); err != nil {
			return err
		}
		return os.Chmod(target, mode)
	})
}

// configureGuest does what cannot be said by files alone: links, modes, the account.
func configureGuest(root string) error {
	var problems []error
	link := func(to, at string) {
		path := filepath.Join(root, at)
		problems = append(problems, os.MkdirAll(filepath.Dir(path), 0o755), os.RemoveAll(path), os.Symlink(to, path))
	}
	for _, unit := range masked {
		link("/dev/null", "etc/systemd/system/"+unit)
	}
	for unit, target := range enabled {
		from := "/etc/systemd/system/" + unit
		if unit == "ssh.service" {
			from = "/lib/systemd/system/" + unit
		}
		link(from, "etc/systemd/system/"+target+".wants/"+unit)
	}
	link("/lib/systemd/system/multi-user.target", "etc/systemd/system/default.target")
	for _, dir := range []string{"etc/kubernetes/manifests", "var/lib/kubelet", "var/log/journal", "root/.ssh"} {
		problems = append(problems, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	problems = append(problems,
		os.Chmod(filepath.Join(root, "root/.ssh"), 0o700),
		os.Chmod(filepath.Join(root, "var/lib/kubelet"), 0o700),
		// Empty: systemd makes a new one at the first boot of each machine.
		os.WriteFile(filepath.Join(root, "etc/machine-id"), nil, 0o444),
		unlockRoot(filepath.Join(root, "etc/shadow")),
		os.RemoveAll(filepath.Join(root, "var/lib/dbus/machine-id")), os.Symlink("/etc/machine-id", filepath.Join(root, "var/lib/dbus/machine-id")),
	)
	return errors.Join(problems...)
}

// unlockRoot gives root a password that nothing matches. With the usual "!" sshd would take the account for locked and refuse
// keys too.
func unlockRoot(shadow string) error {
	content, err := os.ReadFile(shadow)
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	for i, line := range lines {
		fields := strings.Split(line, ":")
		if fields[0] == "root" && len(fields) > 2 {
			fields[1] = "*"
			lines[i] = strings.Join(fields, ":")
		}
	}
	return os.WriteFile(shadow, []byte(strings.Join(lines, "\n")), 0o640)
}

// makeFileSystem makes an ext4 file system of diskBytes at path with the files of root. Checksums of metadata are off: they cost
// time under emulation, and stampInodes need not know them.
func makeFileSystem(ctx context.Context, root, path string) error {
	stamp := strconv.FormatInt(epoch.Unix(), 10)
	_, err := command{
		env: []string{"E2FSPROGS_FAKE_TIME=" + stamp, "SOURCE_DATE_EPOCH=" + stamp, "MKE2FS_CONFIG=/dev/null", "MKE2FS_DEVICE_SECTSIZE=512"},
		args: []string{
			"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "32768", "-m", "0", "-L", "skiff", "-U", diskUUID,
			"-O", "has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,uninit_bg,dir_nlink,extra_isize,resize_inode,^metadata_csum",
			"-E", "hash_seed=" + hashSeed + ",root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1", "-J", "size=64",
			"-d", root, path, strconv.Itoa(diskBytes/1024) + "k",
		},
	}.run(ctx)
	if err != nil {
		return err
	}
	if err := stampInodes(path); err != nil {
		return err
	}
	_, err = command{args: []string{"fallocate", "--dig-holes", path}}.run(ctx)
	return err
}
