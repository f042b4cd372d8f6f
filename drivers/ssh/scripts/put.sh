# Puts its input of $4 bytes at $1 with the mode $2 and the digest $3; with the mode "link" a link to $5. What was there
# before is kept for the end. Whenever this is cut off: a path is in the list only after what was there is safe.
set -eu
path=$1 root=/var/lib/skiff
dir=${path%/*}
if ! grep -qxF -e "$path" $root/put 2>/dev/null; then
	if [ -e "$path" ] || [ -L "$path" ]; then
		mkdir -p "$root/replaced$dir"
		rm -rf "$root/replaced$path.part"
		cp -a "$path" "$root/replaced$path.part"
		mv -fT "$root/replaced$path.part" "$root/replaced$path"
	fi
	echo "$path" >>$root/put
	sync $root/put
fi
mkdir -p "$dir"
part=$dir/.skiff.part
rm -f "$part"
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM
if [ "$2" = link ]; then
	ln -s "$5" "$part"
else
	cat >"$part"
	if [ "$(wc -c <"$part")" -ne "$4" ]; then
		echo "only a part has arrived" >&2
		exit 1
	fi
	chmod "$2" "$part"
	sync "$part" # the stamp below must not outlive the content when power is lost
fi
mv -fT "$part" "$path"
echo "$3 $(stat -c '%s %i %.9Z' "$path") $path" >>$root/stamps
