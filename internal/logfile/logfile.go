// Package logfile bounds the size of logs to which a process appends that runs for as long as nobody stops it.
package logfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// Limit is the size, in bytes, from which on a log is rotated.
const Limit = 8 << 20

// interval is how often Bound looks at its logs.
const interval = time.Minute

// Older is where the older part of a log goes.
func Older(path string) string { return path + ".1" }

// Bound rotates logs that have become large, until ctx ends. failed, which must not be nil, is told what could not be done.
func Bound(ctx context.Context, failed func(path string, err error), paths ...string) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		for _, path := range paths {
			if err := rotate(path); err != nil {
				failed(path, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// rotate copies a log that has become large to its older part and empties it. The process that writes it must have opened it to
// append (O_APPEND in open(2)): it keeps the file, so the file cannot be moved. What it writes between the end of the copy and
// the cut is lost.
func rotate(path string) (err error) {
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if info, err := log.Stat(); err != nil || info.Size() < Limit {
		return err
	}
	older, err := os.OpenFile(Older(path), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(older, log); err != nil {
		return errors.Join(err, older.Close())
	}
	if err := older.Close(); err != nil {
		return err
	}
	return log.Truncate(0)
}
