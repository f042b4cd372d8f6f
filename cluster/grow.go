package cluster

import (
	"context"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
)

// grows refuses a larger disk for an existing cluster of a driver whose machines cannot have one.
func grows(stored *config.Cluster, c config.Cluster, driver drivers.Driver) error {
	if stored == nil || stored.DiskBytes >= c.DiskBytes || c.SSH != nil || canGrow(driver.Machine(machine.Spec{Cluster: c.Profile, Name: node}), c) {
		return nil
	}
	return fail.New(fail.DriverCannot, "use --disk-size", "driver %s cannot grow the disk of a machine that exists", driver.Name()).
		WithHint("Clusters of the drivers qemu and libvirt can. A new cluster of any driver has the size that it is started with.").WithNext("skiff start -p %s", c.Profile)
}

// canGrow reports whether the disk of a cluster's machine can be made larger.
func canGrow(vm machine.Machine, c config.Cluster) bool {
	_, able := vm.(drivers.Grower)
	return able && c.SSH == nil
}

// large reports whether the disk is larger than the file system of the guest image, which is then to grow.
func (s *start) large() bool { return s.config.SSH == nil && s.config.DiskBytes > config.MinDiskBytes }

// grow is the step that makes disk and file system as large as the cluster's disk is to be. The disk of a machine that was
// made larger from the beginning is so already; its file system is the image's.
func (s *start) grow() Step {
	return Step{
		ID: "disk", Text: "Grow the disk to " + gib(s.config.DiskBytes),
		Why: s.why("the guest image has "+gib(config.MinDiskBytes), "it, or its file system, may be smaller"),
		Do: func(ctx context.Context, _ Report) error {
			vm, err := s.reached()
			if err != nil {
				return err
			}
			if grower, able := vm.(drivers.Grower); able {
				if err := grower.Grow(ctx); err != nil {
					return wrap(fail.MachineFailed, err, "grow the disk of cluster %s", s.config.Profile)
				}
			}
			err = s.whileRuns(ctx, func(ctx context.Context) error { return provision.GrowFileSystem(ctx, vm, s.config.Profile) })
			if err != nil {
				return s.ended(err)
			}
			return s.save(s.config)
		},
	}
}
