package hostfiles

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

const lockTick = 50 * time.Millisecond

// Lock keeps other handles of the machine whose files are in dir, also those of other processes, from changing it at the
// same time. The lock is on the folder itself, so it leaves no file. No folder gives an error that wraps fs.ErrNotExist.
func Lock(ctx context.Context, dir string) (release func(), err error) {
	lock := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	if _, err := lock.TryLockContext(ctx, lockTick); err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { _ = lock.Unlock() }, nil
}
