package mirror

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Annotations of the descriptors in a layout's index.json.
const (
	annotationName    = "org.opencontainers.image.ref.name" // the full reference; OCI Image Specification, "Annotations"
	annotationStandIn = "skiff.dev/stand-in"                // "true": something that behaves as the image named, not the image
)

// bundle is an OCI image layout (OCI Image Specification, "Image Layout"), which other processes may replace.
type bundle struct{ dir string }

// find looks a tag up; os.ErrNotExist when the layout has it not.
func (b bundle) find(tag name.Tag) (hash v1.Hash, standIn bool, err error) {
	if b.dir == "" {
		return v1.Hash{}, false, os.ErrNotExist
	}
	data, err := os.ReadFile(filepath.Join(b.dir, "index.json"))
	if err != nil {
		return v1.Hash{}, false, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(data, &index); err != nil {
		return v1.Hash{}, false, fmt.Errorf("read %s: %w", filepath.Join(b.dir, "index.json"), err)
	}
	for _, descriptor := range index.Manifests {
		named, err := name.NewTag(descriptor.Annotations[annotationName])
		if err == nil && named.Name() == tag.Name() {
			return descriptor.Digest, descriptor.Annotations[annotationStandIn] == "true", nil
		}
	}
	return v1.Hash{}, false, os.ErrNotExist
}

func (b bundle) open(hash v1.Hash) (*os.File, error) {
	if b.dir == "" {
		return nil, os.ErrNotExist
	}
	return os.Open(blobPath(b.dir, hash))
}

// blobPath is where a layout, and the cache too, has a blob. A v1.Hash has hexadecimal digits only.
func blobPath(dir string, hash v1.Hash) string {
	return filepath.Join(dir, "blobs", hash.Algorithm, hash.Hex)
}

// display names an image as people do: docker.io, not index.docker.io.
func display(tag name.Tag) string {
	return strings.Replace(tag.Name(), name.DefaultRegistry, "docker.io", 1)
}
