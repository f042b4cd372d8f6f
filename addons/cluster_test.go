package addons

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/skiff-k8s/skiff/fail"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	namespacePath  = "/api/v1/namespaces/ingress-nginx"
	secretPath     = namespacePath + "/secrets/default-certificate"
	deploymentPath = "/apis/apps/v1/namespaces/ingress-nginx/deployments/ingress-nginx-controller"
)

func ingress(t *testing.T) (Addon, []*unstructured.Unstructured) {
	t.Helper()
	addon, err := Find("ingress")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Render(addon, testValues)
	if err != nil {
		t.Fatal(err)
	}
	return addon, objects
}

func deadline(t *testing.T, after time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	t.Cleanup(cancel)
	return ctx
}

func TestEnable(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	api.refuse[namespacePath] = []int{http.StatusServiceUnavailable}
	_, objects := ingress(t)
	ctx := deadline(t, time.Minute)

	if err := Enable(ctx, api.config, objects, Options{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if api.get(namespacePath) != nil {
		t.Error("got a namespace of a dry run, want nothing kept")
	}
	before := len(api.requests())
	if err := Enable(ctx, api.config, objects, Options{}); err != nil {
		t.Fatal(err)
	}
	log := api.requests()[before:]
	if got, want := len(log), len(objects); got != want {
		t.Errorf("got %d requests, want %d:\n%s", got, want, strings.Join(log, "\n"))
	}
	if first, last := log[0], log[len(log)-1]; first != "PATCH "+namespacePath || last != "PATCH "+deploymentPath {
		t.Errorf("got %s first and %s last, want the namespace and the deployment", first, last)
	}

	before = len(api.requests())
	if err := Enable(ctx, api.config, objects, Options{}); err != nil {
		t.Fatal(err)
	}
	again := api.requests()[before:]
	if slices.Contains(again, "PATCH "+secretPath) {
		t.Error("got a new certificate, want the one of before kept")
	}
}

func TestEnableRenewsCertificate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]map[string]string{
		"other address": {annotationKeep: "127.77.9.1"},
		"too old":       {annotationRenew: "2020-01-01T00:00:00Z"},
		"unreadable":    {annotationRenew: "soon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			_, objects := ingress(t)
			at := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Secret" })
			old := objects[at].DeepCopy()
			annotations := old.GetAnnotations()
			maps.Copy(annotations, change)
			old.SetAnnotations(annotations)
			api.set(secretPath, old.Object)
			if err := Enable(deadline(t, time.Minute), api.config, objects, Options{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(objects[at].GetAnnotations(), api.get(secretPath).GetAnnotations()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnableFails(t *testing.T) {
	t.Parallel()
	_, objects := ingress(t)
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		api := newFakeAPI(t)
		api.refuse[deploymentPath] = []int{http.StatusForbidden}
		err := Enable(deadline(t, time.Minute), api.config, objects, Options{})
		if !fail.Is(err, fail.AddonFailed) || !strings.Contains(err.Error(), "enable addon ingress: apply Deployment ingress-nginx/ingress-nginx-controller") {
			t.Errorf("got error %v, want AddonFailed that names the deployment", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		api := newFakeAPI(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Enable(ctx, api.config, objects, Options{}); !errors.Is(err, context.Canceled) || fail.Is(err, fail.AddonFailed) {
			t.Errorf("got error %v, want context.Canceled alone", err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		api := newFakeAPI(t)
		api.config.Host = "http://127.0.0.1:1"
		err := Enable(deadline(t, 3*time.Second), api.config, objects, Options{})
		if !fail.Is(err, fail.AddonFailed) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("got error %v, want AddonFailed with the cause", err)
		}
	})
}

// A kind that is not in the table is looked up, again until it is served.
func TestEnableFindsOtherKinds(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	group := map[string]any{"name": "example.org", "versions": []any{map[string]any{"groupVersion": "example.org/v1", "version": "v1"}}}
	api.set("/api", map[string]any{"apiVersion": "v1", "kind": "APIVersions", "versions": []any{"v1"}})
	api.set("/api/v1", map[string]any{"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "v1", "resources": []any{}})
	api.set("/apis", map[string]any{"apiVersion": "v1", "kind": "APIGroupList", "groups": []any{}})
	widget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.org/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "namespace": "n"},
	}}
	done := make(chan error, 1)
	go func() {
		done <- Enable(deadline(t, time.Minute), api.config, []*unstructured.Unstructured{widget}, Options{})
	}()
	time.AfterFunc(300*time.Millisecond, func() {
		api.set("/apis/example.org/v1", map[string]any{
			"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "example.org/v1",
			"resources": []any{map[string]any{"name": "widgets", "kind": "Widget", "namespaced": true, "verbs": []any{"get"}}},
		})
		api.set("/apis", map[string]any{"apiVersion": "v1", "kind": "APIGroupList", "groups": []any{group}})
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if api.get("/apis/example.org/v1/namespaces/n/widgets/w") == nil {
		t.Errorf("got no object; requests: %v", api.requests())
	}
}

func TestDisable(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	_, objects := ingress(t)
	ctx := deadline(t, time.Minute)
	if err := Enable(ctx, api.config, objects, Options{}); err != nil {
		t.Fatal(err)
	}
	// The namespace stays a while, as a real one does, and is gone before Disable returns.
	api.onDelete = func(object *unstructured.Unstructured) bool {
		if object.GetKind() != "Namespace" {
			return false
		}
		time.AfterFunc(200*time.Millisecond, func() { api.remove(namespacePath) })
		return true
	}
	before := len(api.requests())
	if err := Disable(ctx, api.config, objects); err != nil {
		t.Fatal(err)
	}
	log := api.requests()[before:]
	if log[0] != "DELETE "+deploymentPath || log[len(log)-1] != "DELETE "+namespacePath {
		t.Errorf("got %v, want the deployment first and the namespace last", log)
	}
	for _, object := range objects {
		for path, left := range api.objects {
			if left.GetName() == object.GetName() {
				t.Errorf("%s is left", path)
			}
		}
	}
	if err := Disable(ctx, api.config, objects); err != nil {
		t.Errorf("disable twice: got error %v, want none", err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	_, objects := ingress(t)
	check := func(want bool) {
		t.Helper()
		got, err := Status(t.Context(), api.config)
		if err != nil || got["ingress"] != want {
			t.Errorf("got %v and error %v, want ingress %t", got, err, want)
		}
	}
	check(false)
	if err := Enable(deadline(t, time.Minute), api.config, objects, Options{}); err != nil {
		t.Fatal(err)
	}
	check(true)
	leaving := api.get(deploymentPath).DeepCopy()
	now := time.Now().UTC().Format(time.RFC3339)
	if err := unstructured.SetNestedField(leaving.Object, now, "metadata", "deletionTimestamp"); err != nil {
		t.Fatal(err)
	}
	api.set(deploymentPath, leaving.Object)
	check(false)
}

func deployment(generation, observed, updated, available int64) map[string]any {
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "ingress-nginx-controller", "namespace": "ingress-nginx", "generation": generation},
		"spec":     map[string]any{"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"a": "b"}}},
		"status":   map[string]any{"observedGeneration": observed, "updatedReplicas": updated, "availableReplicas": available},
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	addon, _ := ingress(t)
	api := newFakeAPI(t)
	states := []map[string]any{deployment(1, 0, 0, 0), deployment(2, 1, 1, 1), deployment(2, 2, 0, 1), deployment(2, 2, 1, 0), deployment(2, 2, 1, 1)}
	done := make(chan error, 1)
	go func() { done <- Wait(deadline(t, time.Minute), api.config, addon, nil) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i, state := range states {
		select {
		case err := <-done:
			t.Fatalf("returned with error %v before state %d", err, i)
		case <-tick.C:
			api.set(deploymentPath, state)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitSaysWhyNot(t *testing.T) {
	t.Parallel()
	addon, _ := ingress(t)
	pod := func(status map[string]any) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "Pod", "status": status,
			"metadata": map[string]any{"name": "c-1", "namespace": "ingress-nginx", "labels": map[string]any{"a": "b"}},
		}
	}
	container := func(fields map[string]any) map[string]any {
		fields["name"], fields["image"] = "controller", "traefik"
		return map[string]any{"containerStatuses": []any{fields}}
	}
	waiting := func(reason, message string) map[string]any {
		return map[string]any{"waiting": map[string]any{"reason": reason, "message": message}}
	}
	for name, tc := range map[string]struct {
		pod  map[string]any
		id   fail.ID
		want string
	}{
		"slow":  {pod(container(map[string]any{"state": waiting("ContainerCreating", "")})), fail.WaitTimeout, "0 of 1 pods ready"},
		"image": {pod(container(map[string]any{"state": waiting("ImagePullBackOff", "not found")})), fail.AddonFailed, "pod c-1: image traefik cannot be had: not found"},
		"crash": {pod(container(map[string]any{
			"state": waiting("CrashLoopBackOff", "back-off"), "restartCount": int64(4),
			"lastState": map[string]any{"terminated": map[string]any{"exitCode": int64(3), "reason": "OOMKilled"}},
		})), fail.AddonFailed, "pod c-1: container controller ended 4 times, last with status 3 (OOMKilled)"},
		"config": {pod(container(map[string]any{"state": waiting("CreateContainerConfigError", "no secret")})), fail.AddonFailed, "cannot start: no secret"},
		"no node": {pod(map[string]any{"conditions": []any{map[string]any{
			"type": "PodScheduled", "status": "False", "message": "Insufficient memory",
		}}}), fail.AddonFailed, "finds no node: Insufficient memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			api.set(deploymentPath, deployment(1, 1, 1, 0))
			api.set(namespacePath+"/pods/c-1", tc.pod)
			err := Wait(deadline(t, 2*time.Second), api.config, addon, nil)
			var failure *fail.Error
			if !errors.As(err, &failure) || failure.ID != tc.id || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want %s with %q", err, tc.id, tc.want)
			}
			if want := "skiff kubectl -- -n ingress-nginx describe pods"; failure.Next != want {
				t.Errorf("got next %q, want %q", failure.Next, want)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		err := Wait(deadline(t, 2*time.Second), newFakeAPI(t).config, addon, nil)
		if !fail.Is(err, fail.WaitTimeout) || !strings.Contains(err.Error(), "not found") {
			t.Errorf("got error %v, want WaitTimeout", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := Wait(ctx, newFakeAPI(t).config, addon, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want context.Canceled", err)
		}
	})
}

func TestLacks(t *testing.T) {
	t.Parallel()
	object := func(kind string, status map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "status": status}}
	}
	conditions := func(kind string) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": kind, "status": "True", "message": "too many"}}}
	}
	for name, tc := range map[string]struct {
		object *unstructured.Unstructured
		want   string
		final  bool
	}{
		"class exists":     {object: object("StorageClass", nil)},
		"no node":          {object: object("DaemonSet", nil), want: "no node for it"},
		"half of the set":  {object: object("DaemonSet", map[string]any{"desiredNumberScheduled": int64(2), "updatedNumberScheduled": int64(2), "numberAvailable": int64(1)}), want: "1 of 2 pods ready"},
		"whole set":        {object: object("DaemonSet", map[string]any{"desiredNumberScheduled": int64(1), "updatedNumberScheduled": int64(1), "numberAvailable": int64(1)})},
		"job runs":         {object: object("Job", nil), want: "not complete"},
		"job is done":      {object: object("Job", conditions("Complete"))},
		"job failed":       {object: object("Job", conditions("Failed")), want: "failed", final: true},
		"pods are refused": {object: object("Deployment", conditions("ReplicaFailure")), want: "0 of 1 pods ready (too many)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := lacks(tc.object)
			if got != tc.want || (err != nil) != tc.final {
				t.Errorf("got %q and error %v, want %q and an error %t", got, err, tc.want, tc.final)
			}
		})
	}
}
