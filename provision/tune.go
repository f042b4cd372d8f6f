package provision

import "strconv"

// tuneScript is a part of pushScript: it gives etcd, the controllers and the kubelet of a machine that has booted the value of
// GOMAXPROCS in $processors, none if that is empty. What executes the machine may be another thing than when it was made, as where
// the user was let at KVM since. It runs before the API server does, in the folder of manifests, and changes nothing that is right.
// A file is made elsewhere and then moved, as the kubelet takes all that is in the folder for pods. In kubeadm's files the
// environment comes right before the image.
const tuneScript = `
		umask 077
		for f in etcd.yaml ../skiff/kube-controller-manager.yaml ../skiff/kube-scheduler.yaml; do
			[ -e "$f" ] || continue
			awk -v processors="$processors" '
				/^    - name: GOMAXPROCS$/ { value = 1; next }
				value { value = 0; next }
				/^    env:$/ { env = 1; next }
				env && !listed && /^    - / { print "    env:"; listed = 1 }
				/^    image:/ {
					env = 0
					if (processors != "" && !listed) print "    env:"
					if (processors != "") print "    - name: GOMAXPROCS\n      value: \"" processors "\""
				}
				{ print }' "$f" >../skiff/tuned && { cmp -s ../skiff/tuned "$f" || mv ../skiff/tuned "$f"; }
		done
		if [ -e /var/lib/kubelet/kubeadm-flags.env ]; then
			awk -v processors="$processors" '!/^GOMAXPROCS=/ { print } END { if (processors != "") print "GOMAXPROCS=" processors }' \
				/var/lib/kubelet/kubeadm-flags.env >../skiff/tuned &&
				{ cmp -s ../skiff/tuned /var/lib/kubelet/kubeadm-flags.env || { mv ../skiff/tuned /var/lib/kubelet/kubeadm-flags.env && begin=restart; }; }
		fi
		rm -f ../skiff/tuned
`

// processors is the value of GOMAXPROCS; empty for none.
func (c Config) processors() string {
	if c.Tuning.GoProcessors == 0 {
		return ""
	}
	return strconv.Itoa(c.Tuning.GoProcessors)
}
