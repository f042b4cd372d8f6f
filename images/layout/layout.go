// Package layout is the form in which guest images are distributed: an OCI image layout whose index has one artifact for each
// architecture and version of Kubernetes. The layers of an artifact are parts, each a piece of the image that changes by itself
// (one program, or a few of one project, or the kernel), compressed with zstd. Its configuration has the image's manifest and the
// recipe: of which bytes of which part each file consists. A program that lies both in the disk and in an archive of container
// images is so carried once.
//
// The package packs an image folder and assembles one, and reads and writes bundles: the layout as one tar archive. How blobs come
// from elsewhere is not its business; it reads them from an fs.FS.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/images"
)

// Media types. Registries and tools carry blobs of types that they do not know (OCI image specification, "Artifacts").
const (
	ArtifactType = "application/vnd.skiff.image.v1"
	ConfigType   = "application/vnd.skiff.image.config.v1+json"
	PartType     = "application/vnd.skiff.image.part.v1+zstd"
)

// Annotations of an artifact's entry in the index.
const (
	// AnnotationKubernetes is the version of Kubernetes, with its v.
	AnnotationKubernetes = "dev.skiff.kubernetes-version"
	// AnnotationImage is the digest of the image's manifest: what its folder is named after.
	AnnotationImage = "dev.skiff.image"
)

// maxWindow bounds the memory that unpacking takes, and is what the program zstd accepts without being told. A release uses it:
// with 8 MiB, parts of several programs would be a quarter larger, as those have much in common, far apart.
const maxWindow = 128 << 20

// Bounds of what is read from elsewhere, all far above what a guest image has.
const (
	maxIndex  = 4 << 20 // bytes of an index, of an artifact's manifest and of its configuration: what registries accept
	maxFiles  = 4096
	maxParts  = 256
	maxPart   = 16 << 30 // bytes of a part when unpacked
	maxSize   = 1 << 40  // bytes of a file, holes included
	maxData   = 64 << 30 // bytes of all files, without their holes
	maxPieces = 1 << 20
)

// Config is the configuration of an artifact.
type Config struct {
	// Manifest is the image's manifest.json. It is as it was stored, but for white space: another version of skiff may have written
	// more than this one knows.
	Manifest json.RawMessage `json:"manifest"`
	Parts    []Part          `json:"parts"` // one for each layer of the artifact, in that order
	// Files has the recipe of every file of the image but its manifest, by its name there.
	Files map[string][]Piece `json:"files"`
}

// Part is what the blob of a layer holds when unpacked.
type Part struct {
	Name   string        `json:"name"` // such as kube
	Size   int64         `json:"size"` // bytes
	Digest digest.Digest `json:"digest"`
}

// Piece is one piece of a file: bytes of a part, or a hole. As JSON it is [part, offset, length], and [length] for a hole.
type Piece struct {
	Part   int // index in Config.Parts; hole for one
	Offset int64
	Length int64 // bytes, at least 1
}

const hole = -1

// MarshalJSON implements json.Marshaler.
func (p Piece) MarshalJSON() ([]byte, error) {
	if p.Part == hole {
		return fmt.Appendf(nil, "[%d]", p.Length), nil
	}
	return fmt.Appendf(nil, "[%d,%d,%d]", p.Part, p.Offset, p.Length), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Piece) UnmarshalJSON(content []byte) error {
	var numbers []int64
	if err := json.Unmarshal(content, &numbers); err != nil {
		return err
	}
	switch {
	case len(numbers) == 1:
		*p = Piece{Part: hole, Length: numbers[0]}
	case len(numbers) == 3 && numbers[0] >= 0 && numbers[0] < maxParts:
		*p = Piece{Part: int(numbers[0]), Offset: numbers[1], Length: numbers[2]}
	default:
		return errors.New("a piece of a recipe is neither [length] nor [part, offset, length]")
	}
	return nil
}

