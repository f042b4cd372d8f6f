# Starts the container runtime, now and at each boot, and the kubelet where it has its configuration.
set -eu
modprobe -a br_netfilter overlay
for program in /usr/lib/systemd/systemd-sysctl /lib/systemd/systemd-sysctl; do
	[ -x "$program" ] && break
done
"$program" /etc/sysctl.d/90-skiff.conf
systemctl daemon-reload
systemctl enable --quiet skiff-network.service containerd.service kubelet.service
systemctl start skiff-network.service containerd.service
systemctl start --no-block kubelet.service
