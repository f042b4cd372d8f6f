package qemu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// A saved boot is a machine of an image, of one size, that has booted and has no identity: its layer of the disk, and its saved
// state. A new machine of that size goes on from a copy of it and takes its identity then. It saves the boot, which takes ten
// times as long under emulation. See site/content/design/saved-boot.md.

// What the guest writes on its console: images/build/guest/usr/local/lib/skiff/identity.
const (
	namelessMarker = "skiff: waits for its identity"
	namedMarker    = "skiff: has its identity"
)

var _ drivers.Reporting = (*Machine)(nil)

// bootOf names the files of the saved boot that a machine may go on from.
func bootOf(spec machine.Spec) files {
	return files{dir: filepath.Join(spec.Image.Boots, fmt.Sprintf("%dx%d", spec.CPUs, spec.MemoryMiB))}
}

// SaveBoot boots a machine of that size, image and network card, and keeps it in the image's folder of saved boots. It does
// nothing where one that fits is there, and where guests do not run under software emulation: then they boot in two seconds.
// It reports whether it saved one.
func (d *Driver) SaveBoot(ctx context.Context, spec machine.Spec) (saved bool, err error) {
	if _, err := d.machine(spec).savedBoot(tcg); err == nil {
		return false, nil
	}
	accel, err := d.accelerator(ctx, spec.Image)
	if err != nil || accel.Name != tcg || memoryStays() != nil {
		return false, err
	}
	if err := d.saveBoot(ctx, spec); err != nil {
		return false, fmt.Errorf("save a boot of the image: %w", err)
	}
	return true, nil
}

func (d *Driver) saveBoot(ctx context.Context, spec machine.Spec) (err error) {
	target := bootOf(spec)
	if err := os.MkdirAll(spec.Image.Boots, 0o755); err != nil {
		return err
	}
	spec.Cluster, spec.Name, spec.Dir = "boot", "nameless", part(target.dir)
	if err := d.machine(spec).kill(ctx); err != nil { // one whose builder was killed
		return err
	}
	if _, err = newFolder(target.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(spec.Dir)) }()
	if spec.RunDir, err = os.MkdirTemp(host.ShortTemp, "skiff-boot-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(spec.RunDir)) }()
	spec.Network.Socket = filepath.Join(spec.RunDir, "net.sock")
	hangUp, err := nobody(ctx, spec.Network.Socket)
	if err != nil {
		return err
	}
	defer hangUp()
	m := d.machine(spec)
	if err := m.bootNameless(ctx); err != nil {
		return err
	}
	if err := m.Suspend(ctx); err != nil {
		return errors.Join(err, m.kill(ctx))
	}
	return m.settleBoot(ctx, target)
}

