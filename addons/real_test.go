package addons

import (
	"os"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// TestRealAPIServer enables every addon in the cluster of SKIFF_TEST_KUBECONFIG, which may be an API server alone, twice,
// and disables it, twice; with SKIFF_TEST_KEEP it ends after enabling.
func TestRealAPIServer(t *testing.T) {
	path := os.Getenv("SKIFF_TEST_KUBECONFIG")
	if path == "" {
		t.Skip("SKIFF_TEST_KUBECONFIG names no cluster")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	addons, err := Catalog()
	if err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t, 2*time.Minute)
	for _, addon := range addons {
		objects, err := Render(addon, Values{Address: testAddress})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := Enable(ctx, config, objects, Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if enabled, err := Status(ctx, config); err != nil || !enabled[addon.Name] {
			t.Errorf("got %v and error %v, want %s enabled", enabled, err, addon.Name)
		}
		if os.Getenv("SKIFF_TEST_KEEP") != "" {
			continue
		}
		for range 2 {
			if err := Disable(ctx, config, objects); err != nil {
				t.Fatal(err)
			}
		}
		if enabled, err := Status(ctx, config); err != nil || enabled[addon.Name] {
			t.Errorf("got %v and error %v, want %s disabled", enabled, err, addon.Name)
		}
	}
}
