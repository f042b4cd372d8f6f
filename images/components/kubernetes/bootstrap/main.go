// Command bootstrap prints what an API server of this version creates when it starts for the first time: roles and their
// bindings, flow control, priority classes and namespaces, and beside them the service accounts that the
// controller-manager makes for its controllers. Each object stands with its key in etcd. The objects come from where the
// API server has them, so that it finds nothing to change.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	scheduling "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// entry is one object in etcd.
type entry struct {
	Key   string         `json:"key"`
	Value runtime.Object `json:"value"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
		os.Exit(1)
	}
}

func run() error {
	var entries []entry
	var problem error
	add := func(resource string, object runtime.Object) {
		kinds, _, err := legacyscheme.Scheme.ObjectKinds(object)
		if err != nil {
			problem = err
			return
		}
		object.GetObjectKind().SetGroupVersionKind(kinds[0])
		metadata := object.(meta.ObjectMetaAccessor).GetObjectMeta()
		entries = append(entries, entry{path.Join("/registry", resource, metadata.GetNamespace(), metadata.GetName()), object})
	}
	for _, name := range []string{meta.NamespaceDefault, meta.NamespaceSystem, meta.NamespacePublic, core.NamespaceNodeLease} {
		add("namespaces", &core.Namespace{
			ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{core.LabelMetadataName: name}},
			Spec:       core.NamespaceSpec{Finalizers: []core.FinalizerName{core.FinalizerKubernetes}},
			Status:     core.NamespaceStatus{Phase: core.NamespaceActive},
		})
	}
	for _, class := range scheduling.SystemPriorityClasses() {
		add("priorityclasses", class)
	}
	for _, level := range slices.Concat(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations) {
		add("prioritylevelconfigurations", level.DeepCopy())
	}
	for _, schema := range slices.Concat(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas) {
		add("flowschemas", schema.DeepCopy())
	}
	for _, role := range slices.Concat(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()) {
		add("clusterroles", &role)
	}
	for _, binding := range slices.Concat(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()) {
		add("clusterrolebindings", &binding)
	}
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		for _, role := range roles {
			add("roles", &role)
		}
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range bindings {
			add("rolebindings", &binding)
		}
	}
	for _, binding := range bootstrappolicy.ControllerRoleBindings() {
		for _, subject := range binding.Subjects {
			if subject.Kind == rbac.ServiceAccountKind && subject.Namespace == meta.NamespaceSystem {
				add("serviceaccounts", &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Namespace: subject.Namespace, Name: subject.Name}})
			}
		}
	}
	if problem != nil {
		return problem
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Key, b.Key) })
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return a.Key == b.Key })
	return json.NewEncoder(os.Stdout).Encode(entries)
}
