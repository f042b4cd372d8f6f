# Ends all that a cluster runs on the machine, as powering off would, and keeps it from starting at the next boot.
present() { systemctl cat "$1" >/dev/null 2>&1; }
end() { if present "$1"; then systemctl disable --quiet --now "$1"; fi; }
pods=/sys/fs/cgroup/kubepods.slice
running() { find $pods -name cgroup.procs -exec cat {} + 2>/dev/null; }

end kubelet.service || exit 1
# Ten seconds for etcd and the pods to end in order.
list=$(running)
if [ -n "$list" ]; then
	kill $list 2>/dev/null
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -z "$(running)" ] && break
		sleep 1
	done
	echo 1 >$pods/cgroup.kill
fi
end containerd.service || exit 1
end skiff-network.service || exit 1
# The processes that stand between containerd and containers outlive both.
shims=/sys/fs/cgroup/system.slice/containerd.service/cgroup.kill
[ ! -e $shims ] || echo 1 >$shims
systemctl stop kubepods.slice 2>/dev/null

# Mounts of before are none of ours: somebody may have given /var/lib/containerd a disk of its own. In the list, spaces and
# the like are written in octal (proc_pid_mounts(5)).
before=/var/lib/skiff/before/mounts
awk '{ print $2 }' /proc/self/mounts | grep -E '^/(run/containerd|var/lib/kubelet|var/lib/containerd)(/|$)|^/run/netns/cni-' | sort -r |
	while read -r mount; do
		grep -qxF -e "$mount" $before 2>/dev/null && continue
		mount=$(printf '%b' "$mount")
		umount "$mount" 2>/dev/null || umount -l "$mount"
	done
rm -f /run/netns/cni-*
rm -rf /run/containerd
if [ -e /sys/class/net/cni0 ]; then ip link delete cni0; fi
for table in 'ip skiff' 'ip kube-proxy' 'ip6 kube-proxy' 'ip cni_hostport' 'ip6 cni_hostport'; do
	nft delete table $table 2>/dev/null
done
exit 0
