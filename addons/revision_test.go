package addons

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/skiff-k8s/skiff/fail"
)

func TestCurrent(t *testing.T) {
	t.Parallel()
	addon, _ := ingress(t)
	otherSettings, otherAddress := testValues, testValues
	otherSettings.Settings = map[string]string{"logLevel": "DEBUG"}
	otherAddress.Address = netip.MustParseAddr("127.77.9.1")
	for _, test := range []struct {
		name   string
		values Values
		change func(api *fakeAPI)
		want   bool
	}{
		{name: "as before", values: testValues, want: true},
		{name: "a user's change", values: testValues, want: true, change: func(api *fakeAPI) {
			deployment := api.get(deploymentPath)
			if err := unstructured.SetNestedField(deployment.Object, int64(3), "spec", "replicas"); err != nil {
				t.Error(err)
			}
		}},
		{name: "other settings", values: otherSettings},
		{name: "another address", values: otherAddress},
		{name: "no deployment", values: testValues, change: func(api *fakeAPI) { api.remove(deploymentPath) }},
		{name: "no certificate", values: testValues, change: func(api *fakeAPI) { api.remove(secretPath) }},
		{name: "a certificate near its end", values: testValues, change: func(api *fakeAPI) {
			secret := api.get(secretPath)
			annotations := maps.Clone(secret.GetAnnotations())
			annotations[annotationRenew] = "2020-01-01T00:00:00Z"
			secret.SetAnnotations(annotations)
		}},
		{name: "of a skiff that marked nothing", values: testValues, change: func(api *fakeAPI) {
			api.get(deploymentPath).SetAnnotations(nil)
		}},
		{name: "about to go", values: testValues, change: func(api *fakeAPI) {
			api.get(deploymentPath).Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			ctx := deadline(t, time.Minute)
			before, err := Render(addon, testValues)
			if err != nil {
				t.Fatal(err)
			}
			if err := Enable(ctx, api.config, before, Options{}); err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(api)
			}
			test.values.Certificate = KeyPair{} // another each time, as in use
			now, err := Render(addon, test.values)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Current(ctx, api.config, now); got != test.want || err != nil {
				t.Errorf("got %v and error %v, want %v", got, err, test.want)
			}
		})
	}
}

// A run that ended before what it applies last is no run that ended.
func TestCurrentAfterHalfARun(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	_, objects := ingress(t)
	ctx := deadline(t, time.Minute)
	api.refuse[deploymentPath] = []int{403}
	if err := Enable(ctx, api.config, objects, Options{}); !fail.Is(err, fail.AddonFailed) {
		t.Fatalf("got error %v, want AddonFailed", err)
	}
	if got, err := Current(ctx, api.config, objects); got || err != nil {
		t.Errorf("got %v and error %v, want false", got, err)
	}
}
