package hostfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/skiff-k8s/skiff/internal/logfile"
)

// Output runs a program on the host to its end; its error tells the last of what it complained about.
func Output(ctx context.Context, program string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("run %s: %w", program, ctx.Err())
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("run %s: %w: %s", program, err, LastLines(failed.Stderr))
	}
	return out, err
}

// LastLines returns the end of what a program printed, in one line.
func LastLines(printed []byte) string {
	lines := strings.FieldsFunc(string(printed), func(r rune) bool { return r == '\n' || r == '\r' })
	const enough = 3
	if len(lines) > enough {
		lines = lines[len(lines)-enough:]
	}
	return strings.Join(lines, "; ")
}

// Tail returns the last few lines of a file of any size, in one line; empty when there are none.
func Tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	const most = 4096
	if info, err := file.Stat(); err == nil && info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return ""
		}
	}
	end, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return ""
	}
	return LastLines(end)
}

// Rotate moves a log that has become large, before a run of the hypervisor; for one that runs see package logfile.
func Rotate(log string) error {
	info, err := os.Stat(log)
	if err != nil || info.Size() < logfile.Limit {
		return nil //nolint:nilerr // there is none yet
	}
	return os.Rename(log, logfile.Older(log))
}
