package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/store"
)

// Spared is something on the disk that nothing is lost with.
type Spared struct {
	Kind  string `json:"kind"`  // "image cache" or "guest image"
	Path  string `json:"path"`  // its folder
	Bytes int64  `json:"bytes"` // that it takes on the disk
}

// Prune removes the cache of container images, and the guest images that no cluster and no warm spare uses and no new cluster
// gets. It returns what it has removed, or with dry what it would. As a cluster whose file cannot be read may use any guest
// image, none is removed then, and the error says which cluster it is. While a start installs a guest image it fails with
// fail.ClusterLocked and removes nothing.
func (m *Manager) Prune(dry bool) ([]Spared, error) {
	release, err := store.TryLock(m.Home.BaseLock(), m.holder())
	if err != nil {
		return nil, fail.New(fail.ClusterLocked, "free disk space", "a start installs a guest image now: %w", err).WithNext("skiff prune")
	}
	defer release()
	pruned := []Spared{}
	if bytes := taken(m.Home.MirrorCache()); bytes > 0 {
		pruned = append(pruned, Spared{"image cache", m.Home.MirrorCache(), bytes})
	}
	idle, problem := m.idleImages()
	for _, dir := range idle {
		pruned = append(pruned, Spared{"guest image", dir, taken(dir)})
	}
	if dry {
		return pruned, problem
	}
	for i, one := range pruned {
		if err := discard(one.Path); err != nil {
			return pruned[:i], errors.Join(fmt.Errorf("remove the %s %s: %w", one.Kind, one.Path, err), problem)
		}
	}
	return pruned, problem
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
