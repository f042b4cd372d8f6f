package addons

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	fieldManager = "skiff"
	// An object with this annotation is left as it is once it exists with the same value of it, until the time in
	// annotationRenew (RFC 3339) has come.
	annotationKeep  = "skiff.dev/keep"
	annotationRenew = "skiff.dev/renew-after"
)

// Options change how Enable works.
type Options struct {
	DryRun bool // the API server checks everything and keeps nothing; needs the addon's namespace to exist
}

// Enable makes the objects be in the cluster as they are given, by server-side apply: namespaces first, then kinds, then
// rights and configuration, then what runs, and of that last what the addon lists as ready; each group at once. It takes
// fields over from whoever else set them. It may be called again at any time and then changes what differs. While the API
// server is starting or busy, or does not serve a kind yet, it goes on trying until ctx ends, so ctx should have a deadline.
// It does not wait for pods; see Wait.
// Errors are of the kind fail.AddonFailed, or wrap ctx.Err.
func Enable(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured, options Options) error {
	c, err := newClient(config)
	if err != nil {
		return err
	}
	for _, group := range ordered(objects) {
		tasks, groupCtx := errgroup.WithContext(ctx)
		for _, object := range group {
			tasks.Go(func() error {
				err := c.retry(groupCtx, func() error { return c.apply(groupCtx, object, options) })
				if err != nil {
					return fmt.Errorf("apply %s: %w", referenceTo(object), err)
				}
				return nil
			})
		}
		if err := tasks.Wait(); err != nil {
			return failure(ctx, "enable", objects, err)
		}
	}
	return nil
}

func (c *client) apply(ctx context.Context, object *unstructured.Unstructured, options Options) error {
	resource, err := c.resource(object.GetAPIVersion(), object.GetKind(), object.GetNamespace())
	if err != nil {
		return err
	}
	if object.GetAnnotations()[annotationKeep] != "" {
		existing, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err == nil && keeps(existing, object, time.Now()) {
			return nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	apply := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if options.DryRun {
		apply.DryRun = []string{metav1.DryRunAll}
	}
	_, err = resource.Apply(ctx, object.GetName(), object, apply)
	return err
}

// keeps says whether the existing object may stay in place of the wanted one.
func keeps(existing, wanted *unstructured.Unstructured, now time.Time) bool {
	have := existing.GetAnnotations()
	renew, err := time.Parse(time.RFC3339, have[annotationRenew])
	return have[annotationKeep] == wanted.GetAnnotations()[annotationKeep] && err == nil && now.Before(renew) &&
		existing.GetDeletionTimestamp() == nil
}

// ordered groups the objects by when they are to be applied, the first group first; no group is empty.
func ordered(objects []*unstructured.Unstructured) [][]*unstructured.Unstructured {
	var groups [5][]*unstructured.Unstructured
	for _, object := range objects {
		groups[rank(object)] = append(groups[rank(object)], object)
	}
	return slices.DeleteFunc(groups[:], func(group []*unstructured.Unstructured) bool { return len(group) == 0 })
}

// rank puts before an object what it may need: a pod is refused before its service account and its secrets exist, and
// what is refused is tried again only seconds later.
func rank(object *unstructured.Unstructured) int {
	if object.GetAnnotations()[annotationRevision] != "" {
		return 4 // says that all the others are there
	}
	switch object.GetKind() {
	case "Namespace":
		return 0
	case "CustomResourceDefinition", "PriorityClass":
		return 1
	case "Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob", "Pod":
		return 3
	}
	if resource, _ := builtin(object.GroupVersionKind().GroupVersion(), object.GetKind()); resource == "" {
		return 3 // a kind of the addon's own
	}
	return 2
}

// failure makes an error of an addon what a user should see; an interruption stays what it is.
func failure(ctx context.Context, verb string, objects []*unstructured.Unstructured, err error) error {
	name := ""
	if len(objects) > 0 {
		name = objects[0].GetLabels()[LabelAddon] // of every object that Render returns
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s addon %s: %w", verb, name, err)
	}
	return fail.New(fail.AddonFailed, verb+" addon "+name, "%w", err).WithNext("skiff addons %s %s", verb, name).
		WithHint("Nothing is lost: the same command continues where this one ended.")
}

// Disable removes the objects in the opposite order of Enable and returns when they are gone, or when ctx ends. Objects
// that do not exist are no error. A namespace of the addon goes with everything in it.
func Disable(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	c, err := newClient(config)
	if err != nil {
		return err
	}
	groups := ordered(objects)
	slices.Reverse(groups)
	for _, group := range groups {
		tasks, groupCtx := errgroup.WithContext(ctx)
		for _, object := range group {
			tasks.Go(func() error {
				if err := c.remove(groupCtx, object); err != nil {
					return fmt.Errorf("delete %s: %w", referenceTo(object), err)
				}
				return nil
			})
		}
		if err := tasks.Wait(); err != nil {
			return failure(ctx, "disable", objects, err)
		}
	}
	return nil
}

// remove deletes the object, and what it owns, and waits until it is gone.
func (c *client) remove(ctx context.Context, object *unstructured.Unstructured) error {
	foreground := metav1.DeletePropagationForeground
	var resource dynamic.ResourceInterface
	err := c.retry(ctx, func() error {
		found, err := c.resource(object.GetAPIVersion(), object.GetKind(), object.GetNamespace())
		if err == nil {
			resource = found
			err = resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &foreground})
		}
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) { // a kind that is not served has no objects
			resource, err = nil, nil
		}
		return err
	})
	if err != nil || resource == nil {
		return err
	}
	return c.observe(ctx, resource, object.GetName(), func(found *unstructured.Unstructured) (bool, error) {
		return found == nil, nil
	})
}
