# Makes the machine that of cluster $1, after it has written down how the machine is. $2 are the folders whose content is
# to be as before in the end, $3 the kernel settings.
set -eu
umask 022
root=/var/lib/skiff
if read -r owner 2>/dev/null <$root/owner; then
	[ "$owner" = "$1" ] && exit 0
	echo "it belongs to cluster $owner" >&2
	exit 3
fi
# Cut off before it is anybody's, the machine keeps nothing of this.
forget() { [ -e $root/owner ] || rm -rf $root/before "$root/owner.$$"; rmdir $root 2>/dev/null || :; }
trap forget EXIT
trap 'exit 1' HUP INT TERM
rm -rf $root/before $root/put $root/stamps $root/replaced
mkdir -p $root/before
for dir in $2; do find "$dir" -xdev 2>/dev/null || :; done >$root/before/paths
for key in $3; do
	if [ -r "/proc/sys/$key" ]; then echo "$key $(cat "/proc/sys/$key")"; fi
done >$root/before/settings
# A kernel without modules has no such file, and then there are none to be removed.
if [ -e /proc/modules ]; then awk '{ print $1 }' /proc/modules; fi >$root/before/modules
nft list tables >$root/before/tables
awk '{ print $2 }' /proc/self/mounts >$root/before/mounts
sync $root/before/*
# A second host at the same moment: one of the two links.
echo "$1" >"$root/owner.$$"
if ! ln "$root/owner.$$" $root/owner 2>/dev/null; then
	rm -f "$root/owner.$$"
	echo "it belongs to cluster $(cat $root/owner)" >&2
	exit 3
fi
rm -f "$root/owner.$$"
