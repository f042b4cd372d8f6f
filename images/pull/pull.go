// Package pull chooses a guest image among those that are published, and brings what describes it to this computer. The rest is fetched
// and put together as packages download and layout do it.
package pull

import (
	"context"
	"encoding/json"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images/download"
	"github.com/skiff-k8s/skiff/images/layout"
)

// Request says which image is wanted.
type Request struct {
	Index             digest.Digest // of the index that the image is in
	Architecture      string        // as Go says it
	KubernetesVersion string        // with its v; empty: the newest of the index
	Blobs             string        // folder of the Downloader
}

// Describe chooses the image and downloads what describes it: some kilobytes. What is there already is not fetched again.
//
// Failures with a known remedy: those of download.Fetch and layout.ReadArtifact, and fail.K8sVersionUnsupported.
func Describe(ctx context.Context, d *download.Downloader, want Request) (layout.Artifact, error) {
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
