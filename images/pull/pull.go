// Package pull brings a guest image from where it is published to this computer: it chooses one of an index, downloads what makes it up
// and puts the files together.
package pull

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/download"
	"github.com/skiff-k8s/skiff/images/layout"
)

// Request says which image is wanted.
type Request struct {
	Index             digest.Digest // of the index that the image is in
	Architecture      string        // as Go says it
	KubernetesVersion string        // with its v; empty: the newest of the index
	Blobs             string        // folder of the Downloader
	Images            string        // folder of images, one folder for each digest
}

// Progress is told what is done. Either may be nil.
type Progress struct {
	Download func(download.Progress)
	Assemble func(done, total int64) // bytes
}

// Image returns the folder of the image, which is complete. What is there of it already, blobs and the image itself, is not fetched
// again. Two to one folder of images must not run at the same time.
//
// Failures with a known remedy: those of download.Fetch and layout.Assemble, and fail.K8sVersionUnsupported.
func Image(ctx context.Context, d *download.Downloader, want Request, progress Progress) (string, error) {
	artifact, err := describe(ctx, d, want)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(want.Images, artifact.Image.Digest)
	if there, err := images.ReadManifest(folder); err == nil && there.Digest == artifact.Image.Digest && images.Verify(ctx, folder) == nil {
		return folder, nil
	}
	if err := d.Fetch(ctx, artifact.Layers, progress.Download); err != nil {
		return "", err
	}
	return folder, layout.Assemble(ctx, os.DirFS(want.Blobs), artifact, folder, progress.Assemble)
}

// describe chooses the image and downloads what describes it: some kilobytes.
func describe(ctx context.Context, d *download.Downloader, want Request) (layout.Artifact, error) {
	content, err := d.Index(ctx, want.Index)
	if err != nil {
		return layout.Artifact{}, err
	}
	index, err := layout.ParseIndex(content)
	if err != nil {
		return layout.Artifact{}, err
	}
	chosen, err := layout.Choose(index, want.Architecture, want.KubernetesVersion)
	if err != nil {
		return layout.Artifact{}, err
	}
	if err := d.Fetch(ctx, []v1.Descriptor{chosen}, nil); err != nil {
		return layout.Artifact{}, err
	}
	// Only to know the configuration: ReadArtifact checks both when they are there.
	content, err = os.ReadFile(d.Path(chosen.Digest))
	if err != nil {
		return layout.Artifact{}, err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(content, &manifest); err != nil {
		return layout.Artifact{}, fail.New(fail.ChecksumMismatch, "read the guest image", "manifest %s: %w", chosen.Digest, err)
	}
	if err := d.Fetch(ctx, []v1.Descriptor{manifest.Config}, nil); err != nil {
		return layout.Artifact{}, err
	}
	return layout.ReadArtifact(os.DirFS(want.Blobs), chosen)
}
