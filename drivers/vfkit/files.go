package vfkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/machine"
)

const (
	diskName = "disk.raw"
	apiName  = "vfkit.sock"
)

// files names the files of one machine.
type files struct{ dir, run string }

func filesOf(spec machine.Spec) files { return files{dir: spec.Dir, run: spec.RunDir} }

func (f files) disk() string     { return filepath.Join(f.dir, diskName) }
func (f files) diskPart() string { return hostfiles.Part(f.disk()) }
func (f files) seed() string     { return filepath.Join(f.dir, "seed.iso") }
func (f files) console() string  { return filepath.Join(f.dir, "console.log") }

// errors is where vfkit complains.
func (f files) errors() string { return filepath.Join(f.dir, "vfkit.log") }

// life is locked by the machine's process as long as it lives, and holds its number.
func (f files) life() string { return filepath.Join(f.dir, "vfkit.pid") }

// api is the socket of vfkit's RESTful service.
func (f files) api() string { return filepath.Join(f.run, apiName) }

// remove removes all that the driver made, whatever of it is there.
func (f files) remove() error {
	return hostfiles.Remove(f.disk(), f.diskPart(), f.seed(), f.console(), f.errors(), f.life(), f.api())
}

// begin opens and locks the file of the machine's life. The lock belongs to the open file, which the machine's process
// inherits (flock(2)): it is held until that has ended, however it ends. So whether a machine lives is asked of a lock,
// and a number that another process has got by now is never taken for it.
func (f files) begin(ctx context.Context) (*os.File, error) {
	file, err := os.OpenFile(f.life(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for { // those who ask hold it for a moment
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return file, file.Truncate(0)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", f.life(), errors.Join(err, ctx.Err()))
		case <-ticker.C:
		}
	}
}

// life is what is known of a machine's process.
type life struct {
	lives bool
	pid   int // 0 as long as nobody has noted it
}

func (f files) look() (life, error) {
	file, err := os.Open(f.life())
	if errors.Is(err, fs.ErrNotExist) {
		return life{}, nil
	}
	if err != nil {
		return life{}, err
	}
	defer func() { _ = file.Close() }()
	// A shared lock: two that ask at the same time do not take each other for the machine.
	if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return life{}, nil
	}
	raw, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return life{lives: true}, err
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return life{lives: true, pid: max(pid, 0)}, nil
}

// alive reports whether the machine's process lives; what cannot be looked at does not.
func (f files) alive() bool {
	l, err := f.look()
	return err == nil && l.lives
}
