package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// suite is the Debian release of the guest.
const suite = "bookworm"

// packages are what the guest has beyond Debian's smallest system. iptables is not among them: kube-proxy, the CNI plugins and
// skiff speak nftables, and kubelet leaves its own iptables rules alone where the program is missing. netbase has the names of
// protocols, by which nft and kube-proxy speak of them.
var packages = []string{
	"ca-certificates", "conntrack", "dbus", "ethtool", "iproute2", "kmod", "linux-image-cloud-amd64", "netbase", "nftables",
	"openssh-server", "procps", "socat", "systemd-sysv", "udev",
}

// unneeded is what no running guest reads: paths below the root, globs. The kernel's configuration stays in /boot, as kubeadm's
// checks look there. logind goes with its bus names: it is masked, and whoever asks for it must hear at once that it is not there.
// systemd's generators look for what no guest has (other disks, consoles, init scripts), a process each.
var unneeded = []string{
	"boot/initrd*", "boot/System.map*", "boot/vmlinuz*", "initrd.img*", "vmlinuz*", "dev/*", "run/*", "tmp/*", "etc/machine-id", "etc/ssh/ssh_host_*", "etc/hostname", "etc/resolv.conf",
	"usr/lib/udev/hwdb*", "etc/udev/hwdb*", "usr/share/bug", "usr/share/doc", "usr/share/doc-base", "usr/share/i18n", "usr/share/info",
	"usr/share/initramfs-tools", "usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/pixmaps", "usr/share/zoneinfo/right",
	"usr/lib/modules/*/kernel/sound", "usr/lib/modules/*/kernel/drivers/gpu", "usr/lib/modules/*/kernel/drivers/infiniband",
	"var/cache/apt/*", "var/cache/debconf/*-old", "var/cache/ldconfig/*", "var/lib/apt/lists/*", "var/lib/initramfs-tools", "var/log/*",
	"usr/lib/systemd/system-generators/*", "usr/lib/systemd/system/dbus-org.freedesktop.login1.service", "usr/share/dbus-1/system-services/org.freedesktop.login1.service", "var/lib/dpkg/*-old", "etc/*-", "var/lib/systemd/catalog/*",
}

// debianStep makes the root file system from Debian's packages: out/root, and the kernel as out/vmlinuz. What the mirror has
// at that moment goes in; the key knows the list of packages, not their versions, so that a build without a network can go on. day is
// that of the refresh, see roots.
func debianStep(day string) *Step {
	inputs := []string{suite, strings.Join(packages, " "), strings.Join(unneeded, " "), strconv.FormatInt(epoch.Unix(), 10), "1"}
	if day != "" {
		inputs = append(inputs, day)
	}
	return &Step{
		Name: "debian", Expect: 90 * time.Second,
		Inputs: inputs,
		Do:     makeDebian,
	}
}

func makeDebian(ctx context.Context, out string) error {
	root := filepath.Join(out, "root")
	_, err := command{
		env: []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(epoch.Unix(), 10), "DEBIAN_FRONTEND=noninteractive"},
		args: []string{
			"mmdebstrap", "--variant=minbase", "--include=" + strings.Join(packages, ","),
			"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
			suite, root,
		},
	}.run(ctx)
	if err != nil {
		return err
	}
	kernel, err := only("the kernel", filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	if err := os.Rename(kernel, filepath.Join(out, "vmlinuz")); err != nil {
		return err
	}
	return removeAll(root, unneeded)
}

func removeAll(root string, globs []string) error {
	var problems []error
	for _, glob := range globs {
		paths, err := filepath.Glob(filepath.Join(root, glob))
		problems = append(problems, err)
		for _, path := range paths {
			problems = append(problems, os.RemoveAll(path))
		}
	}
	return errors.Join(problems...)
}

// modulesDir returns the folder of the kernel's modules below root.
func modulesDir(root string) (string, error) {
	return only("the folder of kernel modules", filepath.Join(root, "usr/lib/modules/*/kernel"))
}

// debianComponents returns the packages of the root file system with their versions, sorted by name.
func debianComponents(root string) ([][2]string, error) {
	content, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		return nil, err
	}
	var all [][2]string
	for paragraph := range strings.SplitSeq(string(content), "\n\n") {
		var name, version string
		for line := range strings.SplitSeq(paragraph, "\n") {
			if value, ok := strings.CutPrefix(line, "Package: "); ok {
				name = value
			}
			if value, ok := strings.CutPrefix(line, "Version: "); ok {
				version = value
			}
		}
		if name != "" {
			all = append(all, [2]string{name, version})
		}
	}
	slices.SortFunc(all, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return all, nil
}
