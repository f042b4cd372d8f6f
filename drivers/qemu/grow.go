package qemu

import (
	"context"
	"fmt"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
)

var _ drivers.Grower = (*Machine)(nil)

// Grow resizes the layer that the guest writes to. QEMU tells the guest also where the size stays: so one that was restored
// from a time when its disk was smaller learns of it.
func (m *Machine) Grow(ctx context.Context) error {
	if err := m.onProcess(ctx, m.grow); err != nil {
		return hostfiles.DiskFull(fmt.Errorf("grow the disk of machine %q: %w", m.spec.Name, err), m.spec.Dir)
	}
	return nil
}

func (m *Machine) grow(ctx context.Context, p *process) error {
	qemu, err := m.reach(ctx, m.driver.limits.answer, p.alive)
	if err != nil {
		return err
	}
	defer qemu.close()
	ctx, cancel := context.WithTimeout(ctx, m.driver.limits.start)
	defer cancel()
	layer, bytes, err := qemu.guestDisk(ctx)
	if err != nil {
		return err
	}
	size := max(bytes, m.spec.DiskBytes)
	return qemu.call(ctx, "block_resize", map[string]any{"node-name": nodeName(layer), "size": size}, nil)
}
