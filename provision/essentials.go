package provision

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io"
	"text/template"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// applyPause is how long to wait before an object is tried again that the API server does not take yet.
const applyPause = 300 * time.Millisecond

// Essentials returns the objects of kube-proxy and CoreDNS, in the order in which they are to be made. They are made
// from the host, which costs the guest a few requests; kubeadm would first have to start there.
func (c Config) Essentials() ([]runtime.Object, error) {
	proxy, err := c.proxy()
	if err != nil {
		return nil, err
	}
	proxyConfig, err := yaml.Marshal(proxy)
	if err != nil {
		return nil, fmt.Errorf("write configuration of kube-proxy: %w", err)
	}
	values := struct {
		Config
		Kubeconfig, ProxyConfig, DNSAddress string
	}{c, c.proxyKubeconfig(), string(proxyConfig), c.DNSAddress().String()}
	var objects []runtime.Object
	for _, name := range []string{"kube-proxy.yaml", "coredns.yaml"} {
		source, err := template.ParseFS(manifests, "manifests/"+name)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		var text bytes.Buffer
		if err := source.Execute(&text, values); err != nil {
			return nil, fmt.Errorf("render manifest: %w", err)
		}
		more, err := decode(&text)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", name, err)
		}
		objects = append(objects, more...)
	}
	return objects, nil
}

func (c Config) proxyKubeconfig() string {
	return `apiVersion: v1
kind: Config
clusters:
- name: default
  cluster:
    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    server: ` + c.nodeURL() + `
contexts:
- name: default
  context:
    cluster: default
    namespace: default
    user: default
current-context: default
users:
- name: default
  user:
    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
`
}

func decode(text io.Reader) ([]runtime.Object, error) {
	var objects []runtime.Object
	reader := utilyaml.NewYAMLOrJSONDecoder(text, 4096)
	for {
		var raw runtime.RawExtension
		if err := reader.Decode(&raw); err == io.EOF { //nolint:errorlint // never wrapped
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(raw.Raw)) == 0 || string(raw.Raw) == "null" {
			continue
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw.Raw, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// applyEssentials makes the objects as soon as the API server takes them. What is there already is brought up to date.
func applyEssentials(ctx context.Context, client kubernetes.Interface, objects []runtime.Object) error {
	ticker := time.NewTicker(applyPause)
	defer ticker.Stop()
	for _, object := range objects {
		for {
			err := apply(ctx, client, object)
			if err == nil {
				break
			}
			if final(err) {
				return fmt.Errorf("create %T: %w", object, err)
			}
			select {
			case <-ticker.C: // the API server, or the namespace, is not there yet
			case <-ctx.Done():
				return fmt.Errorf("create %T: %w; last answer: %w", object, ctx.Err(), err)
			}
		}
	}
	return nil
}

func final(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsUnauthorized(err)
}

func apply(ctx context.Context, client kubernetes.Interface, object runtime.Object) error {
	const ns = meta.NamespaceSystem
	switch o := object.(type) {
	case *core.ServiceAccount:
		return create(ctx, client.CoreV1().ServiceAccounts(ns), o)
	case *core.ConfigMap:
		return replace(ctx, client.CoreV1().ConfigMaps(ns), o)
	case *core.Service:
		return create(ctx, client.CoreV1().Services(ns), o)
	case *rbac.ClusterRole:
		return replace(ctx, client.RbacV1().ClusterRoles(), o)
	case *rbac.ClusterRoleBinding:
		return create(ctx, client.RbacV1().ClusterRoleBindings(), o)
	case *rbac.Role:
		return replace(ctx, client.RbacV1().Roles(ns), o)
	case *rbac.RoleBinding:
		return create(ctx, client.RbacV1().RoleBindings(ns), o)
	case *apps.Deployment:
		return replace(ctx, client.AppsV1().Deployments(ns), o)
	case *apps.DaemonSet:
		return replace(ctx, client.AppsV1().DaemonSets(ns), o)
	}
	return fmt.Errorf("no way to create a %T", object)
}

type creator[T any] interface {
	Create(ctx context.Context, object T, options meta.CreateOptions) (T, error)
}

type replacer[T any] interface {
	creator[T]
	Update(ctx context.Context, object T, options meta.UpdateOptions) (T, error)
}

func create[T any](ctx context.Context, client creator[T], object T) error {
	_, err := client.Create(ctx, object, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func replace[T any](ctx context.Context, client replacer[T], object T) error {
	_, err := client.Create(ctx, object, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = client.Update(ctx, object, meta.UpdateOptions{})
	}
	return err
}
