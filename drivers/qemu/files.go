package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/internal/logfile"
	"github.com/skiff-k8s/skiff/machine"
)

// files names the files of one machine.
type files struct {
	dir, run, cluster string
	skiff             string // version of this skiff: files that it writes name it
}

func filesOf(spec machine.Spec) files {
	return files{dir: spec.Dir, run: spec.RunDir, cluster: spec.Cluster}
}

func (f files) disk() string { return filepath.Join(f.dir, firstLayer) }

// layer is a file of the disk by its name; chain says which there are. It comes into being when the disk has more than one.
func (f files) layer(name string) string { return filepath.Join(f.dir, name) }
func (f files) chain() string            { return filepath.Join(f.dir, "disk.json") }

// suspended is the memory of a machine that was suspended; snapshots has a folder for each snapshot.
func (f files) suspended() string           { return filepath.Join(f.dir, "suspended") }
func (f files) snapshots() string           { return filepath.Join(f.dir, "snapshots") }
func (f files) snapshot(name string) string { return filepath.Join(f.snapshots(), name) }

// unused is there as long as the guest of the machine has never executed: its disk can be made anew.
func (f files) unused() string { return filepath.Join(f.dir, "unused") }

// used ends that, for good when it returns.
func (f files) used() error {
	if !hostfiles.Exists(f.unused()) {
		return nil
	}
	return errors.Join(os.Remove(f.unused()), hostfiles.Sync(f.dir))
}

// part is the name of a folder that is being made, or being removed.
func part(path string) string { return path + ".part" }

func (f files) seed() string    { return filepath.Join(f.dir, "seed.iso") }
func (f files) console() string { return filepath.Join(f.dir, "console.log") }

// errors is where QEMU complains.
func (f files) errors() string { return filepath.Join(f.dir, "qemu.log") }

// pid lies with the disk: folders of sockets may be cleared while the process lives, and then it must still be found.
func (f files) pid() string { return filepath.Join(f.dir, "qemu.pid") }

func (f files) monitor() string { return filepath.Join(f.run, "qmp.sock") }

// made reports whether there is a machine.
func (f files) made() bool { return hostfiles.Exists(f.disk()) || hostfiles.Exists(f.chain()) }

// remove removes all that the driver made, whatever of it is there.
func (f files) remove() error {
	layers, err := f.layerFiles()
	problems := []error{absent(err)}
	for _, layer := range layers {
		problems = append(problems, hostfiles.Remove(f.layer(layer)))
	}
	problems = append(problems, hostfiles.Remove(f.chain(), hostfiles.Part(f.disk()), f.unused(), f.seed(), f.console(),
		logfile.Older(f.console()), f.errors(), f.pid(), f.monitor()))
	for _, path := range []string{f.suspended(), part(f.suspended()), f.snapshots()} {
		problems = append(problems, os.RemoveAll(path))
	}
	return errors.Join(problems...)
}

// lock keeps other handles of the same machine, also those of other processes, from changing it at the same time.
func (f files) lock(ctx context.Context) (release func(), err error) {
	return hostfiles.Lock(ctx, f.dir)
}

// checkDisk returns what is wrong with the machine's disk, as far as a look at it shows.
func (f files) checkDisk(spec machine.Spec) error {
	c, err := f.readChain()
	if err != nil {
		return err
	}
	return f.checkLayers(c.below(c.Active), spec)
}

// checkLayers is checkDisk for a disk of these layers.
func (f files) checkLayers(layers []string, spec machine.Spec) error {
	for _, layer := range layers {
		if err := hostfiles.CheckDisk(f.layer(layer), spec); err != nil {
			return err
		}
	}
	return nil
}
