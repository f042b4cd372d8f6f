package build

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/images"
)

// folder is the last step: it gathers the files and describes them.
type folder struct {
	skiff                              string // version; not of the inputs, as it changes nothing of the image
	cache                              Cache
	debian, layout, disk, initrd, qemu *Step
	made                               map[string]*Step
	components                         []component
}

func (f folder) step() *Step {
	return &Step{
		Name: "image", Expect: 10 * time.Second, Inputs: []string{cmdline, KubernetesVersion, "4"},
		Needs: []*Step{f.debian, f.layout, f.disk, f.initrd, f.qemu, f.made["kubernetes"]},
		Do:    f.gather,
	}
}

func (f folder) gather(ctx context.Context, out string) error {
	for name, from := range map[string]string{
		images.DiskName:    filepath.Join(f.cache.Dir(f.disk), images.DiskName),
		images.KernelName:  filepath.Join(f.cache.Dir(f.debian), "vmlinuz"),
		images.InitrdName:  filepath.Join(f.cache.Dir(f.initrd), images.InitrdName),
		images.KubectlName: filepath.Join(f.cache.Dir(f.made["kubernetes"]), "kubectl"),

		images.BootstrapName: filepath.Join(f.cache.Dir(f.made["kubernetes"]), images.BootstrapName),
	} {
		if err := linkOrCopy(from, filepath.Join(out, name)); err != nil {
			return err
		}
	}
	for _, name := range append(slices.Collect(maps.Keys(qemuFirmware)), images.EmulatorProgram) {
		if err := linkOrCopy(filepath.Join(f.cache.Dir(f.qemu), name), filepath.Join(out, images.EmulatorFolder, name)); err != nil {
			return err
		}
	}
	mirror := filepath.Join(f.cache.Dir(f.layout), images.MirrorName)
	if err := linkTree(mirror, filepath.Join(out, images.MirrorName)); err != nil {
		return err
	}
	m := images.Manifest{Skiff: f.skiff, KubernetesVersion: KubernetesVersion, Architecture: "amd64", Cmdline: cmdline, DiskBytes: diskBytes}
	var err error
	if m.Files, err = describe(ctx, out); err != nil {
		return err
	}
	if m.Components, err = f.describeComponents(); err != nil {
		return err
	}
	if m.Images, err = describeImages(mirror); err != nil {
		return err
	}
	content, err := m.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, images.ManifestName), content, 0o644)
}

// describe returns every file below dir with size and digest, two at a time being hashed.
func describe(ctx context.Context, dir string) (map[string]images.File, error) {
	files := map[string]images.File{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		file := images.File{Name: name, Size: info.Size(), Sparse: name == images.DiskName, Mode: 0o644 | uint32(info.Mode().Perm()&0o111)}
		if file.SHA256, err = images.Hash(ctx, path, file.Sparse, nil); err != nil {
			return err
		}
		files[name] = file
		return nil
	})
	return files, err
}

func (f folder) describeComponents() ([]images.Component, error) {
	var all []images.Component
	for _, c := range f.components {
		for _, name := range sorted(c.outputs) {
			digest, err := hashFile(filepath.Join(f.cache.Dir(f.made[c.name]), name))
			if err != nil {
				return nil, err
			}
			all = append(all, images.Component{Name: name, Module: c.module, Version: c.version, Digest: digest})
		}
	}
	digest, err := hashFile(filepath.Join(f.cache.Dir(f.made["pause"]), "pause"))
	if err != nil {
		return nil, err
	}
	all = append(all, images.Component{Name: "pause", Module: "github.com/skiff-k8s/skiff/images/components/pause", Version: pauseVersion, Digest: digest})
	emulator, err := f.describeEmulator()
	if err != nil {
		return nil, err
	}
	all = append(all, emulator)
	debian, err := debianComponents(filepath.Join(f.cache.Dir(f.debian), "root"))
	if err != nil {
		return nil, err
	}
	for _, p := range debian {
		all = append(all, images.Component{Name: p[0], Module: "debian/" + suite, Version: p[1]})
	}
	return all, nil
}

func (f folder) describeEmulator() (images.Component, error) {
	dir := f.cache.Dir(f.qemu)
	digest, err := hashFile(filepath.Join(dir, images.EmulatorProgram))
	if err != nil {
		return images.Component{}, err
	}
	version, err := os.ReadFile(filepath.Join(dir, qemuVersionName))
	return images.Component{Name: images.EmulatorProgram, Module: "debian/" + suite + "/source/qemu", Version: string(version), Digest: digest}, err
}

func describeImages(mirror string) ([]images.Image, error) {
	index, err := readLayout(mirror)
	if err != nil {
		return nil, err
	}
	var all []images.Image
	for _, d := range index.Manifests {
		all = append(all, images.Image{
			Reference: d.Annotations["org.opencontainers.image.ref.name"], Digest: d.Digest.String(), StandIn: d.Annotations[StandInLabel] != "",
		})
	}
	return all, nil
}

func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return linkOrCopy(path, filepath.Join(to, name))
	})
}

// pruneImages removes images that are older than keepFor and not the one to keep. Clusters do not use them: they have the copy
// that was installed for them.
func pruneImages(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var problems []error
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !entry.IsDir() || entry.Name() == keep || time.Since(info.ModTime()) < keepFor {
			continue
		}
		problems = append(problems, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return errors.Join(problems...)
}

// publish puts the finished folder at dir/<digest>, unless it is there, and points dir/current to it. Both appear in one step.
func publish(from, dir string, m images.Manifest) (string, error) {
	target := filepath.Join(dir, m.Digest)
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		partial := target + ".partial"
		if err := errors.Join(os.RemoveAll(partial), linkTree(from, partial)); err != nil {
			return "", err
		}
		if err := os.Rename(partial, target); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	if err := pruneImages(dir, m.Digest); err != nil {
		return "", err
	}
	return target, images.Point(dir, m.Digest)
}
