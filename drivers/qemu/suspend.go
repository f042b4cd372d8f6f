package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

var (
	_ drivers.Suspender = (*Machine)(nil)
	_ drivers.Pauser    = (*Machine)(nil)
	_ drivers.Movable   = (*Machine)(nil)
)

// frozen is a guest that stands still, with all of it that is not in its memory.
type frozen struct {
	process *process
	ran     bool   // before it was made to stand still
	version string // of the QEMU that runs it
	devices []byte

	accelerator accelerator
}

// Suspend makes the guest stand still, copies its memory to a file, and ends QEMU.
func (m *Machine) Suspend(ctx context.Context) error {
	err := m.ending(ctx, m.suspend)
	if err != nil {
		return hostfiles.DiskFull(fmt.Errorf("suspend machine %q: %w", m.spec.Name, err), m.spec.Dir)
	}
	return nil
}

func (m *Machine) suspend(ctx context.Context, p *process) error {
	if err := memoryStays(); err != nil {
		return err
	}
	// What is left of another time, when a suspended machine was made to go on and that command was cut off.
	if err := discard(m.files.suspended()); err != nil {
		return err
	}
	guest := &frozen{process: p}
	err := m.keep(ctx, guest)
	if err != nil {
		return errors.Join(err, m.thaw(ctx, guest), os.RemoveAll(part(m.files.suspended())))
	}
	// From here on it is done to the end: the memory is kept, so the guest must not go on.
	if err := m.quit(context.WithoutCancel(ctx), p); err != nil {
		return err
	}
	_ = m.driver.tidy(ctx, m, false) // it is done again the next time
	return m.syncDisk()              // QEMU closed it
}

// keep makes the guest stand still and its saved state.
func (m *Machine) keep(ctx context.Context, guest *frozen) error {
	dir, err := newFolder(m.files.suspended())
	if err != nil {
		return err
	}
	if err := m.freeze(ctx, guest, nil); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, memoryName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	kept, err := m.copyOut(ctx, guest, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if kept.Devices, err = writeDevices(dir, guest.devices); err != nil {
		return err
	}
	if err := m.files.writeManifest(dir, manifest{Created: time.Now().UTC(), Running: true, Memory: kept}); err != nil {
		return err
	}
	return m.settle(m.files.suspended())
}

// freeze makes the guest stand still and saves its devices; before, which may be nil, is called in between. guest tells
// what thaw has to take back, also after an error.
func (m *Machine) freeze(ctx context.Context, guest *frozen, before func(context.Context, *monitor) error) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, guest.process.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.start)
	defer cancel()
	guest.version = qemu.version
	if guest.accelerator, err = m.sameArguments(guest.process); err != nil {
		return err
	}
	if guest.ran, err = m.halt(ctx, qemu); err != nil {
		return err
	}
	if before != nil {
		if err := before(ctx, qemu); err != nil {
			return err
		}
	}
	guest.devices, err = qemu.saveDevices(ctx)
	return err
}

// sameArguments returns the accelerator of a QEMU that was started as this driver starts it, save for the layers of the
// disk. Only then is it known where the guest's memory is, and what it takes to go on from it.
func (m *Machine) sameArguments(p *process) (accelerator, error) {
	have, err := processes.Arguments(p.id)
	if err != nil || len(have) == 0 {
		return "", errors.Join(errors.New("QEMU has ended"), err)
	}
	accel, _, _ := strings.Cut(valueOf(have, "-accel"), ",")
	want := lasting(args(m.spec, accelerator(accel), []string{firstLayer}))
	if !slices.Equal(lasting(have[1:]), want) {
		return "", errors.New("another version of skiff, or for another size, started its QEMU")
	}
	return accelerator(accel), nil
}

// standStill keeps a new QEMU from letting the guest execute before it is told to.
const standStill = "-S"

// lasting returns arguments without those that change from one start to the next, and without the kernel's command line, which
// matters to nothing but a boot.
func lasting(arguments []string) []string {
	var list []string
	for i := 0; i < len(arguments); i++ {
		switch argument := arguments[i]; {
		case argument == "" || argument == standStill:
		case argument == "-incoming" || argument == "-blockdev" || argument == "-append":
			i++
		case strings.HasPrefix(argument, "virtio-blk-pci,drive=disk"):
		default:
			list = append(list, argument)
		}
	}
	return list
}

