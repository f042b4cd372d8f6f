package libvirt

import (
	"context"
	"errors"
	"fmt"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
)

var _ drivers.Grower = (*Machine)(nil)

// Grow resizes the disk of the domain (libvirt documentation, "virDomainBlockResize").
func (m *Machine) Grow(ctx context.Context) error {
	err := m.locked(ctx, func() error { return m.driver.do(ctx, m.driver.limits.answer, m.grow) })
	if err != nil {
		return hostfiles.DiskFull(fmt.Errorf("grow the disk of machine %q: %w", m.spec.Name, err), m.spec.Dir)
	}
	return nil
}

func (m *Machine) grow(ctx context.Context, c connection) error {
	now, err := m.runs(ctx, c)
	if err == nil && now != running {
		err = errors.New("it does not run")
	}
	if err != nil {
		return err
	}
	return c.Grow(m.domain, uint64(m.spec.DiskBytes)) //nolint:gosec // a size is positive
}
