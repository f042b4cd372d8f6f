# Tells what there is on the machine, one "key value" a line. It changes nothing.
say() { printf '%s %s\n' "$1" "$2"; }
say kernel "$(uname -s)"
[ "$(uname -s)" = Linux ] || exit 0
say arch "$(uname -m)"
say uid "$(id -u)"
[ -d /run/systemd/system ] && say systemd yes
say cgroup "$(stat -f -c %T /sys/fs/cgroup 2>/dev/null)"
say memory "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)"
say cpus "$(nproc)"
say free "$(df -Pk /var/lib | awk 'END { print $4 }')"
for dir in /etc /opt /usr/local/bin /var/lib; do [ -w "$dir" ] || say readonly "$dir"; done
for program in awk ip modprobe mount nft sha256sum systemctl tar umount; do
	command -v "$program" >/dev/null || say missing "$program"
done
# What is built into the kernel need have no entry in /sys/module, and modprobe may not know it: its marks tell.
has() {
	case $1 in
	br_netfilter) [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ;;
	overlay) awk '$NF == "overlay" { found = 1 } END { exit !found }' /proc/filesystems 2>/dev/null ;;
	esac
}
for module in br_netfilter overlay; do
	[ -d "/sys/module/$module" ] || has "$module" || modprobe -n -q "$module" 2>/dev/null || say module "$module"
done
read -r owner 2>/dev/null </var/lib/skiff/owner && say owner "$owner"

# Another Kubernetes: files of its control plane or its node, or its processes.
for dir in /etc/kubernetes/manifests /etc/kubernetes /var/lib/etcd /var/lib/kubelet /var/lib/rancher /var/lib/k0s; do
	[ -n "$(find "$dir" -type f 2>/dev/null | head -n 1)" ] && say kubernetes "$dir"
done
for comm in /proc/[0-9]*/comm; do
	read -r name 2>/dev/null <"$comm" || continue
	case $name in
	kubelet | kube-apiserver | etcd | k3s* | k0s* | kubelite) say kubernetes "process $name" ;;
	containerd | dockerd | crio) say runtime "process $name" ;;
	esac
done
for path in /usr/bin/containerd /usr/local/bin/containerd /usr/bin/dockerd /usr/bin/crio /etc/containerd/config.toml /run/containerd/containerd.sock; do
	[ -e "$path" ] && say runtime "$path"
done

# Ports on which something listens (state 0A, numbers in hexadecimal: Linux, Documentation/networking/proc_net_tcp.rst).
awk '$4 == "0A" { n = split($2, at, ":"); print "port", at[n] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u

# 192.0.2.1 is nowhere (RFC 5737): nothing is sent, the kernel only says from which address it would be.
say address "$(ip -4 -o route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')"
say server "$(echo "${SSH_CONNECTION:-}" | awk '{ print $3 }')"
ip -4 -o address show 2>/dev/null | awk '{ print "network", $2, $4 }'
ip -4 -o route show 2>/dev/null | awk '$1 != "default" { print "network", "route", $1 }'
exit 0
