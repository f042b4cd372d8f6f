package addons

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// How long to look for the reason after a wait has ended in vain.
const diagnoseFor = 10 * time.Second

// Wait returns once everything that the addon lists as ready is so. When the deadline of ctx passes first, the error says
// what is missing: of the kind fail.AddonFailed where pods say what ails them (an image that cannot be pulled, a container
// that crashes), else fail.WaitTimeout. A cancelled ctx gives an error that wraps ctx.Err. When nothing has changed for a while,
// stalled, which may be nil, is told the same, each text once.
func Wait(ctx context.Context, config *rest.Config, a Addon, stalled func(text string)) error {
	c, err := newClient(config)
	if err != nil {
		return err
	}
	tasks, groupCtx := errgroup.WithContext(ctx)
	var lock sync.Mutex
	missing := map[Reference]string{}
	changed := make(chan struct{}, 1)
	for _, ref := range a.Ready {
		lock.Lock()
		missing[ref] = "not found"
		lock.Unlock()
		tasks.Go(func() error {
			return c.waitReady(groupCtx, ref, func(state string) {
				lock.Lock()
				defer lock.Unlock()
				if missing[ref] != state {
					select {
					case changed <- struct{}{}:
					default:
					}
				}
				if missing[ref] = state; state == "" {
					delete(missing, ref)
				}
			})
		})
	}
	said := map[string]bool{}
	end := whileStalled(groupCtx, changed, func(ctx context.Context) {
		lock.Lock()
		now := maps.Clone(missing)
		lock.Unlock()
		_, states, reasons := c.problems(ctx, a, now)
		text := "addon " + a.Name + ": " + strings.Join(append(states, reasons...), "; ")
		if stalled != nil && ctx.Err() == nil && len(states) > 0 && !said[text] {
			said[text] = true
			stalled(text)
		}
	})
	err = tasks.Wait()
	end()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return c.explain(ctx, a, missing)
	case ctx.Err() != nil:
		return fmt.Errorf("wait for addon %s: %w", a.Name, err)
	}
	return fail.New(fail.AddonFailed, "wait for addon "+a.Name, "%w", err)
}

