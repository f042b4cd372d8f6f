package addons

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
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
