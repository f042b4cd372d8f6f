# Prints digest and path of every file that was put and has not been changed since.
root=/var/lib/skiff
[ -e $root/stamps ] || exit 0
while read -r digest size inode changed path; do
	[ "$(stat -c '%s %i %.9Z' "$path" 2>/dev/null)" = "$size $inode $changed" ] && echo "$digest $path"
done <$root/stamps
exit 0
