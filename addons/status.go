package addons

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Status says of every addon of the catalog whether it is enabled: whether an object that it lists as ready exists and is
// not being deleted. It asks once per kind of such objects.
func Status(ctx context.Context, config *rest.Config) (map[string]bool, error) {
	addons, err := Catalog()
	if err != nil {
		return nil, err
	}
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	type kind struct{ apiVersion, kind string }
	kinds := map[kind]bool{}
	enabled := map[string]bool{}
	for _, addon := range addons {
		enabled[addon.Name] = false
		for _, ref := range addon.Ready {
			kinds[kind{ref.APIVersion, ref.Kind}] = true
		}
	}
	var lock sync.Mutex
	tasks, ctx := errgroup.WithContext(ctx)
	for kind := range kinds {
		tasks.Go(func() error {
			names, err := c.owners(ctx, kind.apiVersion, kind.kind)
			if err != nil {
				return fmt.Errorf("list addons: %s: %w", kind.kind, err)
			}
			lock.Lock()
			defer lock.Unlock()
			for _, name := range names {
				if _, known := enabled[name]; known {
					enabled[name] = true
				}
			}
			return nil
		})
	}
	if err := tasks.Wait(); err != nil {
		return nil, err
	}
	return enabled, nil
}

// Present returns the addon with those of its ready objects alone that the cluster has now, and are not being deleted. An older
// skiff may have made them, and others than this one would. None means that the addon is not there.
func Present(ctx context.Context, config *rest.Config, a Addon) (Addon, error) {
	c, err := newClient(config)
	if err != nil {
		return a, err
	}
	var there []Reference
	for _, ref := range a.Ready {
		err := c.retry(ctx, func() error {
			resource, err := c.resource(ref.APIVersion, ref.Kind, ref.Namespace)
			if err != nil {
				return err
			}
			object, err := resource.Get(ctx, ref.Name, metav1.GetOptions{})
			if err == nil && object.GetDeletionTimestamp() == nil && object.GetLabels()[LabelAddon] == a.Name {
				there = append(there, ref)
			}
			return err
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return a, fmt.Errorf("look for addon %s: %s: %w", a.Name, ref, err)
		}
	}
	a.Ready = there
	return a, nil
}

// owners returns the addons to which objects of the kind belong, in all namespaces.
func (c *client) owners(ctx context.Context, apiVersion, kind string) ([]string, error) {
	resource, err := c.resource(apiVersion, kind, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	list, err := resource.List(ctx, metav1.ListOptions{LabelSelector: LabelAddon})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, item := range list.Items {
		if item.GetDeletionTimestamp() == nil {
			names = append(names, item.GetLabels()[LabelAddon])
		}
	}
	return names, nil
}
