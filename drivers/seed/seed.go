// Package seed makes the small read-only disk that tells a machine who it is: host name, address, SSH keys. It follows
// the NoCloud layout (cloud-init documentation, "NoCloud"): an ISO 9660 file system with the label cidata and the files
// meta-data and user-data. The guest image has a service that runs user-data at each boot, before SSH, containerd and
// kubelet; cloud-init itself is not needed. Every driver that can attach a disk image uses it.
package seed

import (
	"context"
	"fmt"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/machine"
)

// label is the volume label by which NoCloud disks are found.
const label = "cidata"

// Write makes the seed disk of the machine at path, in one step and with mode 0600, as it holds the machine's private
// host key. The same spec gives the same bytes. An error that wraps syscall.ENOSPC means a full disk.
func Write(ctx context.Context, path string, spec machine.Spec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	script, err := Script(spec)
	if err != nil {
		return fmt.Errorf("describe machine %q to itself: %w", spec.Name, err)
	}
	err = save(path, file{name: "meta-data", content: []byte(metaData(spec))}, file{name: "user-data", content: script})
	if err != nil {
		return fmt.Errorf("make the seed disk of machine %q: %w", spec.Name, err)
	}
	return nil
}

// WriteNameless makes a seed disk at path that has no identity: the machine that boots with it waits for another one.
func WriteNameless(path string) error {
	if err := save(path, file{name: "meta-data"}); err != nil {
		return fmt.Errorf("make a seed disk without an identity: %w", err)
	}
	return nil
}

func save(path string, files ...file) error {
	image, err := iso(files)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, image, 0o600)
}

// metaData is for tools that know NoCloud; the guest image's service does not read it.
func metaData(spec machine.Spec) string {
	return fmt.Sprintf("instance-id: %s-%s\nlocal-hostname: %s\n", spec.Cluster, spec.Name, spec.Name)
}