// validate checks that the recipe makes exactly the files of the manifest, from nothing but its parts.
func (c Config) validate(m images.Manifest) error {
	if len(c.Parts) > maxParts || len(c.Files) > maxFiles {
		return fmt.Errorf("it has %d parts and %d files, and at most %d and %d are taken", len(c.Parts), len(c.Files), maxParts, maxFiles)
	}
	for i, part := range c.Parts {
		if part.Size < 0 || part.Size > maxPart {
			return fmt.Errorf("part %d (%q) has %d bytes, and at most %d are taken", i, part.Name, part.Size, int64(maxPart))
		}
	}
	if len(c.Files) != len(m.Files) {
		return fmt.Errorf("the manifest has %d files, the recipe %d", len(m.Files), len(c.Files))
	}
	var data int64
	var pieces int
	for name, file := range m.Files {
		if err := checkName(m, name); err != nil {
			return err
		}
		own, err := c.checkFile(file)
		if err != nil {
			return fmt.Errorf("recipe of %q: %w", name, err)
		}
		data += own
		pieces += len(c.Files[name])
		if data > maxData || pieces > maxPieces {
			return fmt.Errorf("the files have more than %d bytes of data or %d pieces", int64(maxData), maxPieces)
		}
	}
	return nil
}

// checkName refuses names that two things would have; that they are names at all is the manifest's own check.
func checkName(m images.Manifest, name string) error {
	if name == images.ManifestName {
		return fmt.Errorf("the manifest lists a file %q, which is itself", name)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, both := m.Files[dir]; both {
			return fmt.Errorf("the manifest has %q as a file and as a folder", dir)
		}
	}
	return nil
}

// checkFile returns how many bytes of a file are not holes.
func (c Config) checkFile(file images.File) (data int64, err error) {
	if file.Size < 0 || file.Size > maxSize {
		return 0, fmt.Errorf("it has %d bytes, and at most %d are taken", file.Size, int64(maxSize))
	}
	var at int64
	for _, piece := range c.Files[file.Name] {
		if piece.Length < 1 || piece.Length > file.Size-at {
			return 0, fmt.Errorf("a piece of %d bytes at %d does not fit into %d", piece.Length, at, file.Size)
		}
		at += piece.Length
		if piece.Part == hole {
			continue
		}
		data += piece.Length
		if piece.Part >= len(c.Parts) {
			return 0, fmt.Errorf("it needs part %d of %d", piece.Part, len(c.Parts))
		}
		if part := c.Parts[piece.Part]; piece.Offset < 0 || piece.Offset > part.Size || piece.Length > part.Size-piece.Offset {
			return 0, fmt.Errorf("%d bytes at %d are not in part %q of %d bytes", piece.Length, piece.Offset, part.Name, part.Size)
		}
	}
	if at != file.Size {
		return 0, fmt.Errorf("its pieces make %d of its %d bytes", at, file.Size)
	}
	return data, nil
}

// data is how many bytes of all files are not holes.
func (c Config) data() (bytes int64) {
	for _, pieces := range c.Files {
		for _, piece := range pieces {
			if piece.Part != hole {
				bytes += piece.Length
			}
		}
	}
	return bytes
}

// BlobPath is where a blob lies in a layout (OCI image specification, "Image Layout").
func BlobPath(d digest.Digest) string {
	return path.Join(v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// newIndex is an index of artifacts in a fixed order.
func newIndex(artifacts []v1.Descriptor) v1.Index {
	slices.SortFunc(artifacts, func(a, b v1.Descriptor) int {
		return strings.Compare(a.Annotations[v1.AnnotationRefName], b.Annotations[v1.AnnotationRefName])
	})
	return v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: artifacts}
}

// IsLayout reports whether there is an OCI image layout in fsys.
func IsLayout(fsys fs.FS) bool {
	for _, name := range []string{v1.ImageLayoutFile, v1.ImageIndexFile} {
		if info, err := fs.Stat(fsys, name); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}
