package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/skiff-k8s/skiff/machine"
)

// files names the files of one machine.
type files struct{ dir, run string }

func filesOf(spec machine.Spec) files { return files{dir: spec.Dir, run: spec.RunDir} }

func (f files) disk() string     { return filepath.Join(f.dir, firstLayer) }
func (f files) diskPart() string { return filepath.Join(f.dir, "disk.qcow2.part") }

// layer is a file of the disk by its name; chain says which there are. It comes into being when the disk has more than one.
func (f files) layer(name string) string { return filepath.Join(f.dir, name) }
func (f files) chain() string            { return filepath.Join(f.dir, "disk.json") }

// suspended is the memory of a machine that was suspended; snapshots has a folder for each snapshot.
func (f files) suspended() string           { return filepath.Join(f.dir, "suspended") }
func (f files) snapshots() string           { return filepath.Join(f.dir, "snapshots") }
func (f files) snapshot(name string) string { return filepath.Join(f.snapshots(), name) }

// part is the name of a folder that is being made, or being removed.
func part(path string) string   { return path + ".part" }
func (f files) seed() string    { return filepath.Join(f.dir, "seed.iso") }
func (f files) console() string { return filepath.Join(f.dir, "console.log") }

// errors is where QEMU complains.
func (f files) errors() string { return filepath.Join(f.dir, "qemu.log") }

// pid lies with the disk: folders of sockets may be cleared while the process lives, and then it must still be found.
func (f files) pid() string { return filepath.Join(f.dir, "qemu.pid") }

func (f files) monitor() string { return filepath.Join(f.run, "qmp.sock") }

func older(path string) string { return path + ".1" }

// made reports whether there is a machine.
func (f files) made() bool { return exists(f.disk()) || exists(f.chain()) }

// remove removes all that the driver made, whatever of it is there.
func (f files) remove() error {
	var problems []error
	layers, err := f.layerFiles()
	if absent(err) != nil {
		problems = append(problems, err)
	}
	for _, layer := range layers {
		problems = append(problems, absent(os.Remove(f.layer(layer))))
	}
	for _, path := range []string{f.chain(), f.diskPart(), f.seed(), f.console(), older(f.console()), f.errors(), f.pid(), f.monitor()} {
		problems = append(problems, absent(os.Remove(path)))
	}
	for _, path := range []string{f.suspended(), part(f.suspended()), f.snapshots()} {
		problems = append(problems, os.RemoveAll(path))
	}
	return errors.Join(problems...)
}

const lockTick = 50 * time.Millisecond

// lock keeps other handles of the same machine, also those of other processes, from changing it at the same time. The
// lock is on the machine's folder itself, so it leaves no file. No folder gives an error that wraps fs.ErrNotExist.
func (f files) lock(ctx context.Context) (release func(), err error) {
	lock := flock.New(f.dir, flock.SetFlag(os.O_RDONLY))
	if _, err := lock.TryLockContext(ctx, lockTick); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.dir, err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// rotate keeps the console's log from growing for ever. QEMU appends, and only between two runs can the file be moved.
func (f files) rotate() error {
	const limit = 8 << 20 // bytes
	info, err := os.Stat(f.console())
	if err != nil || info.Size() < limit {
		return nil //nolint:nilerr // there is none yet
	}
	return os.Rename(f.console(), older(f.console()))
}

// checkDisk returns what is wrong with the machine's disk, as far as a look at it shows.
func (f files) checkDisk(base string) error {
	c, err := f.readChain()
	if err != nil {
		return err
	}
	for _, layer := range c.below(c.Active) {
		if err := checkLayer(f.layer(layer)); err != nil {
			return err
		}
	}
	if !exists(base) {
		return fmt.Errorf("the disk of its image, %s, is not there", base)
	}
	return nil
}

// checkLayer returns what is wrong with one file of a disk.
func checkLayer(path string) error {
	disk, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = disk.Close() }()
	// QEMU documentation, "interop/qcow2": magic number and version, both big-endian.
	var header struct{ Magic, Version uint32 }
	const magic = 0x514649fb
	if err := binary.Read(disk, binary.BigEndian, &header); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read its disk: %w", err)
	}
	if header.Magic != magic || header.Version < 2 || header.Version > 3 {
		return fmt.Errorf("its disk %s is no qcow2 file", path)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// tail returns the last few lines of a file of any size, in one line; empty when there are none.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	const most = 4096
	if info, err := file.Stat(); err == nil && info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return ""
		}
	}
	end, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return ""
	}
	return lastLines(end)
}