// valueOf returns what follows an option; empty when it is not there.
func valueOf(arguments []string, option string) string {
	if i := slices.Index(arguments, option); i >= 0 && i+1 < len(arguments) {
		return arguments[i+1]
	}
	return ""
}

// thaw lets a guest go on that was made to stand still and ran before. It does so also when ctx has ended.
func (m *Machine) thaw(ctx context.Context, guest *frozen) error {
	if !guest.ran || !guest.process.alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.driver.limits.start)
	defer cancel()
	qemu, err := m.reach(ctx, m.driver.limits.answer, guest.process.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	return m.letRun(ctx, qemu)
}

// copyOut brings a copy of the guest's memory up to date and describes it; the guest stands still.
func (m *Machine) copyOut(ctx context.Context, guest *frozen, to *os.File) (*memory, error) {
	from, err := openMemory(guest.process)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	size := m.memoryBytes()
	sums, _, err := copyMemory(ctx, to, from, size)
	if err != nil {
		return nil, err
	}
	return &memory{Key: keyOf(m.spec, guest.accelerator, guest.version), Bytes: size, Sums: sums.bytes()}, nil
}

func (m *Machine) memoryBytes() int64 { return int64(m.spec.MemoryMiB) << 20 }

// quit ends a QEMU whose guest is of no more use.
func (m *Machine) quit(ctx context.Context, p *process) error {
	if qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive); err == nil {
		limited, cancel := context.WithTimeout(ctx, m.driver.limits.end)
		_ = qemu.execute(limited, "quit", nil) // an error means that it was faster than its answer, or does not listen
		cancel()
		qemu.close()
		if ended, err := p.waitFor(ctx, m.driver.limits.end); ended || err != nil {
			return err
		}
	}
	return p.end(ctx, m.driver.limits.end)
}

// Suspended looks for the manifest of a memory.
func (m *Machine) Suspended(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if !hostfiles.Exists(filepath.Join(m.files.suspended(), manifestName)) {
		return false, nil
	}
	state, err := m.State(ctx)
	return state == machine.Stopped, err
}

// Fits compares what the manifest says with this host. A saved memory knows no names and no paths, so it can be moved.
func (m *Machine) Fits(ctx context.Context) error {
	err := memoryStays()
	if err == nil {
		err = m.fits(ctx)
	}
	if err != nil {
		return fmt.Errorf("look at the memory of machine %q: %w", m.spec.Name, mismatch(err))
	}
	return nil
}

func (m *Machine) fits(ctx context.Context) error {
	kept, err := m.files.readManifest(m.files.suspended())
	if err != nil {
		return err
	}
	if kept.Memory == nil {
		return &damageError{what: "there is no memory in it"}
	}
	accel, err := m.driver.accelerator(ctx, m.spec.Image)
	if err != nil {
		return err
	}
	version, err := versionOf(ctx, m.driver.program(m.spec.Image, accel.Name))
	if err != nil {
		return err
	}
	// What a packager calls the version comes with QEMU's greeting alone; Resume compares that too.
	if was, _, _ := strings.Cut(kept.Memory.Key.QEMU, " "); was != version.String() {
		return fail.New(fail.SnapshotMismatch, "use the saved memory", "it does not fit: QEMU is %s and was %s", version, was)
	}
	if what := kept.Memory.Key.differs(keyOf(m.spec, accel.Name, kept.Memory.Key.QEMU)); what != "" {
		return fail.New(fail.SnapshotMismatch, "use the saved memory", "it does not fit: %s", what)
	}
	return m.files.checkDisk(m.spec)
}

// Resume starts a QEMU that goes on from the kept memory. The last thing before the guest executes is to throw away what
// was kept.
func (m *Machine) Resume(ctx context.Context) error {
	release, err := m.files.lock(ctx)
	if err != nil {
		return fmt.Errorf("resume machine %q: %w", m.spec.Name, err)
	}
	defer release()
	if err := m.resumeKept(ctx); err != nil {
		return fmt.Errorf("resume machine %q: %w", m.spec.Name, mismatch(err))
	}
	return nil
}

