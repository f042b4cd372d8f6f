package qemu

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// A machine's disk is a tree of qcow2 layers over the image's disk. The guest writes to one of them, the active one. The
// others are what snapshots stand on and never change. A machine without snapshots has one layer, and no file that says so.

// firstLayer is the layer that Create makes.
const firstLayer = "disk.qcow2"

// chain is the file that describes the tree.
type chain struct {
	Skiff  string `json:"skiff,omitempty"` // version that wrote it; empty in files from before it was noted
	Active string `json:"active"`
	// Parents has the layer below each layer; those that lie directly on the image are left out.
	Parents map[string]string `json:"parents,omitempty"`
}

// readChain reads what there is of the disk. A tree that only a newer skiff can read gives fail.StateNewer, a damaged one
// fail.StateCorrupt.
func (f files) readChain() (chain, error) {
	raw, err := os.ReadFile(f.chain())
	if errors.Is(err, fs.ErrNotExist) {
		return chain{Active: firstLayer}, nil
	}
	var c chain
	if err == nil {
		err = store.ReadJSON(raw, &c)
	}
	if err == nil {
		err = store.MadeBy(c.check(), raw)
	}
	if err = store.RefuseOther("read "+f.chain(), f.skiff, err); err != nil && !fail.Is(err, fail.StateNewer) {
		err = hostfiles.Corrupt(f.cluster, f.chain(), err)
	}
	if err != nil {
		return chain{}, err
	}
	return c, nil
}

// check refuses names that are not those of layers, and circles.
func (c chain) check() error {
	for _, name := range append(slices.Collect(maps.Keys(c.Parents)), append(slices.Collect(maps.Values(c.Parents)), c.Active)...) {
		if _, ok := layerNumber(name); !ok {
			return fmt.Errorf("%q is no name of a layer", name)
		}
		if len(c.below(name)) > len(c.Parents)+1 {
			return fmt.Errorf("%q lies on itself", name)
		}
	}
	return nil
}

