package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/renameio/v2"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/layout"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Bundle is a guest image in one file, and where it is on this computer.
type Bundle struct {
	Image             string `json:"image"` // digest of the guest image
	KubernetesVersion string `json:"kubernetesVersion"`
	Architecture      string `json:"architecture"`
	File              string `json:"file"`             // or the place that it was downloaded from
	Bytes             int64  `json:"bytes"`            // of the file; 0 when it was none
	Folder            string `json:"folder,omitempty"` // where it was loaded to
}

// SaveBundle writes the guest image that new clusters get to file, which appears complete or not at all, and replaces one that is
// there.
//
// Failures with a known remedy: fail.ImageMissing, fail.ChecksumMismatch (of the image), fail.HostDiskFull.
func (m *Manager) SaveBundle(ctx context.Context, file string, sink Sink) (Bundle, error) {
	op := "save the bundle " + file
	from, err := m.savable()
	if err != nil {
		return Bundle{}, err
	}
	work, err := os.MkdirTemp(filepath.Dir(file), ".skiff-bundle-")
	if err != nil {
		return Bundle{}, wrap(fail.FlagInvalid, err, "%s", op)
	}
	defer os.RemoveAll(work)
	bundle := Bundle{File: file}
	step := Event{Step: "pack", Index: 1, Steps: 2, Text: "Compress the guest image"}
	err = inStep(step, sink, func() error {
		packed, err := layout.Pack(ctx, []string{from}, filepath.Join(work, "layout"), layout.PackOptions{Progress: progress(step, sink)})
		if err != nil {
			return store.NoSpace(op, err)
		}
		own := packed[0].Image
		bundle.Image, bundle.KubernetesVersion, bundle.Architecture = own.Digest, own.KubernetesVersion, own.Architecture
		return nil
	})
	if err != nil {
		return Bundle{}, err
	}
	step = Event{Step: "save", Index: 2, Steps: 2, Text: "Write " + file}
	err = inStep(step, sink, func() error {
		size, err := writeBundle(ctx, filepath.Join(work, "layout"), file, progress(step, sink))
		bundle.Bytes = size
		return store.NoSpace(op, err)
	})
	return bundle, err
}

func writeBundle(ctx context.Context, from, to string, progress func(done, total int64)) (int64, error) {
	file, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o644))
	if err != nil {
		return 0, err
	}
	defer file.Cleanup()
	if err := layout.Bundle(ctx, os.DirFS(from), file, progress); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), file.CloseAtomicallyReplace()
}

// savable is the folder of the image that new clusters get; where there is none any more, that of the one that was installed last.
func (m *Manager) savable() (string, error) {
	_, missing := images.ReadManifest(m.Built)
	if !fail.Is(missing, fail.ImageMissing) {
		return m.Built, missing
	}
	entries, err := os.ReadDir(m.Home.Base())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var newest string
	var at time.Time
	for _, entry := range entries {
		dir := filepath.Join(m.Home.Base(), entry.Name())
		own, err := images.ReadManifest(dir)
		if err != nil || m.Home.BaseImage(own.Digest) != dir { // half installed, or half removed
			continue
		}
		if info, err := entry.Info(); err == nil && info.ModTime().After(at) {
			newest, at = dir, info.ModTime()
		}
	}
	if newest == "" {
		return "", missing
	}
	return newest, nil
}

// LoadBundle makes the guest image of a bundle, or of the folder of a layout, the one that new clusters get. Everything of it is
// held to its digest. What is there already is left alone, and a load that fails changes nothing.
//
// Failures with a known remedy: fail.FlagInvalid (no bundle), fail.ChecksumMismatch, fail.K8sVersionUnsupported (the bundle has no
// image for this skiff on this computer), fail.HostDiskFull.
func (m *Manager) LoadBundle(ctx context.Context, file string, sink Sink) (Bundle, error) {
	bundle, err := m.loadBundle(ctx, file, sink)
	if err != nil {
		return Bundle{}, err
	}
	return bundle, images.Point(m.Home.Images(), bundle.Image)
}

