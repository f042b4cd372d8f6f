package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
)

var _ drivers.Snapshotter = (*Machine)(nil)

// saved is a snapshot as its folder has it.
type saved struct {
	name     string
	manifest manifest
	err      error // why it cannot be read
}

// readSnapshots returns all finished snapshots.
func (f files) readSnapshots() ([]saved, error) {
	entries, err := os.ReadDir(f.snapshots())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []saved
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), part("")) {
			continue
		}
		one := saved{name: entry.Name()}
		one.manifest, one.err = f.readManifest(f.snapshot(entry.Name()))
		list = append(list, one)
	}
	return list, nil
}

// clearParts removes what saves and deletions have left that were cut off. It needs the machine's lock.
func (f files) clearParts() error {
	parts, err := filepath.Glob(filepath.Join(f.snapshots(), "*"+part("")))
	for _, path := range parts {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// SaveSnapshot copies the memory twice: all of it while the guest runs, and then, while it stands still, what has changed
// since. The disk gets a new layer in that moment.
func (m *Machine) SaveSnapshot(ctx context.Context, name string, note []byte, quiesce drivers.Quiesce) (drivers.Snapshot, error) {
	release, err := m.files.lock(ctx)
	var stood time.Duration
	if err == nil {
		defer release()
		stood, err = m.save(ctx, name, note, quiesce)
	}
	if err != nil {
		return drivers.Snapshot{}, hostfiles.DiskFull(fmt.Errorf("save snapshot %q of machine %q: %w", name, m.spec.Name, err), m.spec.Dir)
	}
	c, err := m.files.readManifest(m.files.snapshot(name))
	snapshot := m.files.describe(saved{name: name, manifest: c, err: err})
	snapshot.Frozen = stood
	return snapshot, nil
}

func (m *Machine) save(ctx context.Context, name string, note []byte, quiesce drivers.Quiesce) (stood time.Duration, err error) {
	if !m.files.made() {
		return 0, errors.New("it does not exist")
	}
	if err := m.files.clearParts(); err != nil {
		return 0, err
	}
	if hostfiles.Exists(m.files.snapshot(name)) {
		return 0, fs.ErrExist
	}
	p, err := m.process(ctx)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.files.clearParts())
		}
	}()
	if p == nil {
		return 0, m.saveStopped(ctx, name, note)
	}
	defer p.release()
	return m.saveRunning(ctx, p, name, note, quiesce)
}

// saveStopped makes a snapshot of a machine without a process: its disk, and its memory when it is suspended.
func (m *Machine) saveStopped(ctx context.Context, name string, note []byte) error {
	made := manifest{Created: time.Now().UTC(), Note: note}
	kept, err := m.files.readManifest(m.files.suspended())
	var dir string
	switch {
	case err == nil:
		made.Memory = kept.Memory
		dir, err = share(m.files.suspended(), m.files.snapshot(name))
	case errors.Is(err, fs.ErrNotExist):
		dir, err = newFolder(m.files.snapshot(name))
	}
	if err != nil {
		return err
	}
	c, err := m.files.readChain()
	if err != nil {
		return err
	}
	made.Layer = c.Active
	layer, err := m.driver.newLayer(ctx, m, c.Active)
	if err != nil {
		return err
	}
	if err := m.files.writeManifest(dir, made); err != nil {
		return err
	}
	if err := c.with(layer, c.Active).write(m.files); err != nil {
		return err
	}
	return m.settle(m.files.snapshot(name))
}

