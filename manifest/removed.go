package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// gvk names a kind of object in one API version.
type gvk struct{ APIVersion, Kind string }

// rule says what becomes of a kind whose API version was removed.
type rule struct {
	refuse    string // why it cannot be raised; empty: it can
	clustered bool   // the kind lives outside namespaces
	raise     func(ctx context.Context, conv Converter, object map[string]any) (map[string]any, []string, error)
}

// removals returns what Kubernetes 1.37 no longer serves and stood in manifests once. The facts are those of the
// "Deprecated API Migration Guide" (kubernetes.io/docs/reference/using-api/deprecation-guide) and of the methods
// APILifecycleRemoved in k8s.io/api, against which a test compares the table.
func removals() map[gvk]rule {
	table := map[gvk]rule{}
	add := func(r rule, apiVersion string, kinds ...string) {
		for _, kind := range kinds {
			table[gvk{apiVersion, kind}] = r
		}
	}
	namespaced, clustered := rule{raise: convert}, rule{raise: convert, clustered: true}
	for _, apiVersion := range []string{"extensions/v1beta1", "apps/v1beta1", "apps/v1beta2"} {
		add(namespaced, apiVersion, "Deployment", "DaemonSet", "ReplicaSet", "StatefulSet", "ControllerRevision")
	}
	add(namespaced, "extensions/v1beta1", "Ingress", "NetworkPolicy")
	add(namespaced, "networking.k8s.io/v1beta1", "Ingress")
	add(clustered, "networking.k8s.io/v1beta1", "IngressClass", "IPAddress", "ServiceCIDR")
	add(namespaced, "policy/v1beta1", "PodDisruptionBudget")
	add(namespaced, "batch/v1beta1", "CronJob")
	add(namespaced, "discovery.k8s.io/v1beta1", "EndpointSlice")
	add(namespaced, "events.k8s.io/v1beta1", "Event")
	add(namespaced, "coordination.k8s.io/v1beta1", "Lease")
	add(namespaced, "rbac.authorization.k8s.io/v1beta1", "Role", "RoleBinding")
	add(clustered, "rbac.authorization.k8s.io/v1beta1", "ClusterRole", "ClusterRoleBinding")
	add(clustered, "storage.k8s.io/v1beta1", "CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass")
	add(namespaced, "storage.k8s.io/v1beta1", "CSIStorageCapacity")
	add(clustered, "scheduling.k8s.io/v1beta1", "PriorityClass")
	add(clustered, "node.k8s.io/v1beta1", "RuntimeClass")
	add(clustered, "certificates.k8s.io/v1beta1", "CertificateSigningRequest")
	add(clustered, "admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
	for _, version := range []string{"v1beta1", "v1beta2", "v1beta3"} {
		add(clustered, "flowcontrol.apiserver.k8s.io/"+version, "FlowSchema", "PriorityLevelConfiguration")
	}

	// Two that kubectl convert does not know, and which are the same but for the version.
	add(rule{raise: rename("apiregistration.k8s.io/v1"), clustered: true}, "apiregistration.k8s.io/v1beta1", "APIService")
	add(rule{raise: rename("autoscaling/v2")}, "autoscaling/v2beta2", "HorizontalPodAutoscaler")
	add(rule{raise: raiseAutoscaler}, "autoscaling/v2beta1", "HorizontalPodAutoscaler")

	psp := rule{refuse: "Kubernetes removed PodSecurityPolicy in 1.25 and has nothing to raise it to; label namespaces for " +
		"Pod Security Admission instead (pod-security.kubernetes.io/enforce)"}
	add(psp, "policy/v1beta1", "PodSecurityPolicy")
	add(psp, "extensions/v1beta1", "PodSecurityPolicy")
	add(rule{refuse: "apiextensions.k8s.io/v1 wants a structural schema for each version, which cannot be made from the " +
		"old form; take the definition from a newer release of what it belongs to"}, "apiextensions.k8s.io/v1beta1", "CustomResourceDefinition")
	return table
}

// convert raises an object with the converter, and cleans what it returns.
func convert(ctx context.Context, conv Converter, object map[string]any) (map[string]any, []string, error) {
	encoded, err := json.Marshal(object)
	if err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	output, err := conv.Convert(ctx, encoded)
	if err != nil {
		return nil, nil, err
	}
	raised, err := part{body: output, line: 1}.object()
	if err != nil {
		return nil, nil, fmt.Errorf("read what the conversion returned: %w", err)
	}
	if kindOf(raised) == kindOf(object) {
		return nil, nil, errors.New("the conversion tool knows no newer version")
	}
	notes := clean(object, raised)
	return raised, notes, check(raised)
}

// check finds what the API server would refuse in a raised object, where the reason lies in the old version.
func check(raised map[string]any) error {
	switch text(raised, "kind") {
	case "Deployment", "DaemonSet", "ReplicaSet", "StatefulSet":
		if at(raised, "spec", "selector") == nil {
			return errors.New("spec.selector is missing and cannot be made, as spec.template.metadata.labels is empty")
		}
	case "CertificateSigningRequest":
		if text(raised, "spec", "signerName") == "kubernetes.io/legacy-unknown" {
			return errors.New("spec.signerName is missing and the new version has no default for it; for a client's certificate " +
				"it is kubernetes.io/kube-apiserver-client")
		}
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		webhooks, _ := raised["webhooks"].([]any)
		for i, webhook := range webhooks {
			fields, _ := webhook.(map[string]any)
			if effects := text(fields, "sideEffects"); effects != "None" && effects != "NoneOnDryRun" {
				return fmt.Errorf("webhooks[%d].sideEffects is %q; the new version takes only None and NoneOnDryRun, and only "+
					"the webhook's author knows which is true", i, effects)
			}
		}
	}
	return nil
}

// rename raises a kind whose fields stayed what they were.
func rename(apiVersion string) func(context.Context, Converter, map[string]any) (map[string]any, []string, error) {
	return func(_ context.Context, _ Converter, object map[string]any) (map[string]any, []string, error) {
		raised := copyOf(object)
		raised["apiVersion"] = apiVersion
		delete(raised, "status")
		return raised, raiseScaleTarget(raised), nil
	}
}