// nobody is a network in which nobody answers.
func nobody(ctx context.Context, socket string) (hangUp func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	go func() { // it ends with the listener, and with QEMU
		conn, err := listener.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	return func() { _ = listener.Close() }, nil
}

// bootNameless makes and boots a machine without an identity, and returns when it waits for one.
func (m *Machine) bootNameless(ctx context.Context) error {
	if err := seed.WriteNameless(m.files.seed()); err != nil {
		return err
	}
	if err := hostfiles.CreateDisk(ctx, m.driver.options.QEMUImg, m.files.disk(), m.spec); err != nil {
		return err
	}
	memory, err := newMemory(m.memoryBytes())
	if err != nil {
		return err
	}
	defer func() { _ = memory.Close() }()
	return m.launch(ctx, tcg, memory, nil, func(_ context.Context, qemu *monitor) error {
		ctx, cancel := context.WithTimeout(ctx, m.driver.limits.boot)
		defer cancel()
		return m.says(ctx, qemu, namelessMarker, 0)
	})
}

// says returns when the guest has written text on its console, behind the first bytes.
func (m *Machine) says(ctx context.Context, qemu *monitor, text string, behind int64) error {
	err := every(ctx, answerTick, func() (done bool, err error) {
		console, err := os.Open(m.files.console())
		if err != nil {
			return false, absent(err)
		}
		defer func() { _ = console.Close() }()
		if _, err := console.Seek(behind, io.SeekStart); err != nil {
			return false, err
		}
		written, err := io.ReadAll(console)
		if err != nil || bytes.Contains(written, []byte(text)) {
			return err == nil, err
		}
		_, err = qemu.status(ctx) // a QEMU that has ended will not say any more
		return false, err
	})
	if err != nil {
		return fmt.Errorf("wait for %q on the console: %w", text, err)
	}
	return nil
}

// kill ends the machine's process, if there is one.
func (m *Machine) kill(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	p, err := m.process(ctx)
	if err != nil || p == nil {
		return err
	}
	defer p.release()
	return p.end(ctx, m.driver.limits.end)
}

// settleBoot makes what is left of a machine that was suspended a saved boot, which other users may read.
func (m *Machine) settleBoot(ctx context.Context, target files) error {
	kept, err := m.files.readManifest(m.files.suspended())
	if err != nil {
		return err
	}
	sum, err := images.Hash(ctx, m.files.disk(), false, nil)
	if err != nil {
		return err
	}
	kept.Disk = &disk{Bytes: m.spec.DiskBytes, SHA256: sum}
	if err := m.files.writeManifest(m.files.suspended(), kept); err != nil {
		return err
	}
	problems := []error{hostfiles.Remove(m.files.seed(), m.files.console(), m.files.errors())}
	for _, dir := range []string{m.files.dir, m.files.suspended()} {
		problems = append(problems, os.Chmod(dir, 0o755))
	}
	for _, path := range []string{
		m.files.disk(), filepath.Join(m.files.suspended(), manifestName), filepath.Join(m.files.suspended(), memoryName),
		filepath.Join(m.files.suspended(), devicesName),
	} {
		problems = append(problems, os.Chmod(path, 0o644))
	}
	problems = append(problems, os.RemoveAll(target.dir), os.Rename(m.files.dir, target.dir))
	return errors.Join(problems...)
}

// savedBoot returns the manifest of the boot that the machine may go on from. There being none wraps fs.ErrNotExist, and
// one that does not fit is fail.SnapshotMismatch.
func (m *Machine) savedBoot(accel accelerator) (manifest, error) {
	if m.spec.Image.Boots == "" {
		return manifest{}, fs.ErrNotExist
	}
	kept, err := m.files.readManifest(bootOf(m.spec).suspended())
	if err != nil {
		return kept, err
	}
	if kept.Memory == nil || kept.Disk == nil {
		return kept, &damageError{what: "it is no saved boot"}
	}
	what := kept.Memory.Key.differs(keyOf(m.spec, accel, kept.Memory.Key.QEMU))
	if kept.Disk.Bytes != m.spec.DiskBytes {
		what = "its disk has another size"
	}
	if what != "" {
		return kept, fail.New(fail.SnapshotMismatch, "use a saved boot", "it does not fit: %s", what)
	}
	return kept, nil
}

// bootNew boots a machine that was never used: from a saved boot, or else, when done is false, the caller does from its disk. That
// is as if it had never been used.
func (m *Machine) bootNew(ctx context.Context, accel accelerator, report func(string, int64, int64)) (done bool, err error) {
	if hostfiles.Exists(m.files.chain()) { // a snapshot stands on its disk
		return false, m.files.used()
	}
	kept, err := m.savedBoot(accel)
	if err == nil {
		if err = m.fromSavedBoot(ctx, accel, kept); err == nil {
			return true, nil
		}
		anew, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.driver.limits.start)
		defer cancel()
		if failed := m.driver.create(anew, m); failed != nil {
			return true, hostfiles.DiskFull(errors.Join(err, failed), m.spec.Dir)
		}
	}
	if ctx.Err() != nil {
		return true, err
	}
	if !errors.Is(err, fs.ErrNotExist) && !fail.Is(err, fail.SnapshotMismatch) {
		report(fmt.Sprintf("booting from the disk, as the saved boot is of no use (%v)", err), 0, 0)
	}
	return false, m.files.used()
}

// fromSavedBoot makes the machine go on from a saved boot. After an error no process is left.
func (m *Machine) fromSavedBoot(ctx context.Context, accel accelerator, kept manifest) error {
	boot := bootOf(m.spec)
	if err := m.copyDisk(ctx, boot.disk(), kept.Disk.SHA256); err != nil {
		return err
	}
	return m.goOnFrom(ctx, boot.suspended(), kept.Memory, accel, m.takeIdentity)
}

// copyDisk puts a copy of a saved boot's layer in the place of the machine's.
func (m *Machine) copyDisk(ctx context.Context, from, sum string) error {
	copied := hostfiles.Part(m.files.disk())
	if err := copyFile(from, copied, sum); err != nil {
		return err
	}
	// It has the name of the image's disk where it was made. Nothing of either is read for this (-u).
	_, err := hostfiles.Output(ctx, m.driver.options.QEMUImg, "rebase", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", m.spec.Image.Disk, "--", copied)
	if err != nil {
		return fmt.Errorf("put its disk over that of the image: %w", err)
	}
	return os.Rename(copied, m.files.disk())
}

func copyFile(from, to, sum string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	have := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, have), in); err != nil {
		return err
	}
	if hex.EncodeToString(have.Sum(nil)) != sum {
		return &damageError{what: "its disk is not as it was written"}
	}
	return nil
}

// takeIdentity lets the guest go on and returns when it is the machine that the seed disk says.
func (m *Machine) takeIdentity(ctx context.Context, qemu *monitor) error {
	var written int64
	if info, err := os.Stat(m.files.console()); err == nil {
		written = info.Size()
	}
	// From here on the disk has something on it that is nowhere else.
	if err := m.files.used(); err != nil {
		return err
	}
	if err := qemu.execute(ctx, "cont", nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.named)
	defer cancel()
	return m.says(ctx, qemu, namedMarker, written)
}
