//go:build !linux

package download

import (
	"context"
	"errors"
	"io"
)

// onFullDisk needs mounts of its own.
func (c child) onFullDisk(context.Context, io.Writer) error { return errors.ErrUnsupported }
