package provision

import (
	"bytes"
	"context"
	"fmt"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// rootDisk is the disk of a machine that boots from a guest image; the file system is on the whole of it.
const rootDisk = "/dev/vda"

// GrowFileSystem makes the file system of a machine that boots from a guest image as large as its disk, while it is in use. It
// is idempotent. resize2fs asks the kernel to do it; systemd-growfs would look for the disk by a name that udev makes, and the
// guest has no udev. Failures are fail.ProvisionFailed.
func GrowFileSystem(ctx context.Context, runner machine.Runner, cluster string) error {
	var output bytes.Buffer
	_, err := runner.Run(ctx, machine.Cmd{Args: []string{"resize2fs", rootDisk}, Stdout: &output, Stderr: &output})
	if err != nil {
		u := &up{config: Config{ClusterName: cluster}}
		return u.failed(fail.ProvisionFailed, "boot", "grow the machine's file system", err, output.Bytes())
	}
	return nil
}

// DiskSpace returns how many bytes are free on the machine's disk, and how many it has.
func DiskSpace(ctx context.Context, runner machine.Runner) (free, size int64, err error) {
	var output bytes.Buffer
	_, err = runner.Run(ctx, machine.Cmd{Args: []string{"df", "-B1", "--output=avail,size", "/var/lib"}, Stdout: &output})
	if err != nil {
		return 0, 0, err
	}
	_, values, _ := bytes.Cut(output.Bytes(), []byte("\n")) // the first line has their names
	if _, err := fmt.Fscan(bytes.NewReader(values), &free, &size); err != nil {
		return 0, 0, fmt.Errorf("read what df says: %w", err)
	}
	return free, size, nil
}
