package drivers

import (
	"context"
	"time"
)

// Suspender is a machine whose memory can outlive it. What is kept belongs to the disk as it was at that moment, and is
// used at most once: it is gone before the guest goes on, however it goes on, so that no old memory ever meets a newer disk.
type Suspender interface {
	// Suspend keeps the memory of a machine that runs or is paused, and ends it: it is Stopped then. A machine that does
	// not run is left as it is. When Suspend fails or ctx ends, the machine is as it was before and nothing is kept.
	Suspend(ctx context.Context) error
	// Suspended reports whether a stopped machine has its memory kept. Whether that is sound shows Resume alone.
	Suspended(ctx context.Context) (bool, error)
	// Resume lets a machine go on from its kept memory, and returns once the guest executes. When it fails, the machine is
	// Stopped and what was kept is still there; Start boots it from its disk. Kept memory that does not fit this machine,
	// this host, or is damaged, gives fail.SnapshotMismatch, and the guest has not executed.
	Resume(ctx context.Context) error
	// Forget removes what is kept; nil when nothing is. Start does so as well.
	Forget(ctx context.Context) error
}

// Movable is a suspended machine that is nothing but files in its folder. Once the folder has another name, the handle of
// the new place, for whatever cluster, has the machine, Suspended as before, and the old place has none.
type Movable interface {
	// Fits returns nil when the machine is suspended and its kept memory would be of use on this host as it is now, as far as
	// can be told at once: that it is not damaged shows Resume alone. Memory that does not fit gives fail.SnapshotMismatch,
	// a host where none can be kept an error that wraps errors.ErrUnsupported. It changes nothing.
	Fits(ctx context.Context) error
}

// Quiesce prepares what runs in a guest for the guest to be frozen; release, never nil, lets it continue. unquiet says why that
// could not be done, and is empty when it was: the guest is frozen all the same.
type Quiesce func(context.Context) (release func(), unquiet string)

// Snapshotter is a machine to whose earlier states one can go back: its disk, and its memory if it had one then.
type Snapshotter interface {
	// SaveSnapshot keeps the machine's state under name, which must be a valid file name that is not taken, with a note
	// that is handed back as it is. A machine that runs goes on. quiesce, which may be nil, is called before the guest of one
	// that runs is made to stand still, and release once it goes on. When SaveSnapshot fails or ctx ends, and also when its
	// process is killed, the machine and its other snapshots are as before.
	SaveSnapshot(ctx context.Context, name string, note []byte, quiesce Quiesce) (Snapshot, error)
	// RestoreSnapshot ends the machine and puts it back to the snapshot: it is Stopped then, and Suspended when the snapshot
	// has memory. No such snapshot gives an error that wraps fs.ErrNotExist and changes nothing.
	RestoreSnapshot(ctx context.Context, name string) error
	// DeleteSnapshot removes a snapshot; the others and the machine stay usable. nil when there is none.
	DeleteSnapshot(ctx context.Context, name string) error
	// Snapshots returns all of them, oldest first. One that cannot be read has Err.
	Snapshots(ctx context.Context) ([]Snapshot, error)
}

// Snapshot is a state of a machine that was kept.
type Snapshot struct {
	Name    string
	Created time.Time
	Running bool          // the machine ran or was paused, and goes on there
	Memory  bool          // its memory is kept as well
	Bytes   int64         // what it takes on the host's disk and nothing else shares
	Frozen  time.Duration // how long the guest stood still for it; known only to who saved it
	Note    []byte        // as it was given to SaveSnapshot
	Unquiet string        // what Quiesce said when it was saved
	Err     error         // why it cannot be used; nil when it can
}
