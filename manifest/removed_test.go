package manifest

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
)

// The newest minor version whose removals the table must hold.
const servedMinor = 37

// TestRemovalsAreComplete compares the table with what k8s.io/api says of itself.
func TestRemovalsAreComplete(t *testing.T) {
	t.Parallel()
	// Never in a manifest: answers, requests and the bodies of subresources.
	requests := []string{"Scale", "DeploymentRollback", "Eviction", "AdmissionReview", "TokenReview", "APIGroupDiscovery"}
	table := removals()
	for kind, goType := range scheme.Scheme.AllKnownTypes() {
		object, err := scheme.Scheme.New(kind)
		if err != nil {
			t.Fatalf("%s of %s: %v", kind, goType, err)
		}
		key := gvk{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}
		life, ok := object.(interface{ APILifecycleRemoved() (int, int) })
		if !ok || strings.HasSuffix(kind.Kind, "List") || strings.HasSuffix(kind.Kind, "Review") {
			continue
		}
		if strings.Contains(kind.Version, "alpha") || slices.Contains(requests, kind.Kind) {
			continue // alpha versions were never served without being asked for
		}
		_, minor := life.APILifecycleRemoved()
		_, listed := table[key]
		switch {
		case minor <= servedMinor && !listed:
			t.Errorf("%s of %s was removed in 1.%d and is not in the table", key.Kind, key.APIVersion, minor)
		case minor > servedMinor && listed:
			t.Errorf("%s of %s is in the table and removed only in 1.%d", key.Kind, key.APIVersion, minor)
		}
	}
	for key, rule := range table {
		if (rule.refuse == "") != (rule.raise != nil) {
			t.Errorf("%v: got refuse %q and raise %t, want one of the two", key, rule.refuse, rule.raise != nil)
		}
	}
}
