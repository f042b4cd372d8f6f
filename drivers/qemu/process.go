package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/internal/processes"
)

// process is a QEMU that runs a machine.
type process struct {
	id      int
	handle  *os.Process // on Linux a pidfd, so that a signal never reaches another process that got the same number
	pidFile string
}

// find returns the machine's process, or nil when none runs. A process that has the number in pidFile and was not started
// with that very pidFile is another one's.
func find(pidFile string) (*process, error) {
	raw, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || id <= 1 {
		return nil, nil //nolint:nilerr // QEMU was cut off while it wrote the number, so it does not run
	}
	return open(id, pidFile)
}

// open returns the process with that number if it was started with that pidFile, or nil.
func open(id int, pidFile string) (*process, error) {
	handle, err := os.FindProcess(id)
	if err != nil {
		return nil, fmt.Errorf("look for process %d: %w", id, err)
	}
	p := &process{id: id, handle: handle, pidFile: pidFile}
	// The handle comes first: from here on it means one process, and alive asks whether that is ours.
	if !p.alive() {
		p.release()
		return nil, nil
	}
	return p, nil
}

// alive reports whether the process still runs and is ours. One that has ended and not yet been waited for is not alive; one
// that is about to end is, as the next would fail at its locks.
func (p *process) alive() bool {
	args, err := processes.Arguments(p.id)
	return err == nil && slices.Contains(args, p.pidFile) || processes.Ending(p.id)
}

func (p *process) release() { _ = p.handle.Release() }

// endTick is how often the end of a process is looked for: only a parent can wait for it without asking.
const endTick = 30 * time.Millisecond

// wait returns nil once the process has ended.
func (p *process) wait(ctx context.Context) error {
	ticker := time.NewTicker(endTick)
	defer ticker.Stop()
	for p.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for QEMU, process %d, to end: %w", p.id, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

// waitFor is wait with a limit of its own; false means that the process lives on.
func (p *process) waitFor(ctx context.Context, limit time.Duration) (ended bool, err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := p.wait(limited); err == nil {
		return true, nil
	}
	return false, ctx.Err()
}

// end ends the process without asking the guest: QEMU flushes its disks on SIGTERM, as on the command quit. One that does
// not react within patience is killed.
func (p *process) end(ctx context.Context, patience time.Duration) error {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Kill} {
		if !p.alive() {
			return nil
		}
		if err := p.handle.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end QEMU, process %d: %w", p.id, err)
		}
		if ended, err := p.waitFor(ctx, patience); ended || err != nil {
			return err
		}
	}
	return fmt.Errorf("QEMU, process %d, does not end", p.id)
}
