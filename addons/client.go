package addons

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// How long to wait between two tries of a request that may succeed later.
const retryEvery = 500 * time.Millisecond

// client talks to one API server. It is safe for concurrent use.
type client struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

func newClient(config *rest.Config) (*client, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // a handful of requests to a server of our own: nobody needs to be spared
	shared, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	objects, err := dynamic.NewForConfigAndClient(config, shared)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	kinds, err := discovery.NewDiscoveryClientForConfigAndClient(config, shared)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return &client{dynamic: objects, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))}, nil
}

// resource returns where objects of the kind are found. Kinds that every cluster has are known here, as asking the API
// server for all its kinds takes seconds under emulation.
func (c *client) resource(apiVersion, kind, namespace string) (dynamic.ResourceInterface, error) {
	group, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, err
	}
	resource, namespaced := builtin(group, kind)
	if resource == "" {
		mapping, err := c.mapper.RESTMapping(group.WithKind(kind).GroupKind(), group.Version)
		if err != nil {
			return nil, err
		}
		resource, namespaced = mapping.Resource.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace
	}
	if found := c.dynamic.Resource(group.WithResource(resource)); !namespaced {
		return found, nil
	}
	return c.dynamic.Resource(group.WithResource(resource)).Namespace(namespace), nil
}

// builtin returns the resource of a kind that every cluster serves; "" for other kinds.
func builtin(group schema.GroupVersion, kind string) (resource string, namespaced bool) {
	type entry struct {
		resource   string
		namespaced bool
	}
	kinds := map[schema.GroupVersion]map[string]entry{
		{Version: "v1"}: {
			"Namespace": {"namespaces", false}, "ServiceAccount": {"serviceaccounts", true}, "Secret": {"secrets", true},
			"ConfigMap": {"configmaps", true}, "Service": {"services", true}, "Pod": {"pods", true},
			"PersistentVolume": {"persistentvolumes", false}, "PersistentVolumeClaim": {"persistentvolumeclaims", true},
		},
		{Group: "apps", Version: "v1"}: {
			"Deployment": {"deployments", true}, "DaemonSet": {"daemonsets", true}, "StatefulSet": {"statefulsets", true},
		},
		{Group: "batch", Version: "v1"}: {"Job": {"jobs", true}, "CronJob": {"cronjobs", true}},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}: {
			"Role": {"roles", true}, "RoleBinding": {"rolebindings", true},
			"ClusterRole": {"clusterroles", false}, "ClusterRoleBinding": {"clusterrolebindings", false},
		},
		{Group: "networking.k8s.io", Version: "v1"}: {
			"Ingress": {"ingresses", true}, "IngressClass": {"ingressclasses", false}, "NetworkPolicy": {"networkpolicies", true},
		},
		{Group: "storage.k8s.io", Version: "v1"}:         {"StorageClass": {"storageclasses", false}, "CSIDriver": {"csidrivers", false}},
		{Group: "policy", Version: "v1"}:                 {"PodDisruptionBudget": {"poddisruptionbudgets", true}},
		{Group: "apiextensions.k8s.io", Version: "v1"}:   {"CustomResourceDefinition": {"customresourcedefinitions", false}},
		{Group: "apiregistration.k8s.io", Version: "v1"}: {"APIService": {"apiservices", false}},
		{Group: "scheduling.k8s.io", Version: "v1"}:      {"PriorityClass": {"priorityclasses", false}},
	}
	found := kinds[group][kind]
	return found.resource, found.namespaced
}

// retry repeats do until it succeeds, fails for good, or ctx ends; then the error says both.
func (c *client) retry(ctx context.Context, do func() error) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	var last error
	for {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil: // what went wrong before says more than that the time is over
			return errors.Join(err, last)
		case !transient(err):
			return err
		}
		last = err
		if meta.IsNoMatchError(err) {
			c.mapper.Reset() // the kind may be served by now
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// transient says whether the same request may succeed a moment later: the server is starting, busy or gone for a moment,
// a kind is not served yet, or the namespace is still being removed by a disable before.
func transient(err error) bool {
	var status *apierrors.StatusError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case meta.IsNoMatchError(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return true
	case errors.As(err, &status):
		code := status.ErrStatus.Code
		return code == http.StatusTooManyRequests || code >= 500
	}
	return utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) ||
		utilnet.IsTimeout(err) || utilnet.IsHTTP2ConnectionLost(err)
}
