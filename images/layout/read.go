package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
)

// Artifact is one guest image of a layout, described.
type Artifact struct {
	Descriptor v1.Descriptor // its entry in the index
	Config     v1.Descriptor // blob of its configuration
	Layers     []v1.Descriptor
	Recipe     Config
	Image      images.Manifest
}

// ReadIndex reads the index of the layout in fsys. One that is not there gives fail.ImageMissing, one that is not of guest images
// fail.ChecksumMismatch.
func ReadIndex(fsys fs.FS) (v1.Index, error) {
	file, err := fsys.Open(v1.ImageIndexFile)
	if err != nil {
		return v1.Index{}, unread("read the index of guest images", v1.ImageIndexFile, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxIndex+1))
	if err != nil {
		return v1.Index{}, unread("read the index of guest images", v1.ImageIndexFile, err)
	}
	return ParseIndex(content)
}

// ParseIndex is ReadIndex of bytes that come from elsewhere. Only artifacts of guest images are returned.
func ParseIndex(content []byte) (v1.Index, error) {
	const op = "read the index of guest images"
	var index v1.Index
	if len(content) > maxIndex {
		return index, damaged(op, "it has more than %d bytes", maxIndex)
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return index, damaged(op, "%w", err)
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return d.ArtifactType != ArtifactType })
	if len(index.Manifests) == 0 {
		return index, damaged(op, "it has no artifact of type %s", ArtifactType)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d, maxIndex); err != nil {
			return index, damaged(op, "%w", err)
		}
	}
	return index, nil
}

// Choose returns the artifact for an architecture, as Go says it, and a version of Kubernetes with its v; without one, that of the
// newest is returned. None gives fail.K8sVersionUnsupported, and the error lists what there is.
func Choose(index v1.Index, architecture, kubernetesVersion string) (v1.Descriptor, error) {
	var there []string
	var best v1.Descriptor
	var newest *semver.Version
	for _, d := range index.Manifests {
		there = append(there, d.Annotations[v1.AnnotationRefName])
		version, err := semver.NewVersion(d.Annotations[AnnotationKubernetes])
		if err != nil || d.Platform == nil || d.Platform.Architecture != architecture {
			continue
		}
		wanted := kubernetesVersion == "" || d.Annotations[AnnotationKubernetes] == kubernetesVersion
		if wanted && (newest == nil || version.GreaterThan(newest)) {
			best, newest = d, version
		}
	}
	if newest != nil {
		return best, nil
	}
	wanted := "Kubernetes " + kubernetesVersion
	if kubernetesVersion == "" {
		wanted = "any Kubernetes"
	}
	return v1.Descriptor{}, fail.New(fail.K8sVersionUnsupported, "choose a guest image", "there is none with %s for %s; there are: %s", wanted, architecture, strings.Join(there, ", "))
}

// ReadArtifact reads the manifest and the configuration of the artifact that d of the index describes, and checks both. Its layers
// need not be there yet.
func ReadArtifact(fsys fs.FS, d v1.Descriptor) (Artifact, error) {
	a := Artifact{Descriptor: d}
	op := "read the guest image " + d.Annotations[v1.AnnotationRefName]
	content, err := readBlob(fsys, op, "manifest", d)
	if err != nil {
		return a, err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(content, &manifest); err != nil {
		return a, damaged(op, "manifest %s: %w", d.Digest, err)
	}
	if manifest.ArtifactType != ArtifactType || manifest.Config.MediaType != ConfigType {
		return a, damaged(op, "manifest %s is of type %q with a configuration of type %q: another version of skiff may have made it", d.Digest, manifest.ArtifactType, manifest.Config.MediaType)
	}
	a.Config, a.Layers = manifest.Config, manifest.Layers
	for _, layer := range a.Layers {
		if layer.MediaType != PartType {
			return a, damaged(op, "layer %s is of type %q", layer.Digest, layer.MediaType)
		}
		if err := checkDescriptor(layer, maxPart); err != nil {
			return a, damaged(op, "%w", err)
		}
	}
	if content, err = readBlob(fsys, op, "configuration", a.Config); err != nil {
		return a, err
	}
	if err := json.Unmarshal(content, &a.Recipe); err != nil {
		return a, damaged(op, "configuration %s: %w", a.Config.Digest, err)
	}
	if a.Image, err = images.ParseManifest(a.Recipe.Manifest); err != nil {
		return a, fmt.Errorf("%s: %w", op, err)
	}
	if len(a.Recipe.Parts) != len(a.Layers) {
		return a, damaged(op, "it has %d layers, and its configuration %d parts", len(a.Layers), len(a.Recipe.Parts))
	}
	if err := a.Recipe.validate(a.Image); err != nil {
		return a, damaged(op, "configuration %s: %w", a.Config.Digest, err)
	}
	return a, nil
}

// readBlob reads a small blob and holds it to its digest.
func readBlob(fsys fs.FS, op, what string, d v1.Descriptor) ([]byte, error) {
	if err := checkDescriptor(d, maxIndex); err != nil {
		return nil, damaged(op, "%s: %w", what, err)
	}
	file, err := fsys.Open(BlobPath(d.Digest))
	if err != nil {
		return nil, unread(op, what+" "+d.Digest.String(), err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, d.Size+1))
	if err != nil {
		return nil, unread(op, what+" "+d.Digest.String(), err)
	}
	if int64(len(content)) != d.Size {
		return nil, damaged(op, "%s %s has not its %d bytes", what, d.Digest, d.Size)
	}
	if found := digest.FromBytes(content); found != d.Digest {
		return nil, damaged(op, "%s %s: its digest is %s", what, d.Digest, found)
	}
	return content, nil
}

// checkDescriptor refuses digests that are no file names, and sizes beyond most.
func checkDescriptor(d v1.Descriptor, most int64) error {
	if err := d.Digest.Validate(); err != nil || d.Digest.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%q is no SHA-256 digest", d.Digest)
	}
	if d.Size < 0 || d.Size > most {
		return fmt.Errorf("blob %s has %d bytes, and at most %d are taken", d.Digest, d.Size, most)
	}
	return nil
}

func damaged(op, format string, args ...any) *fail.Error {
	return fail.New(fail.ChecksumMismatch, op, format, args...)
}

// unread gives the error of reading a blob the ID that it deserves.
func unread(op, what string, err error) error {
	if fail.Known(err) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.ImageMissing, op, "%s is not there", what)
	}
	return fmt.Errorf("%s: %s: %w", op, what, err)
}
