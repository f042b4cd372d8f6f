package drivertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/machine"
)

// Guest returns what a guest that is only played answers to the suite. Files that were put there it answers itself. Size and
// address are those that the guest has: where a stand-in was told them, they come from there and not from the Spec that the
// driver was given, or the suite could not tell that the driver has lost them on the way.
func Guest(has machine.Spec) fake.Responses {
	return fake.Responses{
		{Prefix: []string{"sh", "-c", "exit 3"}, ExitCode: 3},
		{Prefix: []string{"sleep"}, Hang: true},
		{Prefix: strings.Fields(askCPUs), Stdout: online(has.CPUs) + "\n"},
		{Prefix: strings.Fields(askMemory), Stdout: fmt.Sprintf("MemTotal:       %d kB\nMemFree:  1024 kB\n", has.MemoryMiB<<10-70<<10)},
		{Prefix: strings.Fields(askAddress), Stdout: fmt.Sprintf("2: eth0    inet %s scope global eth0\n", has.Network.Address)},
	}
}

// label begins a disk that a played guest was booted from, before a name that no other disk has.
const label = "skiff-drivertest "

// Boot does to a disk what the first boot of a guest does to it. A stand-in calls it as a machine starts.
func Boot(disk string) error {
	if _, err := labelOf(disk); err == nil {
		return nil
	}
	file, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(label+rand.Text()+"\n"), 0)
	return errors.Join(err, file.Close())
}

// Booted returns the guest that was booted from a disk. Its files lie below dir by the disk's name, as if they were on it:
// with another disk they are gone.
func Booted(dir, disk string, has machine.Spec) (machine.Runner, error) {
	name, err := labelOf(disk)
	if err != nil {
		return nil, err
	}
	return fake.NewRunner(filepath.Join(dir, name), Guest(has)), nil
}

func labelOf(disk string) (string, error) {
	file, err := os.Open(disk)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	var start [64]byte
	n, err := io.ReadFull(file, start[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, whole := strings.Cut(string(start[:n]), "\n")
	name, booted := strings.CutPrefix(line, label)
	if !whole || !booted {
		return "", fmt.Errorf("no guest was booted from %s", disk)
	}
	return name, nil
}

// Reached is a machine.Runner that looks for its guest anew for each command, and fails with its error.
type Reached func() (machine.Runner, error)

// Run runs a command in the guest.
func (r Reached) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	guest, err := r()
	if err != nil {
		return machine.Result{}, err
	}
	return guest.Run(ctx, cmd)
}

// Put puts a file into the guest.
func (r Reached) Put(ctx context.Context, path string, mode fs.FileMode, body io.Reader) error {
	guest, err := r()
	if err != nil {
		return err
	}
	return guest.Put(ctx, path, mode, body)
}
