//go:build !linux

package images

import "os"

// nextData takes everything for data: holes are read as zeros.
func nextData(_ *os.File, offset int64) (int64, error) { return offset, nil }
