//go:build !linux

package qemu

import (
	"errors"
	"fmt"
	"os"
)

// memoryOption is empty where memory cannot be kept: QEMU then has memory of its own.
const memoryOption = ""

func memoryArgs(int) []string { return nil }

// memoryStays says why a guest's memory cannot outlive its QEMU here.
func memoryStays() error {
	return fmt.Errorf("memory can be kept on Linux alone: %w", errors.ErrUnsupported)
}

func newMemory(int64) (*os.File, error) { return nil, errors.ErrUnsupported }

func openMemory(*process) (*os.File, error) { return nil, errors.ErrUnsupported }

// nextData returns all that is left of the file.
func nextData(_ *os.File, offset, size int64) (begin, end int64, err error) { return offset, size, nil }
