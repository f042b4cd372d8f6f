# Gives the machine back as it was before cluster $1. $2 are the folders that take.sh has looked at. What stop.sh does has
# been done.
set -u
root=/var/lib/skiff
read -r owner 2>/dev/null <$root/owner || exit 0
[ "$owner" = "$1" ] || exit 0 # another cluster's, and none of our business
failed=0
before() { grep -qxF -e "$1" "$root/before/$2" 2>/dev/null; }
# mounted lists what is mounted in the folder $1 that was not before. Removing the folder would remove what is there.
mounted() {
	awk '{ print $2 }' /proc/self/mounts | while read -r mount; do
		case $mount in "$1" | "$1"/*) before "$mount" mounts || echo "$mount" ;; esac
	done
}

if [ -e $root/put ]; then
	while read -r path; do
		rm -f "$path" "${path%/*}/.skiff.part" || failed=1
		if [ -e "$root/replaced$path" ] || [ -L "$root/replaced$path" ]; then
			mkdir -p "${path%/*}" && cp -a "$root/replaced$path" "$path" || failed=1
		fi
	done <$root/put
fi
# Without the list of before nothing tells what is whose. An earlier run has been cut off after this part then.
folders=$2
[ -e $root/before/paths ] || folders=
for dir in $folders; do
	[ -e "$dir" ] || continue
	busy=$(mounted "$dir")
	if [ -n "$busy" ]; then
		echo "still mounted: $busy" >&2
		failed=1
		continue
	fi
	if ! before "$dir" paths; then
		rm -rf --one-file-system "$dir" || failed=1
		continue
	fi
	find "$dir" -xdev -depth | (
		failed=0
		while IFS= read -r path; do
			case $path in
			"$dir"/*) before "$path" paths || rm -rf --one-file-system "$path" || failed=1 ;;
			esac
		done
		exit $failed
	) || failed=1
done

for program in iptables ip6tables; do
	command -v "$program" >/dev/null || continue
	# The kubelet's own chains; it makes them where there is iptables.
	"$program-save" 2>/dev/null | grep -q KUBE- && "$program-save" | grep -v KUBE- | "$program-restore"
done
nft list tables | while read -r _ family name; do
	before "table $family $name" tables && continue
	# Somebody may have begun to use a table that the kubelet's chains were in.
	nft list table "$family" "$name" | grep -qvE '^[[:space:]]*((table|chain) .*\{|type .*; policy accept;|\}|#.*)?$' && continue
	case "$family $name" in
	'ip mangle' | 'ip nat' | 'ip filter' | 'ip6 mangle' | 'ip6 nat' | 'ip6 filter') nft delete table "$family" "$name" ;;
	esac
done
if [ -e $root/before/settings ]; then
	while read -r key value; do
		[ ! -w "/proc/sys/$key" ] || echo "$value" >"/proc/sys/$key" || failed=1
	done <$root/before/settings
fi
profiles=/sys/kernel/security/apparmor/.remove
[ ! -w $profiles ] || printf cri-containerd.apparmor.d >$profiles 2>/dev/null
if mountpoint -q /run/netns 2>/dev/null && [ -z "$(ls -A /run/netns)" ]; then umount /run/netns && rmdir /run/netns; fi
# brought lists the modules that came with the cluster, and how much each is used.
brought() {
	[ -e /proc/modules ] || return 0 # a kernel without modules
	awk '{ print $1, $3 }' /proc/modules | while read -r module uses; do
		before "$module" modules && continue
		case $module in
		br_netfilter | bridge | stp | llc | veth | overlay | nf_* | nft_* | xt_* | nfnetlink* | ip_tables | ip6_tables | x_tables | libcrc32c | crc32c_*) echo "$module $uses" ;;
		esac
	done
}
# Modules that something else uses stay. Each round frees further ones; the kernel takes a moment to let go of the networks of
# pods that have ended.
[ -e $root/before/modules ] && for _ in 1 2 3 4 5 6 7; do
	left=$(brought)
	[ -n "$left" ] || break
	echo "$left" | while read -r module uses; do
		[ "$uses" != 0 ] || rmmod "$module" 2>/dev/null
	done
	[ "$(brought)" != "$left" ] || sleep 1
done
systemctl daemon-reload
systemctl reset-failed containerd.service kubelet.service skiff-network.service 2>/dev/null
[ $failed = 0 ] || exit 1
rm -rf $root/before $root/put $root/stamps $root/replaced || exit 1
rm -f /run/skiff-tunnel
rm -f $root/owner || exit 1
rmdir $root 2>/dev/null # somebody else's file there is no reason to fail
exit 0
