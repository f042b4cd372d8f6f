package manifest

import (
	"context"
	"fmt"
	"strings"
)

// raiseAutoscaler raises a HorizontalPodAutoscaler of autoscaling/v2beta1 to autoscaling/v2. kubectl convert no longer
// knows that version; the two differ in how a metric is written (k8s.io/api v0.24, autoscaling/v2beta1 and v2).
func raiseAutoscaler(_ context.Context, _ Converter, object map[string]any) (map[string]any, []string, error) {
	raised := copyOf(object)
	raised["apiVersion"] = "autoscaling/v2"
	delete(raised, "status")
	metrics, _ := at(raised, "spec", "metrics").([]any)
	for i, item := range metrics {
		metric, _ := item.(map[string]any)
		kind := text(metric, "type")
		if kind == "" {
			return nil, nil, fmt.Errorf("spec.metrics[%d].type is missing", i)
		}
		field := strings.ToLower(kind[:1]) + kind[1:]
		source, ok := metric[field].(map[string]any)
		if !ok {
			return nil, nil, fmt.Errorf("spec.metrics[%d].%s is missing", i, field)
		}
		target, err := raiseMetric(kind, source)
		if err != nil {
			return nil, nil, fmt.Errorf("spec.metrics[%d]: %w", i, err)
		}
		metric[field] = target
	}
	return raised, raiseScaleTarget(raised), nil
}

func raiseMetric(kind string, source map[string]any) (map[string]any, error) {
	named := func(selector string) map[string]any {
		metric := map[string]any{"name": source["metricName"]}
		if source[selector] != nil {
			metric["selector"] = source[selector]
		}
		return metric
	}
	var out, target map[string]any
	switch kind {
	case "Resource", "ContainerResource":
		out = map[string]any{"name": source["name"]}
		if source["container"] != nil {
			out["container"] = source["container"]
		}
		target = metricTarget(source, map[string]string{"targetAverageUtilization": "Utilization", "targetAverageValue": "AverageValue"})
	case "Pods":
		out = map[string]any{"metric": named("selector")}
		target = metricTarget(source, map[string]string{"targetAverageValue": "AverageValue"})
	case "Object":
		out = map[string]any{"metric": named("selector"), "describedObject": source["target"]}
		target = metricTarget(source, map[string]string{"targetValue": "Value", "averageValue": "AverageValue"})
	case "External":
		out = map[string]any{"metric": named("metricSelector")}
		target = metricTarget(source, map[string]string{"targetValue": "Value", "targetAverageValue": "AverageValue"})
	default:
		return nil, fmt.Errorf("type %q is not known", kind)
	}
	if target == nil {
		return nil, fmt.Errorf("%s names no target value", kind)
	}
	out["target"] = target
	return out, nil
}

// metricTarget makes the new form of the target that is given; an average goes before a plain value, as it did.
func metricTarget(source map[string]any, types map[string]string) map[string]any {
	fields := map[string]string{"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}
	for _, want := range []string{"Utilization", "AverageValue", "Value"} {
		for field, kind := range types {
			if kind == want && !empty(source[field]) {
				return map[string]any{"type": kind, fields[kind]: source[field]}
			}
		}
	}
	return nil
}

// raiseScaleTarget lets an autoscaler point at the version that its target is raised to; the controller looks the
// target up by that version and would not find it.
func raiseScaleTarget(object map[string]any) []string {
	reference, ok := at(object, "spec", "scaleTargetRef").(map[string]any)
	if !ok {
		return nil
	}
	switch version := text(reference, "apiVersion"); version {
	case "extensions/v1beta1", "apps/v1beta1", "apps/v1beta2":
		reference["apiVersion"] = "apps/v1"
		return []string{"spec.scaleTargetRef: " + version + " -> apps/v1"}
	}
	return nil
}
