// Package addons loads, renders and applies the addons of a cluster. An addon is data: the folder catalog/<name>, with
// addon.yaml that describes it and the manifests that it consists of. The package needs the API server's address and
// knows nothing of machines or drivers.
package addons

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// The labels of every object that belongs to an addon.
const (
	LabelAddon     = "skiff.dev/addon" // its value is the addon's name
	labelManagedBy = "app.kubernetes.io/managed-by"
)

//go:embed catalog
var catalog embed.FS

// Addon describes one addon.
type Addon struct {
	Name        string            `json:"name"`        // also the name of its folder; an RFC 1123 label
	Description string            `json:"description"` // one line
	Images      []string          `json:"images"`      // every image that its manifests name
	Settings    map[string]string `json:"settings"`    // what may be set, with the defaults
	Ready       []Reference       `json:"ready"`       // what must be ready for the addon to be; never empty

	files []file
}

// Reference names one object.
type Reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

func (r Reference) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// file is a manifest of an addon, before rendering.
type file struct {
	name string
	text string
}

// Catalog returns the addons that skiff brings, sorted by name. An error means that skiff itself is broken.
func Catalog() ([]Addon, error) {
	root, err := fs.Sub(catalog, "catalog")
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	return load(root)
}

// load reads a catalog: one folder per addon.
func load(root fs.FS) ([]Addon, error) {
	folders, err := fs.ReadDir(root, ".") // sorted
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	var addons []Addon
	for _, folder := range folders {
		addon, err := loadAddon(root, folder.Name())
		if err != nil {
			return nil, fmt.Errorf("addon %q: %w", folder.Name(), err)
		}
		addons = append(addons, addon)
	}
	return addons, nil
}

func loadAddon(root fs.FS, folder string) (Addon, error) {
	description, err := fs.ReadFile(root, path.Join(folder, "addon.yaml"))
	if err != nil {
		return Addon{}, err
	}
	var addon Addon
	if err := yaml.UnmarshalStrict(description, &addon); err != nil {
		return Addon{}, fmt.Errorf("addon.yaml: %w", err)
	}
	names, err := fs.Glob(root, path.Join(folder, "*.yaml"))
	if err != nil {
		return Addon{}, err
	}
	for _, name := range names {
		if path.Base(name) == "addon.yaml" {
			continue
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return Addon{}, err
		}
		addon.files = append(addon.files, file{name: path.Base(name), text: string(bytes.TrimSpace(text))})
	}
	return addon, addon.validate(folder)
}

func (a Addon) validate(folder string) error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(a.Name == folder, "name is %q, and the folder %q", a.Name, folder)
	check(len(validation.IsDNS1123Label(a.Name)) == 0, "name %q is not an RFC 1123 label", a.Name)
	check(a.Description != "" && !strings.Contains(a.Description, "\n"), "description must be one line")
	check(len(a.files) > 0, "there are no manifests")
	check(len(a.Ready) > 0, "ready is empty")
	for i, ref := range a.Ready {
		check(ref.APIVersion != "" && ref.Kind != "" && ref.Name != "", "ready[%d]: apiVersion, kind and name are needed", i)
	}
	return errors.Join(problems...)
}

// Find returns the addon of that name, or an error of the kind fail.AddonNotFound that offers the nearest names.
func Find(name string) (Addon, error) {
	addons, err := Catalog()
	if err != nil {
		return Addon{}, err
	}
	var names []string
	for _, addon := range addons {
		if addon.Name == name {
			return addon, nil
		}
		names = append(names, addon.Name)
	}
	failure := fail.New(fail.AddonNotFound, "find addon", "there is no addon %q", name).WithNext("skiff addons list")
	if near := nearest(name, names); len(near) > 0 {
		return Addon{}, failure.WithHint("Did you mean %s?", strings.Join(near, " or "))
	}
	return Addon{}, failure
}

// nearest returns the names that someone who typed word may have meant, the most likely first.
func nearest(word string, names []string) []string {
	var near []string
	for _, name := range names {
		if strings.HasPrefix(name, word) && word != "" || strings.HasPrefix(word, name) || distance(word, name) <= 2 {
			near = append(near, name)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return distance(word, a) - distance(word, b) })
	return near
}

// distance is the number of letters to insert, remove or change to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
