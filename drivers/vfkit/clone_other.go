//go:build !darwin

package vfkit

import "context"

// clone copies a file.
func clone(ctx context.Context, from, to string) error { return sparseCopy(ctx, from, to) }
