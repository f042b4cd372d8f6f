package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// Smallest compresses with the program zstd at a level of 1 to 19, for releases: at 19 the blobs are a quarter smaller than what
// layout.Fast makes, and what Go can make at best lies in the middle. It is a layout.Compress. The same version of zstd gives the
// same bytes.
func Smallest(level int) func(ctx context.Context, to io.Writer, from io.Reader, size int64) error {
	return func(ctx context.Context, to io.Writer, from io.Reader, size int64) error {
		// One thread: the bytes must not depend on the number of processors. A window of 2^27 bytes is what every reader takes.
		zstd := exec.CommandContext(ctx, "zstd", "--quiet", "-"+strconv.Itoa(level), "--long=27", "--single-thread", "--stream-size="+strconv.FormatInt(size, 10), "--stdout")
		var problems strings.Builder
		zstd.Stdin, zstd.Stdout, zstd.Stderr = from, to, &problems
		err := zstd.Run()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, exec.ErrNotFound):
			return fmt.Errorf("%w: install the Debian package %s", err, tools["zstd"])
		case err != nil:
			return fmt.Errorf("zstd: %w: %s", err, strings.TrimSpace(problems.String()))
		}
		return nil
	}
}
