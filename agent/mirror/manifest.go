package mirror

import (
	"cmp"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is how many bytes a manifest may have; the distribution specification asks registries for 4 MiB.
const maxManifest = 8 << 20

// manifest is an image's manifest or index, byte for byte.
type manifest struct {
	hash      v1.Hash
	data      []byte
	mediaType string
}

// mediaType reads the type out of the manifest itself. OCI manifests may leave it out (OCI Image Specification 1.1,
// "Image Manifest"); what they list tells them apart then.
func mediaType(data []byte) string {
	var seen struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(data, &seen); err != nil {
		return "application/octet-stream"
	}
	if seen.Manifests != nil {
		return cmp.Or(seen.MediaType, string(types.OCIImageIndex))
	}
	return cmp.Or(seen.MediaType, string(types.OCIManifestSchema1))
}
