package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// Holder is who holds a lock.
type Holder struct {
	Command string    `json:"command"` // such as "skiff start -p dev"
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("%q (process %d, since %s)", h.Command, h.PID, h.Since.Local().Format(time.TimeOnly))
}

// HeldError says that a lock is held by another process.
type HeldError struct{ Holder Holder }

func (e *HeldError) Error() string { return "held by " + e.Holder.String() }

// TryLock takes the lock at path for holder, or returns *HeldError at once. The lock ends with release or with the
// process, however that ends; the file stays and means nothing by itself. Only who holds the lock may remove it.
func TryLock(path string, holder Holder) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	lock, err := current(path, func(lock *flock.Flock) error {
		taken, err := lock.TryLock()
		if err == nil && !taken {
			err = &HeldError{Holder: readHolder(path)}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	// The note is for people; a lock without it still locks, as on a full disk.
	note, err := json.Marshal(holder)
	if err == nil {
		err = os.WriteFile(path, note, 0o600)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		_ = lock.Unlock()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// lockTick is how often Lock tries again: the blocking call of the system cannot be cancelled.
const lockTick = 50 * time.Millisecond

// Lock is TryLock that waits as long as another process holds the lock. waits is told who that is, and again when it becomes
// another. When ctx ends first, it returns the *HeldError joined with ctx's error.
func Lock(ctx context.Context, path string, holder Holder, waits func(Holder)) (release func(), err error) {
	ticker := time.NewTicker(lockTick)
	defer ticker.Stop()
	var told *Holder
	for {
		release, err := TryLock(path, holder)
		held, ok := errors.AsType[*HeldError](err)
		if !ok {
			return release, err
		}
		if told == nil || *told != held.Holder {
			told = &held.Holder
			waits(held.Holder)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(held, ctx.Err())
		case <-ticker.C:
		}
	}
}

// readHolder reads who holds the lock; the zero Holder when that cannot be told.
func readHolder(path string) Holder {
	file, err := os.Open(path)
	if err != nil {
		return Holder{}
	}
	defer func() { _ = file.Close() }()
	var holder Holder
	if err := json.NewDecoder(io.LimitReader(file, 4096)).Decode(&holder); err != nil {
		return Holder{}
	}
	return holder
}

// Wait takes the lock at path, waiting as long as another process holds it. It is for locks that are held for
// milliseconds.
func Wait(path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	lock, err := current(path, (*flock.Flock).Lock)
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Unlock() }, nil
}

// current takes the lock of the file that is at path. Who held it may have removed the file before it was released: that one
// locks nobody out any more.
func current(path string, take func(*flock.Flock) error) (*flock.Flock, error) {
	for {
		lock := flock.New(path, flock.SetPermissions(0o600))
		err := take(lock)
		if held, ok := errors.AsType[*HeldError](err); ok {
			return nil, held
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		own, err := lock.Stat()
		if err != nil {
			_ = lock.Unlock()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(own, there) {
			return lock, nil
		}
		_ = lock.Unlock()
	}
}
