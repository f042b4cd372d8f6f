package cluster_test

import (
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/fail"
)

// TestResumedAddons: an addon is not applied again to a machine that goes on from its memory, unless it is not there. That it fails
// is no reason to give up the memory.
func TestResumedAddons(t *testing.T) {
	t.Parallel()
	refused := clustertest.Fault{Point: "kubernetes.enable", How: string(fail.AddonFailed)}
	for name, test := range map[string]struct {
		before func(w *world)
		faults []clustertest.Fault
		noWait bool
		fails  bool
		boots  bool
	}{
		"is there":               {faults: []clustertest.Fault{refused}},
		"is there, without wait": {faults: []clustertest.Fault{refused}, noWait: true},
		"was removed": {
			before: func(w *world) { w.must(w.DisableAddon(w.t.Context(), "dev", "ingress", w.sink)) },
			faults: []clustertest.Fault{refused}, fails: true,
		},
		"cannot be asked": {
			faults: []clustertest.Fault{{Point: "kubernetes.enableAgain", How: string(fail.AddonFailed)}}, fails: true,
		},
		"boots instead": {
			faults: []clustertest.Fault{refused, {Point: "kubernetes.wake", How: string(fail.ProvisionFailed)}}, fails: true, boots: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.options()
			o.Wanted.Addons, o.NoWait = []string{"ingress"}, test.noWait
			w.starts(o)
			if test.before != nil {
				test.before(w)
			}
			w.stops()
			w.breaks(test.faults...)
			w.did()
			if test.fails {
				w.fails(o, fail.AddonFailed)
			} else {
				w.starts(o)
			}
			if _, warnings := w.did(); (warnings != "") != test.boots {
				t.Errorf("start warned %q", warnings)
			}
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
			if got, want := w.commands("kubeadm"), map[bool]int{false: 1, true: 2}[test.boots]; got != want {
				t.Errorf("Kubernetes was brought up %d times, want %d", got, want)
			}
		})
	}
}

// TestRestoredAddons: a snapshot is restored as it was saved, also where an addon was not there.
func TestRestoredAddons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.Wanted.Addons = []string{"ingress"}
	w.starts(o)
	target := cluster.Target{Files: w.Home.Cluster("dev")}
	w.must(w.Kubernetes.Disable(t.Context(), target, "ingress")) // by hand
	w.saves("one")
	w.restores("one")
	if enabled, err := w.Kubernetes.Enabled(t.Context(), target); err != nil || enabled["ingress"] {
		t.Errorf("after the restore the addons are %v, error %v; want none", enabled, err)
	}
}
