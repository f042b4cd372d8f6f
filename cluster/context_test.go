package cluster_test

import (
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/fail"
)

// theirs is a kubeconfig of somebody else's cluster that has the name of the tests' profile.
func theirs() []byte { return clustertest.Kubeconfig("dev", "127.9.9.9") }

// TestForeignContext: entries of the profile's name that appear while it is being started must outlive that start, its undo,
// and whatever comes later.
func TestForeignContext(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		at    string
		fault clustertest.Fault
		want  fail.ID
	}{
		{at: "kubernetes", want: fail.KubeconfigForeign},
		{at: "boot", fault: clustertest.Fault{Point: "kubernetes.up", How: string(fail.KubeadmFailed)}, want: fail.KubeadmFailed},
		{at: "wait", fault: clustertest.Fault{Point: "kubernetes.wait", How: string(fail.KubeadmFailed)}, want: fail.KubeadmFailed},
	} {
		t.Run(test.at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.breaks(test.fault)
			_, err := w.Start(t.Context(), w.options(), func(e cluster.Event) {
				if e.Kind == cluster.Began && e.Step == test.at {
					w.must(os.WriteFile(w.Kubeconfig, theirs(), 0o600))
				}
			})
			if !fail.Is(err, test.want) {
				t.Errorf("got error %v, want %s", err, test.want)
			}
			w.untouched()
			w.breaks()
			w.fails(w.options(), fail.KubeconfigForeign)
			for _, force := range []bool{false, true} {
				if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev", Force: force}, w.sink); err != nil {
					t.Error(err)
				}
			}
			w.untouched()
		})
	}
}

// untouched expects somebody else's entries in the kubeconfig and nothing else.
func (w *world) untouched() {
	w.t.Helper()
	if content, err := os.ReadFile(w.Kubeconfig); err != nil || string(content) != string(theirs()) {
		w.t.Errorf("the kubeconfig (%v) is\n%s\nwant\n%s", err, content, theirs())
	}
}

// TestLeftContext: the entry of a cluster whose files are gone must neither be in the way nor stay after delete.
func TestLeftContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	left, err := os.ReadFile(w.Kubeconfig)
	w.must(err)
	if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink); err != nil {
		t.Fatal(err)
	}
	w.must(os.WriteFile(w.Kubeconfig, left, 0o600))
	w.starts(w.options())
	for range 2 { // without a cluster too
		if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink); err != nil {
			t.Fatal(err)
		}
		if content, _ := os.ReadFile(w.Kubeconfig); strings.Contains(string(content), "dev") {
			t.Errorf("after delete there is still\n%s", content)
		}
		w.must(os.WriteFile(w.Kubeconfig, left, 0o600))
	}
}
