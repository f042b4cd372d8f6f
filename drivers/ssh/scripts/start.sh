# Starts the container runtime, now and at each boot, and the kubelet where it has its configuration.
set -eu
# What is built into the kernel may be unknown to modprobe: its marks tell, as in look.sh.
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter
awk '$NF == "overlay" { found = 1 } END { exit !found }' /proc/filesystems || modprobe overlay
for program in /usr/lib/systemd/systemd-sysctl /lib/systemd/systemd-sysctl; do
	[ -x "$program" ] && break
done
"$program" /etc/sysctl.d/90-skiff.conf
systemctl daemon-reload
systemctl enable --quiet skiff-network.service containerd.service kubelet.service
systemctl start skiff-network.service containerd.service
systemctl start --no-block kubelet.service
