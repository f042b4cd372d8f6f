package addons

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Values is what manifests may depend on.
type Values struct {
	Address     netip.Addr        // the cluster's address on the host, such as 127.77.1.1
	Certificate KeyPair           // shown by addons that speak TLS; empty: Render makes one
	Settings    map[string]string // over the addon's own; may be nil
}

// Where one document of a file ends and the next begins; the files are ours, so this is all there is to it.
var separator = regexp.MustCompile(`(?m)^---$`)

// Render returns the addon's objects for a cluster, in the order of its files, each with the labels by which the addon is
// found again. It fails for settings that the addon does not have, and for images that its description does not list.
func Render(a Addon, v Values) ([]*unstructured.Unstructured, error) {
	data, err := templateData(a, v)
	if err != nil {
		return nil, fmt.Errorf("render addon %q: %w", a.Name, err)
	}
	revision := a.revision(data.Address, data.Settings)
	var objects []*unstructured.Unstructured
	for _, file := range a.files {
		text, err := fill(file, data)
		if err != nil {
			return nil, fmt.Errorf("render addon %q: %w", a.Name, err)
		}
		for i, document := range separator.Split(text, -1) {
			object, err := decode(document)
			if err != nil {
				return nil, fmt.Errorf("render addon %q: %s, document %d: %w", a.Name, file.name, i+1, err)
			}
			labels := object.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels[LabelAddon], labels[labelManagedBy] = a.Name, "skiff"
			object.SetLabels(labels)
			if slices.Contains(a.Ready, referenceTo(object)) {
				if err := unstructured.SetNestedField(object.Object, revision, "metadata", "annotations", annotationRevision); err != nil {
					return nil, fmt.Errorf("render addon %q: %w", a.Name, err)
				}
			}
			objects = append(objects, object)
		}
	}
	return objects, a.checkObjects(objects)
}

// data is what the templates of an addon are filled with.
type data struct {
	Address     netip.Addr
	Certificate KeyPair
	Settings    map[string]string
	RenewAfter  string // RFC 3339
}

func templateData(a Addon, v Values) (*data, error) {
	if !v.Address.IsValid() {
		return nil, errors.New("the cluster's address is missing")
	}
	if len(v.Certificate.Cert) == 0 {
		made, err := NewKeyPair(v.Address, time.Now())
		if err != nil {
			return nil, err
		}
		v.Certificate = made
	}
	renew, err := v.Certificate.renewAfter()
	if err != nil {
		return nil, err
	}
	settings := maps.Clone(a.Settings)
	for name, value := range v.Settings {
		if _, ok := settings[name]; !ok {
			return nil, fmt.Errorf("there is no setting %q; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(settings)), ", "))
		}
		settings[name] = value
	}
	return &data{Address: v.Address, Certificate: v.Certificate, Settings: settings, RenewAfter: renew.UTC().Format(time.RFC3339)}, nil
}

func fill(file file, data *data) (string, error) {
	functions := template.FuncMap{"base64": base64.StdEncoding.EncodeToString}
	parsed, err := template.New(file.name).Option("missingkey=error").Funcs(functions).Parse(file.text)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, data); err != nil {
		return "", err
	}
	return text.String(), nil
}

func decode(document string) (*unstructured.Unstructured, error) {
	encoded, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, object); err != nil {
		return nil, err
	}
	if object.GetName() == "" {
		return nil, errors.New("the object has no name")
	}
	return object, nil
}

// checkObjects compares the rendered objects with what addon.yaml says of them.
func (a Addon) checkObjects(objects []*unstructured.Unstructured) error {
	var problems []error
	used := map[string]bool{}
	present := map[Reference]bool{}
	for _, object := range objects {
		present[referenceTo(object)] = true
		for _, image := range imagesOf(object.Object) {
			used[image] = true
			if !slices.Contains(a.Images, image) {
				problems = append(problems, fmt.Errorf("addon %q: image %s is not in addon.yaml", a.Name, image))
			}
		}
	}
	for _, image := range a.Images {
		if !used[image] {
			problems = append(problems, fmt.Errorf("addon %q: image %s of addon.yaml is used nowhere", a.Name, image))
		}
	}
	for _, ref := range a.Ready {
		if !present[ref] {
			problems = append(problems, fmt.Errorf("addon %q: %s of addon.yaml is in no manifest", a.Name, ref))
		}
	}
	return errors.Join(problems...)
}

func referenceTo(object *unstructured.Unstructured) Reference {
	return Reference{
		APIVersion: object.GetAPIVersion(), Kind: object.GetKind(),
		Namespace: object.GetNamespace(), Name: object.GetName(),
	}
}

// imagesOf returns the images of all containers below value.
func imagesOf(value any) []string {
	var images []string
	switch value := value.(type) {
	case map[string]any:
		for key, field := range value {
			image, isText := field.(string)
			if key == "image" && isText {
				images = append(images, image)
				continue
			}
			images = append(images, imagesOf(field)...)
		}
	case []any:
		for _, item := range value {
			images = append(images, imagesOf(item)...)
		}
	}
	return images
}
