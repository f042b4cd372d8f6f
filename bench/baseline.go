package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// byHand brings a cluster up in the guest as one does by hand: kubeadm makes its RSA keys and takes all its steps one after the
// other, then the node is allowed to run pods, and one waits for the same as skiff does. The components are the same; the mode
// of kube-proxy is the only one that the guest has programs for. Its standard input is kubeadm's configuration.
const byHand = `set -e
begun() { echo "$(cut -d " " -f 1 /proc/uptime) $1"; }
cat >/tmp/kubeadm.yaml
begun "kubeadm init"
kubeadm init --config /tmp/kubeadm.yaml --ignore-preflight-errors=all >/tmp/kubeadm.log 2>&1 || { tail -n 20 /tmp/kubeadm.log >&2; exit 1; }
begun "node, default service account and cluster DNS"
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null
kubectl wait nodes --all --for=condition=Ready --timeout=10m >/dev/null
kubectl wait --namespace default --for=create serviceaccount/default --timeout=10m >/dev/null
kubectl wait --namespace kube-system --for=condition=Available deployment/coredns --timeout=10m >/dev/null
kubectl wait --namespace kube-system --for=condition=Ready pods --all --timeout=10m >/dev/null
begun ""`

// byHandConfig is that configuration, but for the tags that the image has of Kubernetes, etcd and CoreDNS.
const byHandConfig = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  criSocket: unix:///run/containerd/containerd.sock
timeouts: {controlPlaneComponentHealthCheck: 10m0s, kubernetesAPICall: 5m0s}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: %s
networking: {podSubnet: 10.244.0.0/16}
etcd: {local: {imageTag: %s}}
dns: {imageRepository: registry.k8s.io/coredns, imageTag: %s}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
`

// clear takes away what skiff has brought up, down to what the guest image has.
const clear = `kubeadm reset --force >/dev/null 2>&1
rm -rf /etc/kubernetes /var/lib/etcd /var/lib/kubelet/* /tmp/kubeadm.*
nft delete table ip kube-proxy; nft delete table ip6 kube-proxy; sync`

// baseline measures what skiff is compared with: the boot of the machine that is there, from its disk as its second start told
// it, and then a cluster brought up in it by hand. It leaves a machine that is good for nothing else.
func (b *bench) baseline(ctx context.Context) error {
	start := b.find(rebooted)
	boot := slices.IndexFunc(start.Phases, func(p phase) bool { return strings.HasPrefix(p.What, "Boot machine ") })
	if boot < 0 {
		return fmt.Errorf("the start told of no boot: %v", start.Phases)
	}
	images := b.command(ctx, nil, "image", "list")
	if images.err != nil {
		return images.err
	}
	var tags []any
	for _, name := range []string{"registry.k8s.io/kube-apiserver:", "registry.k8s.io/etcd:", "registry.k8s.io/coredns/coredns:"} {
		_, after, found := strings.Cut("\n"+images.printed, "\n"+name)
		tag, _, _ := strings.Cut(after, "\n")
		if !found {
			return fmt.Errorf("the node has no image %s: %s", name, images.printed)
		}
		tags = append(tags, tag)
	}
	config := fmt.Sprintf(byHandConfig, tags...)
	booted := time.Duration(start.Phases[boot].Seconds * float64(time.Second))
	var times timings
	for range b.repeats {
		if err := b.command(ctx, nil, "ssh", "--", "sh", "-c", clear).err; err != nil {
			return err
		}
		done := b.command(ctx, strings.NewReader(config), "ssh", "--", "sh", "-c", byHand)
		if done.err != nil {
			return fmt.Errorf("bring a cluster up by hand: %w", done.err)
		}
		times.whole = append(times.whole, (booted + done.took).Seconds())
		times.addPhase("boot", booted)
		if err := times.addStamps(done.printed); err != nil {
			return err
		}
	}
	b.addTimings(handmade, times, 0)
	return nil
}

// addStamps takes up phases that tell their name when they begin, behind the seconds since the machine's boot. The last line
// has no name, and ends the last phase.
func (t *timings) addStamps(printed string) error {
	begun, last := "", 0.0
	for line := range strings.Lines(printed) {
		stamp, what, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		seconds, err := strconv.ParseFloat(stamp, 64)
		if err != nil {
			return fmt.Errorf("read when a phase began: %w", err)
		}
		if begun != "" {
			t.addPhase(begun, time.Duration((seconds-last)*float64(time.Second)))
		}
		begun, last = what, seconds
	}
	return nil
}
