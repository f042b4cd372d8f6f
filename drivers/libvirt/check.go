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
	findings := []drivers.Finding{d.checkLibvirt(ctx)}
	if d.options.Network != "" && findings[0].Level == drivers.Good {
		findings = append(findings, d.checkNetwork(ctx))
	}
	return append(findings, d.options.QEMU.Check(ctx)...)
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
	finding.Missing = errors.Is(err, errNotBuilt) || errors.Is(err, errNoLibrary)
	if known, ok := errors.AsType[*fail.Error](err); ok {
		finding.Text = fmt.Sprintf("libvirt cannot be used at %s: %v.", d.options.URI, known.Err)
		finding.ID, finding.Remedy = known.ID, known.Next
	}
	return finding
}

func (d *Driver) checkNetwork(ctx context.Context) drivers.Finding {
	err := d.do(ctx, d.limits.answer, func(_ context.Context, c connection) error {
		_, err := d.network(c)
		return err
	})
	if err == nil {
		return drivers.Finding{Name: "network", Level: drivers.Good, Text: fmt.Sprintf("The network %s can be joined.", d.options.Network)}
	}
	finding := drivers.Finding{Name: "network", Level: drivers.Failure, Text: fmt.Sprintf("The network %s cannot be joined: %v.", d.options.Network, err)}
	if known, ok := errors.AsType[*fail.Error](err); ok {
		finding.Text = fmt.Sprintf("The network %s cannot be joined: %v.", d.options.Network, known.Err)
		finding.ID, finding.Remedy = known.ID, known.Next
	}
	return finding
}