// write replaces the file and returns once it is on the disk.
func (c chain) write(f files) error {
	c.Skiff = f.skiff
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(f.chain(), append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return hostfiles.Sync(f.dir)
}

// below returns a layer and those under it, the lowest first.
func (c chain) below(layer string) []string {
	list := []string{layer}
	for len(list) <= len(c.Parents)+1 {
		parent, ok := c.Parents[layer]
		if !ok {
			break
		}
		list, layer = append(list, parent), parent
	}
	slices.Reverse(list)
	return list
}

// with returns the chain with a new active layer over parent.
func (c chain) with(layer, parent string) chain {
	parents := maps.Clone(c.Parents)
	if parents == nil {
		parents = map[string]string{}
	}
	parents[layer] = parent
	return chain{Active: layer, Parents: parents}
}

// nodeName is QEMU's name for a layer.
func nodeName(layer string) string { return strings.TrimSuffix(layer, ".qcow2") }

// layerNumber takes a name of a layer apart: disk.qcow2 is 0, disk-7.qcow2 is 7.
func layerNumber(name string) (int, bool) {
	if name == firstLayer {
		return 0, true
	}
	middle, ok := strings.CutPrefix(strings.TrimSuffix(name, ".qcow2"), "disk-")
	number, err := strconv.Atoi(middle)
	return number, ok && err == nil && number > 0 && name == layerName(number)
}

func layerName(number int) string { return fmt.Sprintf("disk-%d.qcow2", number) }

// layerFiles returns the names of all files that are layers, whether the chain knows them or not.
func (f files) layerFiles() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, ok := layerNumber(entry.Name()); ok {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// layerBytes returns the size of the disk that a layer shows, which may be more than was asked for: a growth that was cut off
// leaves it so. A layer over it that is smaller would cut off what the guest has there.
func (m *Machine) layerBytes(layer string) (int64, error) {
	file, err := os.Open(m.files.layer(layer))
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	// QEMU documentation, "interop/qcow2": the virtual size, in bytes, big-endian.
	const sizeAt = 24
	var size [8]byte
	if _, err := file.ReadAt(size[:], sizeAt); err != nil {
		return 0, fmt.Errorf("read the size of the disk %s: %w", file.Name(), err)
	}
	return int64(binary.BigEndian.Uint64(size[:])), nil //nolint:gosec // QEMU's own limit is far below
}

// newLayer makes an empty layer over parent, with a name that none has had, and leaves the chain as it is.
func (d *Driver) newLayer(ctx context.Context, m *Machine, parent string) (string, error) {
	names, err := m.files.layerFiles()
	if err != nil {
		return "", err
	}
	highest := 0
	for _, name := range names {
		number, _ := layerNumber(name)
		highest = max(highest, number)
	}
	layer := layerName(highest + 1)
	size, err := m.layerBytes(parent)
	if err != nil {
		return "", err
	}
	// A name without folders is looked for beside the layer, so that the machine's folder can be moved. The layer below is
	// not opened (-u): the QEMU that runs has it.
	_, err = hostfiles.Output(ctx, d.options.QEMUImg, "create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", parent,
		"--", m.files.layer(layer), fmt.Sprint(max(size, m.spec.DiskBytes)))
	if err != nil {
		return "", errors.Join(fmt.Errorf("make a layer of its disk: %w", err), absent(os.Remove(m.files.layer(layer))))
	}
	return layer, d.sync(m.files.layer(layer))
}

// syncDisk returns once all layers are on the disk of the host. QEMU flushes its own when the guest stops and when it ends
// by itself, but not when it is killed.
func (m *Machine) syncDisk() error {
	layers, err := m.files.layerFiles()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := m.driver.sync(m.files.layer(layer)); err != nil {
			return err
		}
	}
	return m.driver.sync(m.files.dir)
}

// settle is the driver's settle for a state that belongs to the machine's disk as it is now: memory and disk stay together.
func (m *Machine) settle(path string) error {
	if err := m.syncDisk(); err != nil {
		return err
	}
	return m.driver.settle(path)
}

// tidy removes the layers that nothing stands on any more, and puts those together with the layer above that only that
// one stands on. It needs the machine's lock. While the machine runs, its own layers stay as they are.
func (d *Driver) tidy(ctx context.Context, m *Machine, running bool) error {
	c, err := m.files.readChain()
	if err != nil {
		return err
	}
	snapshots, err := m.files.readSnapshots()
	if err != nil {
		return err
	}
	ends := []string{c.Active} // the layers that must stay
	for _, s := range snapshots {
		if s.err != nil {
			return nil //nolint:nilerr // what it stands on is not known, so nothing is removed; deleting it mends that
		}
		ends = append(ends, s.manifest.Layer)
	}
	if err := d.sweep(m, c, ends, running); err != nil {
		return err
	}
	for {
		layer, above := c.between(ends)
		if layer == "" || running && slices.Contains(c.below(c.Active), above) {
			return nil
		}
		if c, err = d.merge(ctx, m, c, layer, above); err != nil {
			return err
		}
	}
}

// sweep removes the files of layers that are not below one of ends.
func (d *Driver) sweep(m *Machine, c chain, ends []string, running bool) error {
	used := map[string]bool{}
	for _, end := range ends {
		for _, layer := range c.below(end) {
			used[layer] = true
		}
	}
	if running {
		// A save that was cut off may have made the chain longer than what QEMU has open, never shorter. All of it is used.
		used[c.Active] = true
	}
	names, err := m.files.layerFiles()
	if err != nil {
		return err
	}
	changed := false
	for layer := range c.Parents {
		if !used[layer] {
			delete(c.Parents, layer)
			changed = true
		}
	}
	if changed {
		if err := c.write(m.files); err != nil {
			return err
		}
	}
	for _, name := range names {
		if !used[name] {
			if err := os.Remove(m.files.layer(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// between returns a layer that only the one above it needs; empty when there is none.
func (c chain) between(ends []string) (layer, above string) {
	over := map[string][]string{}
	for child, parent := range c.Parents {
		over[parent] = append(over[parent], child)
	}
	for _, parent := range slices.Sorted(maps.Keys(over)) {
		if !slices.Contains(ends, parent) && len(over[parent]) == 1 {
			return parent, over[parent][0]
		}
	}
	return "", ""
}

// merge puts layer's data into the layer above it and removes layer. What the guest sees of the layer above does not
// change at any moment, so that it can be cut off.
func (d *Driver) merge(ctx context.Context, m *Machine, c chain, layer, above string) (chain, error) {
	below, format := m.spec.Image.Disk, "raw"
	parent, ok := c.Parents[layer]
	if ok {
		below, format = parent, "qcow2"
	}
	if _, err := hostfiles.Output(ctx, d.options.QEMUImg, "rebase", "-q", "-f", "qcow2", "-F", format, "-b", below, "--", m.files.layer(above)); err != nil {
		return c, fmt.Errorf("put two layers of its disk together: %w", err)
	}
	if err := d.sync(m.files.layer(above)); err != nil { // before the other copy of the data goes
		return c, err
	}
	next := chain{Active: c.Active, Parents: maps.Clone(c.Parents)}
	delete(next.Parents, layer)
	delete(next.Parents, above)
	if ok {
		next.Parents[above] = parent
	}
	if err := next.write(m.files); err != nil {
		return c, err
	}
	return next, os.Remove(m.files.layer(layer))
}

// absent takes it as a success that there was nothing to remove.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
