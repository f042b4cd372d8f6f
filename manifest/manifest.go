// Package manifest reads Kubernetes manifests and raises those whose API version Kubernetes no longer serves, so that a
// file written years ago can be applied today. What needs no raising leaves the package byte for byte as it came. Applying
// is the caller's work.
package manifest

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"sigs.k8s.io/yaml"
)

// Converter turns one object of an old API version into the version that Kubernetes prefers today. Both are JSON. What it
// returns may carry every default of the old version; this package takes them out again.
type Converter interface {
	Convert(ctx context.Context, object []byte) ([]byte, error)
}

// Change is one object that was raised.
type Change struct {
	File      string // as Raise was told
	Line      int    // where the object's document begins, counted from 1
	Kind      string
	Namespace string // as the manifest says; empty when it names none or the kind has none
	Name      string
	From, To  string   // apiVersion before and after
	Notes     []string // what else differs, for the user to know; in the order of importance
	clustered bool     // the kind lives outside namespaces
}

// String is the line that a user reads: where, what, from and to which version, and what else differs.
func (c Change) String() string {
	name := c.Name
	if !c.clustered {
		namespace := c.Namespace
		if namespace == "" {
			namespace = "default"
		}
		name = namespace + "/" + name
	}
	notes := ""
	if len(c.Notes) > 0 {
		notes = " (" + strings.Join(c.Notes, ", ") + ")"
	}
	return fmt.Sprintf("%s: %s %s: %s -> %s%s", c.File, c.Kind, name, c.From, c.To, notes)
}

// Raise returns the manifest in with every object of a removed API version raised, and what it changed. Documents that
// need nothing are copied byte for byte, comments and line endings included; with no changes, out is in. A raised YAML
// document keeps the comments that stand before its first line and after its last, and loses those between.
//
// name is what messages call the manifest, mostly its path. Errors are of the kind fail.ManifestInvalid and name the
// line, or wrap ctx.Err.
func Raise(ctx context.Context, conv Converter, name string, in []byte) (out []byte, changes []Change, err error) {
	parts, err := split(in)
	if err != nil {
		return nil, nil, invalid(name, 1, err)
	}
	var buf bytes.Buffer
	for _, part := range parts {
		raised, made, err := raisePart(ctx, conv, part)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, fmt.Errorf("raise manifest %s: %w", name, err)
			}
			return nil, nil, invalid(name, part.contentLine(), err)
		}
		for i := range made {
			made[i].File, made[i].Line = name, part.contentLine()
		}
		changes = append(changes, made...)
		buf.Write(raised)
	}
	if len(changes) == 0 {
		return in, nil, nil
	}
	return buf.Bytes(), changes, nil
}

func invalid(name string, line int, err error) error {
	return fail.New(fail.ManifestInvalid, "read manifest "+name, "document at line %d: %w", line, err)
}

// raisePart returns the part's bytes as they should be written.
func raisePart(ctx context.Context, conv Converter, part part) ([]byte, []Change, error) {
	if part.blank() {
		return part.raw(), nil, nil
	}
	object, err := part.object()
	if err != nil {
		return nil, nil, err
	}
	raised, changes, err := raiseObject(ctx, conv, object)
	if err != nil || len(changes) == 0 {
		return part.raw(), nil, err
	}
	out, err := part.replace(raised)
	return out, changes, err
}

// raiseObject raises one object, or the objects of a list.
func raiseObject(ctx context.Context, conv Converter, object map[string]any) (map[string]any, []Change, error) {
	if _, isList := object["items"].([]any); isList && strings.HasSuffix(text(object, "kind"), "List") {
		return raiseList(ctx, conv, object)
	}
	kind := kindOf(object)
	switch {
	case kind.Kind == "":
		return nil, nil, fmt.Errorf("the field kind is missing")
	case kind.APIVersion == "":
		return nil, nil, fmt.Errorf("%s: the field apiVersion is missing", kind.Kind)
	}
	rule, removed := removals()[kind]
	if !removed {
		return object, nil, nil
	}
	if rule.refuse != "" {
		return nil, nil, fmt.Errorf("%s of %s: %s", kind.Kind, kind.APIVersion, rule.refuse)
	}
	raised, notes, err := rule.raise(ctx, conv, object)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %q of %s: %w", kind.Kind, nameOf(object), kind.APIVersion, err)
	}
	return raised, []Change{{
		Kind: kind.Kind, Namespace: text(object, "metadata", "namespace"), Name: nameOf(object),
		From: kind.APIVersion, To: text(raised, "apiVersion"), Notes: notes, clustered: rule.clustered,
	}}, nil
}

// raiseList raises the items of a List, or of a typed list such as DeploymentList, whose items may leave their kind out.
func raiseList(ctx context.Context, conv Converter, list map[string]any) (map[string]any, []Change, error) {
	var changes []Change
	var items []any
	typed := kindOf(list)
	for i, item := range list["items"].([]any) {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, nil, fmt.Errorf("items[%d] is not an object", i)
		}
		if typed.Kind != "List" && object["kind"] == nil {
			object["apiVersion"], object["kind"] = typed.APIVersion, strings.TrimSuffix(typed.Kind, "List")
		}
		raised, made, err := raiseObject(ctx, conv, object)
		if err != nil {
			return nil, nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		items = append(items, raised)
		changes = append(changes, made...)
	}
	if len(changes) == 0 {
		return list, nil, nil
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "items": items}, changes, nil
}

// Join makes one stream of several manifests, as `kubectl apply -f -` reads it.
func Join(manifests ...[]byte) []byte {
	var buf bytes.Buffer
	for _, manifest := range manifests {
		parts, err := split(manifest)
		if err != nil { // not ours to judge: the reader of the stream will say what is wrong
			parts = []part{{body: manifest}}
		}
		for i, part := range parts {
			if part.blank() {
				continue
			}
			if buf.Len() > 0 && (part.json || i == 0 || len(part.marker) == 0) {
				buf.WriteString("---\n")
			} else if buf.Len() > 0 {
				buf.Write(part.marker)
			}
			buf.Write(bytes.TrimPrefix(part.body, []byte(bom)))
			if last := buf.Bytes(); len(last) > 0 && last[len(last)-1] != '\n' {
				buf.WriteByte('\n')
			}
		}
	}
	return buf.Bytes()
}

func kindOf(object map[string]any) gvk {
	return gvk{APIVersion: text(object, "apiVersion"), Kind: text(object, "kind")}
}

func nameOf(object map[string]any) string {
	if name := text(object, "metadata", "name"); name != "" {
		return name
	}
	return text(object, "metadata", "generateName")
}

// text returns the string at the path, or "" when there is none.
func text(object map[string]any, path ...string) string {
	value, _ := at(object, path...).(string)
	return value
}

// at returns the value at the path, or nil when there is none.
func at(object map[string]any, path ...string) any {
	var value any = object
	for _, key := range path {
		fields, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = fields[key]
	}
	return value
}

func toYAML(object map[string]any) ([]byte, error) {
	out, err := yaml.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out, nil
}
