package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// byHand brings a cluster up in the guest as one does by hand: kubeadm makes its RSA keys and takes all its steps one after the
// other, then the node is allowed to run pods, and one waits for the same as skiff does. The components are the same; the mode
// of kube-proxy is the only one that the guest has programs for. Its standard input is kubeadm's configuration.
const byHand = `set -e
cat >/tmp/kubeadm.yaml
kubeadm init --config /tmp/kubeadm.yaml --ignore-preflight-errors=all >/tmp/kubeadm.log 2>&1 || { tail -n 20 /tmp/kubeadm.log >&2; exit 1; }
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null
kubectl wait nodes --all --for=condition=Ready --timeout=10m >/dev/null
kubectl wait --namespace default --for=create serviceaccount/default --timeout=10m >/dev/null
kubectl wait --namespace kube-system --for=condition=Available deployment/coredns --timeout=10m >/dev/null
kubectl wait --namespace kube-system --for=condition=Ready pods --all --timeout=10m >/dev/null`

const byHandConfig = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  criSocket: unix:///run/containerd/containerd.sock
timeouts: {controlPlaneComponentHealthCheck: 10m0s, kubernetesAPICall: 5m0s}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.2
networking: {podSubnet: 10.244.0.0/16}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
`

// clear takes away what skiff has brought up, down to what the guest image has.
const clear = `kubeadm reset --force >/dev/null 2>&1
rm -rf /etc/kubernetes /var/lib/etcd /var/lib/kubelet/* /tmp/kubeadm.*
nft delete table ip kube-proxy; nft delete table ip6 kube-proxy; sync`

// baseline measures what skiff is compared with: the boot of the machine that is there, as the cold start told it, and then a
// cluster brought up in it by hand. It leaves a machine that is good for nothing else.
func (b *bench) baseline(ctx context.Context) error {
	boot, err := bootTime(b.phases)
	if err != nil {
		return err
	}
	var times []time.Duration
	for range b.repeats {
		if _, _, err := b.command(ctx, "ssh", "--", "sh", "-c", clear); err != nil {
			return err
		}
		took, _, err := b.commandWith(ctx, strings.NewReader(byHandConfig), "ssh", "--", "sh", "-c", byHand)
		if err != nil {
			return fmt.Errorf("bring a cluster up by hand: %w", err)
		}
		times = append(times, boot+took)
	}
	b.addMedian(handmade, times, 0)
	return nil
}

// bootTime finds in what `start -v` told how long the machine took to boot.
func bootTime(phases string) (time.Duration, error) {
	_, boot, found := strings.Cut(phases, "] Boot machine ")
	_, boot, done := strings.Cut(boot, "done in ")
	if !found || !done {
		return 0, fmt.Errorf("the start told of no boot:\n%s", phases)
	}
	text, _, _ := strings.Cut(boot, "\n")
	return time.ParseDuration(strings.TrimSpace(text))
}
