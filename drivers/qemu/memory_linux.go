package qemu

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryOption goes on with the options of QEMU's -machine and names what memoryArgs makes.
const memoryOption = ",memory-backend=ram0"

// memoryArgs give QEMU the guest's memory: the file that it inherits as the first after the standard ones.
func memoryArgs(mib int) []string {
	return []string{"-object", fmt.Sprintf("memory-backend-file,id=ram0,size=%dM,mem-path=/proc/self/fd/3,share=on", mib)}
}

// memoryStays says why a guest's memory cannot outlive its QEMU here.
func memoryStays() error { return nil }

// memoryLabel is what the system calls a guest's memory in lists of open files.
const memoryLabel = "skiff guest memory"

// newMemory makes an empty memory. It is a file that has no name and lies in the host's memory (memfd_create(2)), so the
// kernel never writes it to a disk, and nothing is left of it when the last process that has it open ends.
func newMemory(size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(memoryLabel, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the guest's memory: %w", err)
	}
	memory := os.NewFile(uintptr(fd), "guest memory")
	if err := memory.Truncate(size); err != nil {
		_ = memory.Close()
		return nil, fmt.Errorf("make the guest's memory: %w", err)
	}
	return memory, nil
}

// openMemory opens the memory of the guest that a QEMU runs, to read and to write.
func openMemory(p *process) (*os.File, error) {
	name := fmt.Sprintf("/proc/%d/fd/3", p.id)
	if to, err := os.Readlink(name); err != nil || !strings.HasPrefix(to, "/memfd:"+memoryLabel) {
		return nil, fmt.Errorf("open the guest's memory: %w", cmp.Or(err, errors.New("it is "+to)))
	}
	memory, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the guest's memory: %w", err)
	}
	return memory, nil
}

// nextData returns the next part of file, at or after offset, that may have data; size and size when none has.
func nextData(file *os.File, offset, size int64) (begin, end int64, err error) {
	fd := int(file.Fd())
	begin, err = unix.Seek(fd, offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return offset, size, nil // a file system that knows no holes
	case err != nil:
		return 0, 0, err
	}
	if end, err = unix.Seek(fd, begin, unix.SEEK_HOLE); err != nil {
		return 0, 0, err
	}
	return min(begin, size), min(end, size), nil
}
