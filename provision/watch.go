package provision

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// listWatch is a kind of objects.
type listWatch struct {
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// watchPause is how long to wait before a watch that failed is started again.
const watchPause = 200 * time.Millisecond

// until returns nil once check is content with the objects, by their names. It looks at each change. When ctx ends first,
// the error has what check, or the API server, said last.
func until(ctx context.Context, source listWatch, check func(map[string]runtime.Object) error) error {
	ticker := time.NewTicker(watchPause)
	defer ticker.Stop()
	for {
		err := follow(ctx, source, check)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// follow lists and then watches, until check is content or the watch ends.
func follow(ctx context.Context, source listWatch, check func(map[string]runtime.Object) error) error {
	list, err := source.list(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	objects := map[string]runtime.Object{}
	if err := meta.EachListItem(list, func(object runtime.Object) error {
		return put(objects, watch.Added, object)
	}); err != nil {
		return err
	}
	problem := check(objects)
	if problem == nil {
		return nil
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	watcher, err := source.watch(ctx, metav1.ListOptions{ResourceVersion: accessor.GetResourceVersion()})
	if err != nil {
		return fmt.Errorf("%w; %w", problem, err)
	}
	defer watcher.Stop()
	for {
		select {
		case event, open := <-watcher.ResultChan():
			if !open || put(objects, event.Type, event.Object) != nil {
				return problem
			}
			if problem = check(objects); problem == nil {
				return nil
			}
		case <-ctx.Done():
			return problem
		}
	}
}

// put brings objects up to date; an error ends the watch.
func put(objects map[string]runtime.Object, kind watch.EventType, object runtime.Object) error {
	if kind == watch.Error || kind == watch.Bookmark {
		return fmt.Errorf("the watch ended: %v", object)
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	if kind == watch.Deleted {
		delete(objects, accessor.GetName())
		return nil
	}
	objects[accessor.GetName()] = object
	return nil
}
