package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
)

const (
	fullPercent  = 1  // of free space, below which a command fails for that
	evictPercent = 10 // below which the kubelet takes no pods: nodefs.available, as package provision sets it
	dfLimit      = 5 * time.Second
)

// guestFull makes err a fail.GuestDiskFull when a full disk of the cluster's machine is the cause. Few programs say so in
// another way than in words, and a pod that is refused has none: so after a failure the machine is asked.
func guestFull(ctx context.Context, vm machine.Machine, c config.Cluster, err error) error {
	known, ok := errors.AsType[*fail.Error](err)
	refused := []fail.ID{fail.WaitTimeout, fail.AddonFailed}
	if !ok || vm == nil || !slices.Contains(append(refused, fail.NodeFailed, fail.KubeadmFailed, fail.ProvisionFailed, fail.ImageRefused), known.ID) {
		return err
	}
	percent := int64(fullPercent)
	if slices.Contains(refused, known.ID) {
		percent = evictPercent
	}
	// A command that failed may have taken away what filled the disk. These are the words of errno(3) for ENOSPC.
	said := strings.Contains(strings.ToLower(known.Output), "no space left on device")
	ctx, cancel := context.WithTimeout(ctx, dfLimit)
	defer cancel()
	free, size, unknown := provision.DiskSpace(ctx, vm)
	if !said && (unknown != nil || free*100 >= size*percent) {
		return err
	}
	full := &fail.Error{ID: fail.GuestDiskFull, Err: err, Output: known.Output}
	if unknown == nil {
		full.Err = fmt.Errorf("%w; %d MiB of %d are free on the machine's disk", err, free>>20, size>>20)
	}
	if canGrow(vm, c) {
		return full.WithHint("Grow the disk, or delete what is not needed in the cluster, such as pods, volumes and images.").WithNext("%s", growCommand(c))
	}
	return full.WithHint("Delete what is not needed in the cluster, such as pods, volumes and images.").WithNext("skiff ssh -p %s -- df -h", c.Profile)
}

// growCommand makes the disk of a cluster twice as large.
func growCommand(c config.Cluster) string {
	return fmt.Sprintf("skiff start -p %s --disk-size %s", c.Profile, gib(2*c.DiskBytes))
}

// fullNote is what status says of a cluster whose disk is nearly full.
func fullNote(problem string, vm machine.Machine, c config.Cluster) string {
	if canGrow(vm, c) {
		return problem + "; delete what is not needed in it, or `" + growCommand(c) + "` grows it"
	}
	return problem + "; delete what is not needed in it, or Kubernetes takes no more pods"
}
