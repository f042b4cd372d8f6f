package cluster_test

import (
	"slices"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
)

// TestStallsAreTold: what a wait waits for is an event of its own kind, which is shown without -v too.
func TestStallsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Kubernetes = clustertest.Kubernetes{Stalls: "etcd has not been started yet"}
	w.starts(w.options())
	count := 0
	for _, e := range w.events {
		if e.Kind == cluster.Waiting && e.Text == "etcd has not been started yet" && e.Profile == "dev" {
			count++
		}
	}
	if count != 2 { // bringing it up, and waiting until it is usable
		t.Errorf("events: got %v, want two that say what is waited for", w.events)
	}
}

// TestNodeFailedIsRepaired: the machine stays, for whoever corrects the cause, and the next start continues.
func TestNodeFailedIsRepaired(t *testing.T) {
	t.Parallel()
	for point, then := range map[string]string{"kubernetes.up": "kubernetes services kubeconfig wait", "kubernetes.wait": ""} {
		w := newWorld(t)
		w.breaks(clustertest.Fault{Point: point, How: string(fail.NodeFailed)})
		o := w.options()
		o.Wanted.ExtraConfig = []string{"apiserver.vv=4"}
		w.fails(o, fail.NodeFailed)
		w.wantState("Running")
		w.breaks()
		w.did()
		o = w.options()
		if point == "kubernetes.up" {
			o.Wanted.ExtraConfig = []string{"apiserver.v=4"}
		}
		started := w.starts(o)
		if steps, _ := w.did(); steps != then {
			t.Errorf("%s: the next start took the steps %q, want %q", point, steps, then)
		}
		if point == "kubernetes.up" && !slices.Equal(started.Config.ExtraConfig, o.Wanted.ExtraConfig) {
			t.Errorf("got the settings %q, want those that the next start names", started.Config.ExtraConfig)
		}
		if got := w.status(); got != allWell {
			t.Errorf("%s: status: got %q, want %q", point, got, allWell)
		}
	}
}

// TestNodeFailedOfAFullDisk: the error that names the way out is the disk's.
func TestNodeFailedOfAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver.Responses = fake.Responses{df("10")}
	w.breaks(clustertest.Fault{Point: "kubernetes.up", How: string(fail.NodeFailed)})
	w.fails(w.options(), fail.GuestDiskFull)
}
