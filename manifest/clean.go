package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// clean takes out of raised what the user did not write: the status and every default that the conversion filled in.
// What the new version has under another name, or must have, stays. It returns what the user should know.
func clean(object, raised map[string]any) []string {
	delete(raised, "status")
	rules := keptIn(raised)
	cleaner := cleaner{keep: rules.keep, moved: append(rules.moved, "/status")}
	cleaner.walk("", object, raised)

	var notes []string
	if at(raised, "spec", "selector") != nil && at(object, "spec", "selector") == nil && at(object, "spec", "template") != nil {
		notes = append(notes, "spec.selector added from template labels")
	}
	if slices.ContainsFunc(cleaner.kept, func(path string) bool { return strings.HasSuffix(path, "/pathType") }) {
		notes = append(notes, "pathType ImplementationSpecific added")
	}
	if slices.Contains(cleaner.kept, "/spec/updateStrategy") {
		notes = append(notes, "updateStrategy OnDelete added, the default of the old version")
	}
	if selector, ok := at(raised, "spec", "selector").(map[string]any); ok && len(selector) == 0 && raised["kind"] == "PodDisruptionBudget" {
		notes = append(notes, "an empty selector meant no pods and now means all")
	}
	for _, path := range cleaner.lost {
		notes = append(notes, fmt.Sprintf("%s dropped, the new version has no such field", strings.ReplaceAll(path[1:], "/", ".")))
	}
	return notes
}

// kept names the paths of a kind where old and new form differ; "*" stands for one step, and a path stands for all below.
type kept struct {
	keep  []string // in the new form, although the user did not write it
	moved []string // in the old form, and not lost when the new form lacks it
}

func keptIn(raised map[string]any) kept {
	switch text(raised, "kind") {
	case "Deployment", "ReplicaSet":
		return kept{keep: []string{"/spec/selector"}}
	case "DaemonSet", "StatefulSet":
		if text(raised, "spec", "updateStrategy", "type") == "OnDelete" {
			return kept{keep: []string{"/spec/selector", "/spec/updateStrategy"}}
		}
		return kept{keep: []string{"/spec/selector"}}
	case "Ingress":
		backend := "/spec/rules/*/http/paths/*/backend"
		return kept{
			keep:  []string{"/spec/defaultBackend", backend, "/spec/rules/*/http/paths/*/pathType"},
			moved: []string{"/spec/backend", backend},
		}
	case "EndpointSlice":
		return kept{keep: []string{"/endpoints/*"}, moved: []string{"/endpoints/*/topology"}}
	case "PriorityLevelConfiguration":
		return kept{keep: []string{"/spec/limited"}, moved: []string{"/spec/limited/assuredConcurrencyShares"}}
	case "FlowSchema":
		return kept{keep: []string{"/spec/matchingPrecedence"}}
	case "CertificateSigningRequest":
		return kept{keep: []string{"/spec/signerName"}}
	case "Event":
		return kept{keep: []string{"/reportingController"}}
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		// The defaults of the two versions differ: what the old file meant must be written out.
		var keep []string
		for _, field := range []string{"failurePolicy", "matchPolicy", "timeoutSeconds", "sideEffects", "admissionReviewVersions"} {
			keep = append(keep, "/webhooks/*/"+field)
		}
		return kept{keep: keep}
	}
	return kept{}
}

// cleaner walks old and new form side by side.
type cleaner struct {
	keep, moved []string
	kept        []string // paths that stay although the user did not write them
	lost        []string // paths that the user wrote and the new form lacks
}

func (c *cleaner) walk(path string, before, after any) {
	switch before := before.(type) {
	case map[string]any:
		after, ok := after.(map[string]any)
		if !ok {
			return
		}
		for _, key := range slices.Sorted(maps.Keys(before)) {
			if _, ok := after[key]; !ok && !empty(before[key]) && !matches(c.moved, path+"/"+key) {
				c.lost = append(c.lost, path+"/"+key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(after)) {
			_, written := before[key]
			switch {
			case matches(c.keep, path+"/"+key):
				if !written {
					c.kept = append(c.kept, path+"/"+key)
				}
			case !written:
				delete(after, key)
			default:
				c.walk(path+"/"+key, before[key], after[key])
			}
		}
	case []any:
		after, ok := after.([]any)
		if !ok || len(after) != len(before) {
			return
		}
		for i := range before {
			c.walk(fmt.Sprintf("%s/%d", path, i), before[i], after[i])
		}
	}
}

// matches says whether path is one of the patterns or lies below one.
func matches(patterns []string, path string) bool {
	steps := strings.Split(path, "/")
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		wanted := strings.Split(pattern, "/")
		if len(wanted) > len(steps) {
			return false
		}
		for i, want := range wanted {
			if want != "*" && want != steps[i] {
				return false
			}
		}
		return true
	})
}

// empty says whether a value means the same as its absence.
func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case bool:
		return !value
	case map[string]any:
		for _, field := range value {
			if !empty(field) {
				return false
			}
		}
		return true
	case []any:
		return len(value) == 0
	}
	return fmt.Sprint(value) == "0"
}

// copyOf copies an object in depth.
func copyOf(object map[string]any) map[string]any {
	copied, _ := copyValue(object).(map[string]any)
	return copied
}

func copyValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key, field := range value {
			copied[key] = copyValue(field)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, item := range value {
			copied[i] = copyValue(item)
		}
		return copied
	}
	return value
}