// BundledImage is the folder that LoadBundle loads the guest image at path to, when path is a bundle or the folder of a layout. All
// else, such as the folder of an image, is returned as it is.
func BundledImage(home store.Home, path string) string {
	fsys, done, err := layout.Open(path)
	if err != nil {
		return path
	}
	defer func() { _ = done() }()
	artifact, err := chooseImage(fsys)
	if err != nil {
		return path
	}
	return filepath.Join(home.Images(), artifact.Image.Digest)
}

// useImage makes the guest image at path, which may be what LoadBundle takes or the folder of an image, the one that this manager
// gives to new clusters. It fails as LoadBundle does; other commands than this one are left as they are.
func (m *Manager) useImage(ctx context.Context, path string, sink Sink) error {
	info, err := os.Stat(path)
	if m.Built = path; err != nil || info.IsDir() && !layout.IsLayout(os.DirFS(path)) {
		return nil //nolint:nilerr // who needs an image says that it is not there
	}
	if m.Built = BundledImage(m.Home, path); m.Built != path && images.Verify(ctx, m.Built) == nil {
		return nil
	}
	loaded, err := m.loadBundle(ctx, path, sink)
	m.Built = loaded.Folder
	return err
}

// loadBundle puts the image of a bundle into its folder.
func (m *Manager) loadBundle(ctx context.Context, file string, sink Sink) (Bundle, error) {
	fsys, done, err := layout.Open(file)
	if err != nil {
		return Bundle{}, ofBundle(file, err)
	}
	defer func() { _ = done() }()
	artifact, err := chooseImage(fsys)
	if err != nil {
		return Bundle{}, ofBundle(file, err)
	}
	bundle := Bundle{
		Image: artifact.Image.Digest, KubernetesVersion: artifact.Image.KubernetesVersion, Architecture: artifact.Image.Architecture,
		File: file, Folder: filepath.Join(m.Home.Images(), artifact.Image.Digest),
	}
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		bundle.Bytes = info.Size()
	}
	step := Event{Step: "load", Index: 1, Steps: 1, Text: fmt.Sprintf("Load the guest image of Kubernetes %s from %s", bundle.KubernetesVersion, file)}
	err = inStep(step, sink, func() error {
		return ofBundle(file, m.assemble(ctx, fsys, artifact, bundle.Folder, step, sink))
	})
	return bundle, err
}

// chooseImage reads the image in a layout that this skiff can use on this computer.
func chooseImage(fsys fs.FS) (layout.Artifact, error) {
	index, err := layout.ReadIndex(fsys)
	if err != nil {
		return layout.Artifact{}, err
	}
	return imageOf(fsys, index)
}

// imageOf reads the image of an index that this skiff can use on this computer.
func imageOf(fsys fs.FS, index v1.Index) (layout.Artifact, error) {
	d, err := layout.Choose(index, runtime.GOARCH, bundled)
	if err != nil {
		return layout.Artifact{}, err
	}
	return layout.ReadArtifact(fsys, d)
}

// ofBundle says of an error what to do about the file.
func ofBundle(file string, err error) error {
	known, ok := errors.AsType[*fail.Error](err)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !ok:
		return fail.New(fail.FlagInvalid, "load the bundle "+file, "there is no file of that name")
	case !ok:
		return err
	case known.ID == fail.ChecksumMismatch && known.Hint == "", known.ID == fail.ImageMissing:
		known.ID = fail.ChecksumMismatch // an index promises what is not in the file
		return known.WithHint("Nothing of it was taken. Copy the bundle here again, and compare the SHA-256 of both.").WithNext("sha256sum %s", machine.Quote(file))
	case known.ID == fail.K8sVersionUnsupported:
		return known.WithHint("This version of skiff makes clusters of Kubernetes %s; use a bundle of the same release.", bundled).WithNext("skiff version")
	}
	return err
}

// progress tells sink how far a step is.
func progress(step Event, sink Sink) func(done, total int64) {
	return func(done, total int64) {
		step.Done, step.Total = done, total
		emit(sink, step, Progress)
	}
}