func (m *Machine) saveRunning(ctx context.Context, p *process, name string, note []byte, quiesce drivers.Quiesce) (stood time.Duration, err error) {
	if err := memoryStays(); err != nil {
		return 0, err
	}
	if _, err := m.sameArguments(p); err != nil {
		return 0, err
	}
	dir, err := newFolder(m.files.snapshot(name))
	if err != nil {
		return 0, err
	}
	file, err := os.OpenFile(filepath.Join(dir, memoryName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := m.copyAhead(ctx, p, file); err != nil {
		return 0, err
	}
	made := manifest{Created: time.Now().UTC(), Running: true, Note: note}
	guest, release := &frozen{process: p}, func() {}
	if quiesce != nil {
		release, made.Unquiet = quiesce(ctx)
	}
	begun := time.Now()
	err = m.saveFrozen(ctx, guest, file, &made)
	err = errors.Join(err, m.thaw(ctx, guest))
	release()
	stood = time.Since(begun)
	if err != nil {
		return stood, err
	}
	if made.Memory.Devices, err = writeDevices(dir, guest.devices); err != nil {
		return stood, err
	}
	if err := m.files.writeManifest(dir, made); err != nil {
		return stood, err
	}
	return stood, m.settle(m.files.snapshot(name))
}

// copyAhead copies the memory while the guest goes on. A second time would cost nearly as much, only to compare, and leave as much
// again to be copied while the guest stands still.
func (m *Machine) copyAhead(ctx context.Context, p *process, to *os.File) error {
	from, err := openMemory(p)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	_, _, err = copyMemory(ctx, to, from, m.memoryBytes())
	return err
}

// saveFrozen makes the guest stand still, gives its disk a new layer, and completes the copy of its memory. The caller
// lets it go on, also after an error.
func (m *Machine) saveFrozen(ctx context.Context, guest *frozen, file *os.File, made *manifest) error {
	err := m.freeze(ctx, guest, func(ctx context.Context, qemu *monitor) (err error) {
		made.Layer, err = m.addLayer(ctx, qemu)
		return err
	})
	if err != nil {
		return err
	}
	made.Memory, err = m.copyOut(ctx, guest, file)
	return err
}

// addLayer puts a new layer over the one that the guest writes to, and returns the latter, which does not change any
// more. The file that describes the layers is written first: were this cut off in between, the guest would go on to write
// to the lower one, and the new one is empty and shows just that.
func (m *Machine) addLayer(ctx context.Context, qemu *monitor) (below string, err error) {
	active, err := qemu.activeLayer(ctx)
	if err != nil {
		return "", err
	}
	c, err := m.files.readChain()
	if err != nil {
		return "", err
	}
	layer, err := m.driver.newLayer(ctx, m, active)
	if err != nil {
		return "", err
	}
	if err := c.with(layer, active).write(m.files); err != nil {
		return "", err
	}
	if err := qemu.call(ctx, "blockdev-add", layerOptions(m.files, layer, nil), nil); err != nil {
		return "", err
	}
	return active, qemu.call(ctx, "blockdev-snapshot", map[string]string{"node": nodeName(active), "overlay": nodeName(layer)}, nil)
}

// activeLayer returns the layer that the guest writes to.
func (m *monitor) activeLayer(ctx context.Context) (string, error) {
	layer, _, err := m.guestDisk(ctx)
	return layer, err
}

// guestDisk returns the layer that the guest writes to, and the bytes that it shows.
func (m *monitor) guestDisk(ctx context.Context) (layer string, bytes int64, err error) {
	var devices []struct {
		Inserted struct {
			Node  string `json:"node-name"`
			Image struct {
				Bytes int64 `json:"virtual-size"`
			} `json:"image"`
		} `json:"inserted"`
	}
	if err := m.execute(ctx, "query-block", &devices); err != nil {
		return "", 0, err
	}
	for _, device := range devices {
		layer := device.Inserted.Node + ".qcow2"
		if _, ok := layerNumber(layer); ok {
			return layer, device.Inserted.Image.Bytes, nil
		}
	}
	return "", 0, errors.New("QEMU does not tell which disk the guest has")
}

// RestoreSnapshot ends QEMU, without asking the guest, and puts a new layer over the snapshot's. Cut off in between, the
// machine has the snapshot's disk or the one of before, and boots from it.
func (m *Machine) RestoreSnapshot(ctx context.Context, name string) error {
	release, err := m.files.lock(ctx)
	if err == nil {
		defer release()
		err = m.restore(ctx, name)
	}
	if err != nil {
		return hostfiles.DiskFull(fmt.Errorf("restore snapshot %q of machine %q: %w", name, m.spec.Name, err), m.spec.Dir)
	}
	return nil
}

func (m *Machine) restore(ctx context.Context, name string) error {
	kept, err := m.files.readManifest(m.files.snapshot(name))
	if err != nil {
		if !hostfiles.Exists(m.files.snapshot(name)) {
			return err
		}
		return mismatch(err)
	}
	c, err := m.files.readChain()
	if err != nil {
		return err
	}
	if err := m.files.checkLayers(c.below(kept.Layer), m.spec); err != nil {
		return err
	}
	layer, err := m.driver.newLayer(ctx, m, kept.Layer)
	if err != nil {
		return err
	}
	if err := m.endProcess(ctx, kept.Memory); err != nil {
		return err
	}
	// From here on it is done to the end: half way there is neither the old state nor the new one, only its disk.
	ctx = context.WithoutCancel(ctx)
	if err := discard(m.files.suspended()); err != nil {
		return err
	}
	if err := c.with(layer, kept.Layer).write(m.files); err != nil {
		return err
	}
	if kept.Memory != nil {
		dir, err := share(m.files.snapshot(name), m.files.suspended())
		if err != nil {
			return err
		}
		if err := m.files.writeManifest(dir, manifest{Created: kept.Created, Running: true, Memory: kept.Memory}); err != nil {
			return err
		}
		if err := m.driver.settle(m.files.suspended()); err != nil {
			return err
		}
	}
	_ = m.driver.tidy(ctx, m, false) // it is done again the next time
	return nil
}

// endProcess ends QEMU without asking the guest, if one runs. Its memory is left for the one that goes on from next.
func (m *Machine) endProcess(ctx context.Context, next *memory) error {
	p, err := m.process(ctx)
	if err != nil || p == nil {
		return err
	}
	defer p.release()
	var left *os.File
	if next != nil {
		if _, err := m.sameArguments(p); err == nil {
			left, _ = openMemory(p) // a new one does as well
		}
	}
	if err := m.quit(ctx, p); err != nil {
		if left != nil {
			_ = left.Close()
		}
		return err
	}
	m.left = left
	return nil
}

// DeleteSnapshot removes the snapshot's memory, and its part of the disk as far as nothing else stands on it.
func (m *Machine) DeleteSnapshot(ctx context.Context, name string) error {
	release, err := m.files.lock(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer release()
		err = m.drop(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("delete snapshot %q of machine %q: %w", name, m.spec.Name, err)
	}
	return nil
}

func (m *Machine) drop(ctx context.Context, name string) error {
	path := m.files.snapshot(name)
	if !hostfiles.Exists(path) {
		return m.files.clearParts()
	}
	// What else stands on its layers only a skiff knows that can read both.
	_, unread := m.files.readManifest(path)
	_, unknown := m.files.readChain()
	for _, err := range []error{unread, unknown} {
		if fail.Is(err, fail.StateNewer) {
			return err
		}
	}
	if err := os.RemoveAll(part(path)); err != nil {
		return err
	}
	if err := os.Rename(path, part(path)); err != nil {
		return err
	}
	if err := m.files.clearParts(); err != nil {
		return err
	}
	p, err := m.process(ctx)
	if err != nil {
		return err
	}
	if p != nil {
		defer p.release()
	}
	return m.driver.tidy(ctx, m, p != nil)
}

// Snapshots reads the manifests.
func (m *Machine) Snapshots(ctx context.Context) ([]drivers.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := m.files.readSnapshots()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots of machine %q: %w", m.spec.Name, err)
	}
	snapshots := make([]drivers.Snapshot, 0, len(list))
	for _, one := range list {
		snapshots = append(snapshots, m.files.describe(one))
	}
	slices.SortStableFunc(snapshots, func(a, b drivers.Snapshot) int { return a.Created.Compare(b.Created) })
	return snapshots, nil
}

// describe tells of a snapshot what it costs too: its own files, and the layer of the disk that is there for it.
func (f files) describe(s saved) drivers.Snapshot {
	dir := f.snapshot(s.name)
	bytes := allocated(filepath.Join(dir, manifestName))
	for _, name := range []string{memoryName, devicesName} {
		bytes += allocated(filepath.Join(dir, name))
	}
	if s.err == nil {
		bytes += allocated(f.layer(s.manifest.Layer))
	}
	return drivers.Snapshot{
		Name: s.name, Created: s.manifest.Created, Running: s.manifest.Running, Memory: s.manifest.Memory != nil,
		Bytes: bytes, Note: s.manifest.Note, Unquiet: s.manifest.Unquiet, Err: mismatch(s.err),
	}
}
