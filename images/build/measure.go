package build

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/skiff-k8s/skiff/images"
)

// Sizes are those of an image folder, in bytes.
type Sizes struct {
	Disk       int64 // what disk.raw takes, holes not counted
	Mirror     int64
	Compressed int64 // the whole folder but for its saved boots as one .tar.zst: what a download would be
}

// Measure compresses the image folder dir, without keeping the result, to say how large it is.
func Measure(ctx context.Context, dir string) (Sizes, error) {
	var sizes Sizes
	info, err := os.Stat(filepath.Join(dir, images.DiskName))
	if err != nil {
		return sizes, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		sizes.Disk = stat.Blocks * 512
	}
	err = filepath.WalkDir(filepath.Join(dir, images.MirrorName), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sizes.Mirror += info.Size()
		}
		return err
	})
	if err != nil {
		return sizes, err
	}
	sizes.Compressed, err = compressed(ctx, dir)
	return sizes, err
}

// compressed returns the length of the folder as tar and zstd would pack it. The long window finds that the disk and the mirror
// hold the same programs.
func compressed(ctx context.Context, dir string) (int64, error) {
	pack := exec.CommandContext(ctx, "tar", "--create", "--sparse", "--sort=name", "--exclude=./"+images.BootsName, "--directory", dir, ".")
	zstd := exec.CommandContext(ctx, "zstd", "-q", "-6", "-T0", "--long=31", "--stdout")
	pipe, err := pack.StdoutPipe()
	if err != nil {
		return 0, err
	}
	var count counter
	var problems strings.Builder
	zstd.Stdin, zstd.Stdout, zstd.Stderr, pack.Stderr = pipe, &count, &problems, &problems
	if err := zstd.Start(); err != nil {
		return 0, err
	}
	if err := pack.Run(); err != nil {
		return 0, fmt.Errorf("pack %q: %w: %s", dir, err, &problems)
	}
	if err := zstd.Wait(); err != nil {
		return 0, fmt.Errorf("compress %q: %w: %s", dir, err, &problems)
	}
	return int64(count), nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