// waitReady tells report what the object still lacks, "" once it is ready, and then returns.
func (c *client) waitReady(ctx context.Context, ref Reference, report func(state string)) error {
	var resource dynamic.ResourceInterface
	err := c.retry(ctx, func() (err error) {
		resource, err = c.resource(ref.APIVersion, ref.Kind, ref.Namespace)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	err = c.observe(ctx, resource, ref.Name, func(object *unstructured.Unstructured) (bool, error) {
		state, err := lacks(object)
		report(state)
		return state == "", err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return nil
}

// observe calls done with the object's present state, and again after each change, until done returns true or an error, or
// ctx ends. An object that does not exist is nil.
func (c *client) observe(ctx context.Context, resource dynamic.ResourceInterface, name string, done func(*unstructured.Unstructured) (bool, error)) error {
	selector := fields.OneTermEqualSelector("metadata.name", name).String()
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		var list *unstructured.UnstructuredList
		err := c.retry(ctx, func() (err error) {
			list, err = resource.List(ctx, metav1.ListOptions{FieldSelector: selector})
			return err
		})
		if err != nil {
			return err
		}
		var object *unstructured.Unstructured
		if len(list.Items) > 0 {
			object = &list.Items[0]
		}
		if ok, err := done(object); ok || err != nil {
			return err
		}
		ok, err := follow(ctx, resource, metav1.ListOptions{FieldSelector: selector, ResourceVersion: list.GetResourceVersion()}, done)
		if ok || err != nil && !transient(err) {
			return err
		}
		select { // the watch ended, as watches do: look again
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// follow passes what a watch reports to done, until that is content or the watch ends.
func follow(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions, done func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	watcher, err := resource.Watch(ctx, options)
	if err != nil {
		return false, err
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, open := <-watcher.ResultChan():
			object, ok := event.Object.(*unstructured.Unstructured)
			switch {
			case !open, !ok, event.Type == watch.Error:
				return false, nil
			case event.Type == watch.Deleted:
				object = nil
			case event.Type == watch.Bookmark:
				continue
			}
			if ok, err := done(object); ok || err != nil {
				return ok, err
			}
		}
	}
}

// lacks says what keeps the object from being ready, "" when nothing does. An error means that it never will be.
func lacks(object *unstructured.Unstructured) (string, error) {
	if object == nil {
		return "not found", nil
	}
	number := func(path ...string) int64 {
		value, _, _ := unstructured.NestedInt64(object.Object, path...)
		return value
	}
	if number("status", "observedGeneration") < object.GetGeneration() && hasStatus(object.GetKind()) {
		return "no controller has looked at it yet", nil
	}
	var want, updated, ready int64
	switch object.GetKind() {
	case "Deployment", "StatefulSet":
		want = 1
		if value, found, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); found {
			want = value
		}
		updated, ready = number("status", "updatedReplicas"), number("status", "availableReplicas")
	case "DaemonSet":
		want = number("status", "desiredNumberScheduled")
		updated, ready = number("status", "updatedNumberScheduled"), number("status", "numberAvailable")
		if want == 0 {
			return "no node for it", nil
		}
	case "Job":
		if failed := condition(object, "Failed"); failed != nil {
			return "failed", fmt.Errorf("failed: %v", failed["message"])
		}
		if condition(object, "Complete") == nil {
			return "not complete", nil
		}
	}
	if updated < want || ready < want {
		state := fmt.Sprintf("%d of %d pods ready", min(updated, ready), want)
		if refused := condition(object, "ReplicaFailure"); refused != nil {
			state += fmt.Sprintf(" (%v)", refused["message"])
		}
		return state, nil
	}
	return "", nil
}

// hasStatus says whether the kind's controller reports the generation that it has seen.
func hasStatus(kind string) bool {
	return kind == "Deployment" || kind == "StatefulSet" || kind == "DaemonSet"
}

// condition returns the object's condition of that type when it is true, else nil.
func condition(object *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range conditions {
		if fields, ok := item.(map[string]any); ok && fields["type"] == kind && fields["status"] == "True" {
			return fields
		}
	}
	return nil
}

const (
	// patience is how long a wait goes without a change before it says why, and again after each lookTick, as reasons come late.
	patience = 20 * time.Second
	lookTick = 5 * time.Second
)

// whileStalled calls say when nothing has changed for patience, and again and again, until end is called or ctx ends; end returns
// once say has.
func whileStalled(ctx context.Context, changed <-chan struct{}, say func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var task sync.WaitGroup
	task.Go(func() {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				timer.Reset(patience)
			case <-timer.C:
				say(ctx)
				timer.Reset(lookTick)
			}
		}
	})
	return func() {
		cancel()
		task.Wait()
	}
}

// problems says what is missing of an addon, in its order, why pods say it is, and in which namespace the last of that is.
func (c *client) problems(ctx context.Context, a Addon, missing map[Reference]string) (namespace string, states, reasons []string) {
	for _, ref := range a.Ready {
		state, ok := missing[ref]
		if !ok {
			continue
		}
		namespace = ref.Namespace
		states = append(states, ref.String()+": "+state)
		reasons = append(reasons, c.podProblems(ctx, ref)...)
	}
	return namespace, states, reasons
}

// explain makes the error for a wait that took too long.
func (c *client) explain(ctx context.Context, a Addon, missing map[Reference]string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnoseFor)
	defer cancel()
	namespace, states, reasons := c.problems(ctx, a, missing)
	id := fail.WaitTimeout
	if len(reasons) > 0 {
		id = fail.AddonFailed
	}
	failure := fail.New(id, "wait for addon "+a.Name, "%s", strings.Join(append(states, reasons...), "; "))
	if namespace != "" {
		failure.WithNext("skiff kubectl -- -n %s describe pods", namespace)
	}
	return failure
}
