package build

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// bootModules are inserted by the initrd in this order, each after what it uses: the disk to boot from and the network card, so
// that nothing has to wait for udev; the file system of the seed disk; and what every cluster needs, because inserting a file
// that lies in memory takes a tenth of what modprobe takes under emulation.
var bootModules = []string{
	"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci_modern_dev",
	"drivers/virtio/virtio_pci", "drivers/block/virtio_blk", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net",
	"drivers/cdrom/cdrom", "fs/isofs/isofs", "fs/overlayfs/overlay", "net/llc/llc", "net/802/stp", "net/bridge/bridge", "net/bridge/br_netfilter",
	"lib/libcrc32c", "net/ipv6/netfilter/nf_defrag_ipv6", "net/ipv4/netfilter/nf_defrag_ipv4", "net/netfilter/nf_conntrack", "net/netfilter/nf_nat",
	"net/netfilter/nfnetlink", "net/netfilter/nf_tables", "net/netfilter/nft_chain_nat", "net/netfilter/nft_masq", "net/netfilter/nft_ct",
	"net/netfilter/nft_fib", "net/ipv4/netfilter/nft_fib_ipv4", "net/ipv6/netfilter/nft_fib_ipv6", "net/netfilter/nft_fib_inet",
	"net/netfilter/nft_nat", "net/netfilter/nft_numgen", "net/ipv4/netfilter/nf_reject_ipv4", "net/ipv6/netfilter/nf_reject_ipv6", "net/netfilter/nft_reject",
	"net/netfilter/nft_reject_inet", "drivers/net/veth",
}

// initScript is process 1 until the root file system is there.
const initScript = `#!/bin/busybox sh
# skiff asks with skiff.probe=1 whether this host's virtualisation can run a guest at all. Being here answers it.
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t proc proc /proc
case " $(/bin/busybox cat /proc/cmdline) " in
*" skiff.probe=1 "*)
	echo skiff-probe-ok >/dev/console
	/bin/busybox poweroff -f
	;;
esac
for module in %s; do
	/bin/busybox insmod /modules/$module.ko || echo "skiff: cannot insert $module" >/dev/console
done
# Settings of the scheduler, which drivers ask for where software emulates the processor (package tuning). Other kernels name
# these files otherwise.
turns=
for word in $(/bin/busybox cat /proc/cmdline); do
	case $word in skiff.sched.*=*) turns="$turns ${word#skiff.sched.}" ;; esac
done
if [ -n "$turns" ]; then
	/bin/busybox mount -t debugfs debugfs /sys
	for turn in $turns; do
		[ ! -e "/sys/sched/${turn%%=*}" ] || echo "${turn#*=}" >"/sys/sched/${turn%%=*}"
	done
	/bin/busybox umount /sys
fi
n=0
until [ -b /dev/vda ]; do
	n=$((n + 1))
	if [ $n -gt 300 ]; then
		echo "skiff: the disk /dev/vda did not appear" >/dev/console
		/bin/busybox poweroff -f
	fi
	/bin/busybox usleep 100000
done
# What the guest frees goes back to the host (discard): the kernel sends it on in the background, after the commit.
/bin/busybox mount -t ext4 -o noatime,lazytime,noinit_itable,discard /dev/vda /root || {
	echo "skiff: cannot mount the root file system" >/dev/console
	/bin/busybox poweroff -f
}
# Devices whose drivers are loaded when they are first opened; kmod-static-nodes would make them.
/bin/busybox mkdir -p /dev/net
/bin/busybox mknod -m 0666 /dev/net/tun c 10 200
/bin/busybox mknod -m 0666 /dev/fuse c 10 229
/bin/busybox mknod -m 0660 /dev/loop-control c 10 237
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
`

// writeInitrd writes the initial RAM file system for the kernel modules in modules (…/lib/modules/VERSION/kernel): busybox, the
// modules and a script. It is not compressed: reading it costs less than unpacking it under emulation.
func writeInitrd(to io.Writer, busybox, modules string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	archive := cpio{to: to}
	for _, dir := range []string{"bin", "dev", "modules", "proc", "root", "sys"} {
		archive.add(dir, 0o040755, nil)
	}
	archive.addDevice("dev/console", 0o020600, 5, 1)
	var names []string
	for _, module := range bootModules {
		content, err := os.ReadFile(filepath.Join(modules, module+".ko"))
		if err != nil {
			return fmt.Errorf("kernel module: %w", err)
		}
		names = append(names, path.Base(module))
		archive.add("modules/"+path.Base(module)+".ko", 0o100644, content)
	}
	archive.add("bin/busybox", 0o100755, program)
	archive.add("init", 0o100755, fmt.Appendf(nil, initScript, strings.Join(names, " ")))
	return archive.close()
}

// cpio writes the "newc" format (Linux: Documentation/driver-api/early-userspace/buffer-format.rst). Its files have no times, no
// owners but root and inode numbers in order, so that equal content has equal bytes.
type cpio struct {
	to    io.Writer
	inode int
	err   error
}

func (c *cpio) add(name string, mode int, content []byte) { c.write(name, mode, content, 0, 0) }

func (c *cpio) addDevice(name string, mode, major, minor int) { c.write(name, mode, nil, major, minor) }

func (c *cpio) close() error {
	c.write("TRAILER!!!", 0, nil, 0, 0)
	return c.err
}

func (c *cpio) write(name string, mode int, content []byte, major, minor int) {
	if c.err != nil {
		return
	}
	c.inode++
	var out bytes.Buffer
	out.WriteString("070701")
	links := 1
	for _, field := range []int{c.inode, mode, 0, 0, links, 0, len(content), 0, 0, major, minor, len(name) + 1, 0} {
		fmt.Fprintf(&out, "%08X", field)
	}
	out.WriteString(name)
	out.WriteByte(0)
	pad(&out)
	out.Write(content)
	pad(&out)
	_, c.err = c.to.Write(out.Bytes())
}

// pad fills up to a multiple of four bytes; every member begins at one.
func pad(out *bytes.Buffer) {
	for out.Len()%4 != 0 {
		out.WriteByte(0)
	}
}
