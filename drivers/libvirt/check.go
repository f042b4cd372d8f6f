package libvirt

import (
	"context"
	"errors"
	"fmt"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
)

// Check asks whether libvirt answers, and looks for what it runs machines with.
func (d *Driver) Check(ctx context.Context) []drivers.Finding {
	return append([]drivers.Finding{d.checkLibvirt(ctx)}, d.options.QEMU.Check(ctx)...)
}

func (d *Driver) checkLibvirt(ctx context.Context) drivers.Finding {
	var version string
	err := d.do(ctx, d.limits.answer, func(_ context.Context, c connection) (err error) {
		version, err = c.Version()
		return err
	})
	if err == nil {
		return drivers.Finding{Name: "libvirt", Level: drivers.Good, Text: fmt.Sprintf("%s answers at %s.", version, d.options.URI)}
	}
	finding := drivers.Finding{Name: "libvirt", Level: drivers.Failure, Text: fmt.Sprintf("libvirt cannot be used at %s: %v.", d.options.URI, err)}
	if known, ok := errors.AsType[*fail.Error](err); ok {
		finding.Text = fmt.Sprintf("libvirt cannot be used at %s: %v.", d.options.URI, known.Err)
		finding.ID, finding.Remedy = known.ID, known.Next
	}
	return finding
}