func (m *Machine) resumeKept(ctx context.Context) error {
	p, err := m.process(ctx)
	if err != nil {
		return err
	}
	if p != nil {
		p.release()
		return errors.New("it runs already")
	}
	dir := m.files.suspended()
	kept, err := m.files.readManifest(dir)
	if err != nil {
		return err
	}
	accel, err := m.driver.accelerator(ctx, m.spec.Image)
	if err != nil {
		return err
	}
	if kept.Memory == nil {
		return &damageError{what: "there is no memory in it"}
	}
	if !hostfiles.Exists(m.files.seed()) { // the guest has read it, but looks for its disk
		if err := seed.Write(ctx, m.files.seed(), m.spec); err != nil {
			return hostfiles.DiskFull(err, m.spec.Dir)
		}
	}
	err = m.goOnFrom(ctx, dir, kept.Memory, accel.Name, func(ctx context.Context, qemu *monitor) error {
		if err := invalidate(dir); err != nil {
			return err
		}
		return qemu.execute(ctx, "cont", nil)
	})
	if err == nil {
		_ = os.RemoveAll(dir) // without a manifest it is nothing, and the next suspension removes it too
	}
	return err
}

// goOnFrom starts a QEMU with the memory that dir keeps, and calls ready when all of it is loaded and the guest stands still.
func (m *Machine) goOnFrom(ctx context.Context, dir string, kept *memory, accel accelerator, ready func(context.Context, *monitor) error) error {
	fits := func(version string) error {
		if what := kept.Key.differs(keyOf(m.spec, accel, version)); what != "" {
			return fail.New(fail.SnapshotMismatch, "use the saved memory", "it does not fit: %s", what)
		}
		return nil
	}
	if err := fits(kept.Key.QEMU); err != nil { // all but the version, which only the new QEMU tells
		return err
	}
	devices, err := readDevices(dir, kept.Devices)
	if err != nil {
		return err
	}
	memory, err := m.emptyOrLeft(kept.Bytes)
	if err != nil {
		return err
	}
	defer func() { _ = memory.Close() }()
	if err := m.prepare(); err != nil {
		return err
	}
	// QEMU starts meanwhile: it does not look at the memory before it loads the devices.
	loading, stop := context.WithCancel(ctx)
	loaded := make(chan error, 1)
	go func() {
		loaded <- loadKept(loading, memory, dir, kept)
		close(loaded)
	}()
	defer func() {
		stop()
		for range loaded { // nobody may write to a memory that is closed
		}
	}()
	return m.launch(ctx, accel, memory, []string{standStill, "-incoming", "defer"}, func(_ context.Context, qemu *monitor) error {
		if err := fits(qemu.version); err != nil {
			return err
		}
		if err := <-loaded; err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, m.driver.limits.start) // how long the memory takes depends on its size
		defer cancel()
		if err := qemu.loadDevices(ctx, devices); err != nil {
			return err
		}
		return ready(ctx, qemu)
	})
}

// emptyOrLeft returns a memory to be filled: the one that a restore has left where its size is right, or else a new one.
func (m *Machine) emptyOrLeft(size int64) (*os.File, error) {
	left := m.left
	m.left = nil
	if left == nil {
		return newMemory(size)
	}
	if info, err := left.Stat(); err != nil || info.Size() != size {
		_ = left.Close()
		return newMemory(size)
	}
	return left, nil
}

// loadKept fills a new memory with what was kept.
func loadKept(ctx context.Context, to *os.File, dir string, kept *memory) error {
	from, err := os.Open(filepath.Join(dir, memoryName))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return loadMemory(ctx, to, from, kept.Bytes, sumsOf(kept.Sums))
}

// Forget removes the kept memory.
func (m *Machine) Forget(ctx context.Context) error {
	release, err := m.files.lock(ctx)
	if absent(err) == nil && err != nil {
		return nil
	}
	if err == nil {
		defer release()
		err = discard(m.files.suspended())
	}
	if err != nil {
		return fmt.Errorf("forget the memory of machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Pause halts the guest.
func (m *Machine) Pause(ctx context.Context) error {
	if err := m.onProcess(ctx, m.pause); err != nil {
		return fmt.Errorf("pause machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Unpause lets a halted guest go on.
func (m *Machine) Unpause(ctx context.Context) error {
	if err := m.onProcess(ctx, m.goOn); err != nil {
		return fmt.Errorf("unpause machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// onProcess calls do with the machine's process, under the machine's lock.
func (m *Machine) onProcess(ctx context.Context, do func(context.Context, *process) error) error {
	release, err := m.files.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	p, err := m.process(ctx)
	if err != nil {
		return err
	}
	if p == nil {
		return errors.New("it does not run")
	}
	defer p.release()
	return do(ctx, p)
}

func (m *Machine) pause(ctx context.Context, p *process) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	_, err = m.halt(ctx, qemu)
	return err
}
