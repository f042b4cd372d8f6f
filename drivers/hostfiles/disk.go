// Package hostfiles makes and looks after the files that every driver of virtual machines keeps on the host: a disk that is
// a layer over the image's, the log of the serial console, and the lock on the folder that holds them.
package hostfiles

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Part is where a disk is made before it takes its place.
func Part(disk string) string { return disk + ".part" }

// CreateDisk makes the machine's disk at path, a layer over the image's, with the program qemu-img. The disk takes its
// place in one step, so that a machine can be said to exist when its disk does.
func CreateDisk(ctx context.Context, qemuImg, path string, spec machine.Spec) error {
	if !Exists(spec.Image.Disk) {
		return fmt.Errorf("the image's disk %q is not there", spec.Image.Disk)
	}
	// The arguments after "--" cannot be taken for options, whatever the paths are.
	_, err := Output(ctx, qemuImg, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", spec.Image.Disk,
		"--", Part(path), fmt.Sprint(spec.DiskBytes))
	if err != nil {
		return fmt.Errorf("make its disk: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.Rename(Part(path), path)
}

// CheckDisk returns what is wrong with the machine's disk at path, as far as a look at it shows: fail.StateCorrupt when it is
// none, fail.ImageMissing when the image's disk below it is gone.
func CheckDisk(path string, spec machine.Spec) error {
	disk, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = disk.Close() }()
	// QEMU documentation, "interop/qcow2": magic number and version, both big-endian.
	var header struct{ Magic, Version uint32 }
	const magic = 0x514649fb
	if err := binary.Read(disk, binary.BigEndian, &header); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read its disk: %w", err)
	}
	if header.Magic != magic || header.Version < 2 || header.Version > 3 {
		return Corrupt(spec.Cluster, path, errors.New("it is no qcow2 file"))
	}
	if !Exists(spec.Image.Disk) {
		return fail.New(fail.ImageMissing, "use cluster "+spec.Cluster, "the disk of its image, %s, is not there", spec.Image.Disk).
			WithHint("Start reinstalls the image if it is available.").WithNext("skiff start -p %s", spec.Cluster)
	}
	return nil
}

// Corrupt is the error of a file without which the cluster's machine cannot be.
func Corrupt(cluster, path string, err error) error {
	corrupt := fail.New(fail.StateCorrupt, "use cluster "+cluster, "its disk %s cannot be used: %w", path, err)
	if _, whole := errors.AsType[*store.FieldError](err); whole {
		return corrupt.WithHint("The disk is untouched. Correct the file, or use the version of skiff that wrote it.")
	}
	return corrupt.WithHint("Put the file back from a copy, or remove the cluster.").WithNext("skiff delete -p %s", cluster)
}

// CheckLayer returns an error unless the disk at path is a layer over that of the machine's image, as one that was made
// earlier may not be.
func CheckLayer(path string, spec machine.Spec) error {
	disk, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = disk.Close() }()
	// QEMU documentation, "interop/qcow2".
	var header struct {
		Magic, Version uint32
		NameOffset     uint64
		NameSize       uint32
	}
	if err := binary.Read(disk, binary.BigEndian, &header); err != nil {
		return fmt.Errorf("read the disk %s: %w", path, err)
	}
	const most = 1023 // bytes of the name, by the same page
	name := make([]byte, min(header.NameSize, most))
	if _, err := disk.ReadAt(name, int64(header.NameOffset)); err != nil { //nolint:gosec // an offset that is too large gives an error
		return fmt.Errorf("read the disk %s: %w", path, err)
	}
	if string(name) != spec.Image.Disk {
		return fmt.Errorf("the disk %s is there already and is a layer over %q, not over that of the image", path, name)
	}
	return nil
}

// DiskFull makes err a fail.HostDiskFull when the disk that holds dir is the cause. Programs say so only in words, so
// after a failure the disk is asked.
func DiskFull(err error, dir string) error {
	free, unknown := host.FreeBytes(dir)
	const nothing = 1 << 20 // bytes; less than the smallest machine takes
	if !errors.Is(err, syscall.ENOSPC) && (unknown != nil || free >= nothing) {
		return err
	}
	return &fail.Error{ID: fail.HostDiskFull, Err: err, Hint: "Free some space on the disk that holds " + dir + ".", Next: "df -h " + machine.Quote(dir)}
}

// Sync returns once the content of a file, or the names in a folder, are on the disk, whichever process wrote them.
func Sync(path string) error {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// Exists reports whether there is a file at path.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Remove removes files, whichever of them are there.
func Remove(paths ...string) error {
	var problems []error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
