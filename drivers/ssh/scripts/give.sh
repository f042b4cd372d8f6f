# Gives the machine back as it was before cluster $1. $2 are the folders that take.sh has looked at. What stop.sh does has
# been done.
set -u
root=/var/lib/skiff
read -r owner 2>/dev/null <$root/owner || exit 0
[ "$owner" = "$1" ] || exit 0 # another cluster's, and none of our business
failed=0
before() { grep -qxF -e "$1" "$root/before/$2" 2>/dev/null; }

if [ -e $root/put ]; then
	while read -r path; do
		rm -f "$path" "${path%/*}/.skiff.part"
		if [ -e "$root/replaced$path" ] || [ -L "$root/replaced$path" ]; then
			mkdir -p "${path%/*}" && cp -a "$root/replaced$path" "$path" || failed=1
		fi
	done <$root/put
fi
for dir in $2; do
	[ -e "$dir" ] || continue
	if ! before "$dir" paths; then
		rm -rf --one-file-system "$dir" || failed=1
		continue
	fi
	find "$dir" -xdev -depth | while read -r path; do
		if ! before "$path" paths; then rm -rf --one-file-system "$path"; fi
	done
done

for program in iptables ip6tables; do
	command -v "$program" >/dev/null || continue
	# The kubelet's own chains; it makes them where there is iptables.
	"$program-save" 2>/dev/null | grep -q KUBE- && "$program-save" | grep -v KUBE- | "$program-restore"
done
nft list tables | while read -r _ family name; do
	before "table $family $name" tables && continue
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
# Modules that something else uses stay. Each round frees further ones.
for _ in 1 2 3 4 5; do
	for module in $(awk '$3 == 0 { print $1 }' /proc/modules); do
		before "$module" modules && continue
		case $module in
		br_netfilter | bridge | stp | llc | veth | overlay | nf_* | nft_* | xt_* | nfnetlink* | ip_tables | ip6_tables | x_tables | libcrc32c) rmmod "$module" 2>/dev/null ;;
		esac
	done
done
systemctl daemon-reload
systemctl reset-failed containerd.service kubelet.service skiff-network.service 2>/dev/null
[ $failed = 0 ] || exit 1
rm -rf $root/before $root/put $root/stamps $root/replaced || exit 1
rm -f /run/skiff-tunnel
rm -f $root/owner
rmdir $root
