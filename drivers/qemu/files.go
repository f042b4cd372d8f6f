package qemu

import (
	"context"
	"path/filepath"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/machine"
)

// files names the files of one machine.
type files struct{ dir, run string }

func filesOf(spec machine.Spec) files { return files{dir: spec.Dir, run: spec.RunDir} }

func (f files) disk() string    { return filepath.Join(f.dir, "disk.qcow2") }
func (f files) seed() string    { return filepath.Join(f.dir, "seed.iso") }
func (f files) console() string { return filepath.Join(f.dir, "console.log") }

// errors is where QEMU complains.
func (f files) errors() string { return filepath.Join(f.dir, "qemu.log") }

// pid lies with the disk: folders of sockets may be cleared while the process lives, and then it must still be found.
func (f files) pid() string { return filepath.Join(f.dir, "qemu.pid") }

func (f files) monitor() string { return filepath.Join(f.run, "qmp.sock") }

// remove removes all that the driver made, whatever of it is there.
func (f files) remove() error {
	return hostfiles.Remove(f.disk(), hostfiles.Part(f.disk()), f.seed(), f.console(), hostfiles.Older(f.console()), f.errors(), f.pid(), f.monitor())
}

// lock keeps other handles of the same machine, also those of other processes, from changing it at the same time.
func (f files) lock(ctx context.Context) (release func(), err error) {
	return hostfiles.Lock(ctx, f.dir)
}
