package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/layout"
	"github.com/skiff-k8s/skiff/store"
)

// Spared is something on the disk that nothing is lost with.
type Spared struct {
	Kind  string `json:"kind"`  // "image cache", "download" or "guest image"
	Path  string `json:"path"`  // its folder
	Bytes int64  `json:"bytes"` // that it takes on the disk
}

// Prune removes the cache of container images, what was downloaded of guest images and is not needed, and the guest images that no cluster and no warm spare uses and no new cluster
// gets. It returns what it has removed, or with dry what it would. As a cluster whose file cannot be read may use any guest
// image, none is removed then, and the error says which cluster it is. While a start downloads or installs a guest image it fails with
// fail.ClusterLocked and removes nothing.
func (m *Manager) Prune(dry bool) ([]Spared, error) {
	release, err := store.TryLock(m.Home.BaseLock(), m.holder())
	if err != nil {
		return nil, fail.New(fail.ClusterLocked, "free disk space", "a start installs a guest image now: %w", err).WithNext("skiff prune")
	}
	defer release()
	downloads, err := store.TryLock(m.Home.DownloadsLock(), m.holder())
	if err != nil {
		return nil, fail.New(fail.ClusterLocked, "free disk space", "a start downloads a guest image now: %w", err).WithNext("skiff prune")
	}
	defer downloads()
	pruned := []Spared{}
	if bytes := taken(m.Home.MirrorCache()); bytes > 0 {
		pruned = append(pruned, Spared{"image cache", m.Home.MirrorCache(), bytes})
	}
	files, err := m.idleDownloads()
	if err != nil {
		return nil, err
	}
	var bytes int64
	for _, file := range files {
		bytes += taken(file)
	}
	if len(files) > 0 {
		pruned = append(pruned, Spared{kindDownload, m.Home.Downloads(), bytes})
	}
	idle, problem := m.idleImages()
	for _, dir := range idle {
		pruned = append(pruned, Spared{"guest image", dir, taken(dir)})
	}
	if dry {
		return pruned, problem
	}
	for i, one := range pruned {
		remove := func() error { return discard(one.Path) }
		if one.Kind == kindDownload {
			remove = func() error { return removeAll(files) }
		}
		if err := remove(); err != nil {
			return pruned[:i], errors.Join(fmt.Errorf("remove the %s %s: %w", one.Kind, one.Path, err), problem)
		}
	}
	return pruned, problem
}

// kindDownload is the Kind of what was downloaded.
const kindDownload = "download"

// idleDownloads are the files that were downloaded and that no image needs which is there: its parts are in it, but by its description
// it is found again without the network. What is not complete is needed by nobody but the next download.
func (m *Manager) idleDownloads() ([]string, error) {
	dir := m.Home.Downloads()
	needed := m.describing(os.DirFS(dir))
	var idle []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !needed[path] {
			idle = append(idle, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return idle, err
}

// describing are the files among downloads that describe the images that are there.
func (m *Manager) describing(downloads fs.FS) map[string]bool {
	const small = 4 << 20 // bytes; larger ones package layout takes for no index
	needed := map[string]bool{}
	blobs, _ := fs.Glob(downloads, v1.ImageBlobsDir+"/sha256/*")
	for _, blob := range blobs {
		if info, err := fs.Stat(downloads, blob); err != nil || info.Size() > small {
			continue
		}
		content, err := fs.ReadFile(downloads, blob)
		if err != nil {
			continue
		}
		index, err := layout.ParseIndex(content)
		if err != nil {
			continue // another blob
		}
		for _, d := range index.Manifests {
			artifact, err := layout.ReadArtifact(downloads, d)
			if err != nil {
				continue
			}
			if _, err := images.ReadManifest(filepath.Join(m.Home.Images(), artifact.Image.Digest)); err != nil {
				continue
			}
			for _, name := range []string{blob, layout.BlobPath(d.Digest), layout.BlobPath(artifact.Config.Digest)} {
				needed[filepath.Join(m.Home.Downloads(), filepath.FromSlash(name))] = true
			}
		}
	}
	return needed
}

func removeAll(files []string) error {
	problems := make([]error, 0, len(files))
	for _, file := range files {
		problems = append(problems, os.Remove(file))
	}
	return errors.Join(problems...)
}

// discard removes a folder in such a way that no half of it is ever taken for the whole; see images.Sweep for the rest.
func discard(dir string) error {
	away := dir + ".old"
	if filepath.Ext(dir) == ".old" {
		away = dir
	} else if err := errors.Join(os.RemoveAll(away), os.Rename(dir, away)); err != nil {
		return err
	}
	return os.RemoveAll(away)
}

// idleImages are the folders of guest images that neither a cluster nor a warm spare uses, and that no new cluster gets.
func (m *Manager) idleImages() ([]string, error) {
	used := map[string]bool{}
	if built, err := images.ReadManifest(m.Built); err == nil {
		used[m.Home.BaseImage(built.Digest)] = true
	}
	for _, manager := range []*Manager{m, m.spares()} {
		profiles, err := manager.Home.Profiles()
		if err != nil {
			return nil, err
		}
		for _, profile := range profiles {
			c, err := manager.Load(profile)
			if err != nil {
				return nil, fmt.Errorf("no guest image is removed, as cluster %s may use any: %w", profile, err)
			}
			used[m.Home.BaseImage(c.Image)] = true
		}
	}
	entries, err := os.ReadDir(m.Home.Base())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var idle []string
	for _, entry := range entries {
		if dir := filepath.Join(m.Home.Base(), entry.Name()); entry.IsDir() && !used[dir] {
			idle = append(idle, dir)
		}
	}
	return idle, nil
}
