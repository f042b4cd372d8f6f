package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

var _ drivers.Suspender = (*Machine)(nil)

// note is a file in the machine's folder. Memory that libvirt keeps counts only while it is there: libvirt lets a guest go
// on before it removes the memory, and does not wait until that is on the disk. So without a note of our own, a loss of
// power could bring an old memory back, over a disk that is newer.
type note struct {
	Skiff     string `json:"skiff,omitempty"` // version that wrote it; empty in notes from before it was noted
	Libvirt   string `json:"libvirt"`         // with its QEMU
	Processor string `json:"processor,omitempty"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memoryMiB"`
	Image     string `json:"image"`
}

// noteOf says what memory fits that is saved now.
func (m *Machine) noteOf(c connection) (note, error) {
	version, err := c.Version()
	return note{
		Skiff: m.driver.options.Version, Libvirt: version, Processor: host.Processor(), CPUs: m.spec.CPUs, MemoryMiB: m.spec.MemoryMiB, Image: m.spec.Image.Digest,
	}, err
}

// differs says what is not as it was; empty when all is.
func (n note) differs(now note) string {
	var parts []string
	changed := func(what string, then, now any) {
		if then != now {
			parts = append(parts, fmt.Sprintf("%s is %v and was %v", what, now, then))
		}
	}
	changed("the hypervisor", n.Libvirt, now.Libvirt)
	changed("the processor", n.Processor, now.Processor)
	changed("the number of CPUs", n.CPUs, now.CPUs)
	changed("the memory in MiB", n.MemoryMiB, now.MemoryMiB)
	changed("the guest image", n.Image, now.Image)
	return strings.Join(parts, ", ")
}

// Suspend makes libvirt save the guest's memory (libvirt documentation, "virDomainManagedSave") and end the domain. The
// file is libvirt's own.
func (m *Machine) Suspend(ctx context.Context) error {
	err := m.locked(ctx, func() error { return m.driver.do(ctx, m.driver.limits.keep, m.suspend) })
	if err != nil {
		return fmt.Errorf("suspend machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) suspend(ctx context.Context, c connection) error {
	now, err := m.runs(ctx, c)
	switch {
	case err != nil || now == off:
		return err
	case now != running && now != paused:
		return fmt.Errorf("it is %s", now)
	}
	// The note comes first, so that there is memory that counts also when this process is killed and libvirt goes on alone.
	if err := m.write(c); err != nil {
		return hostfiles.DiskFull(err, m.spec.Dir)
	}
	if err := m.save(ctx, c); err != nil {
		return errors.Join(err, m.tearUp())
	}
	if err := ctx.Err(); err != nil { // too late to abort it
		if err := c.Restore(m.domain); err != nil || now == paused {
			return errors.Join(ctx.Err(), err)
		}
		return errors.Join(err, m.letRun(c))
	}
	return nil
}

// save makes libvirt save, and aborts that when ctx ends.
func (m *Machine) save(ctx context.Context, c connection) error {
	saved := make(chan struct{})
	var aborting sync.WaitGroup
	defer aborting.Wait() // a later call must not be what is aborted
	defer close(saved)
	aborting.Go(func() {
		select {
		case <-saved:
			return
		case <-ctx.Done():
		}
		ticker := time.NewTicker(endTick) // at first there may be nothing to abort yet
		defer ticker.Stop()
		for {
			_ = c.Abort(m.domain)
			select {
			case <-saved:
				return
			case <-ticker.C:
			}
		}
	})
	err := c.Save(m.domain)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Suspended looks for the note, and asks libvirt.
func (m *Machine) Suspended(ctx context.Context) (kept bool, err error) {
	if err := ctx.Err(); err != nil || !hostfiles.Exists(m.note) {
		return false, err
	}
	err = m.driver.do(ctx, m.driver.limits.answer, func(_ context.Context, c connection) error {
		exists, err := m.exists(c)
		if err != nil || !exists {
			return err
		}
		if now, err := c.Condition(m.domain); err != nil || now != off {
			return gone(err)
		}
		kept, err = c.Saved(m.domain)
		return gone(err)
	})
	return kept, err
}

// Resume makes libvirt restore the guest paused. The last thing before the guest executes is to remove the note.
func (m *Machine) Resume(ctx context.Context) error {
	release, err := hostfiles.Lock(ctx, m.spec.Dir)
	if err == nil {
		defer release()
		err = m.driver.do(ctx, m.driver.limits.keep, m.resume)
	}
	if err != nil {
		return fmt.Errorf("resume machine %q: %w", m.spec.Name, err)
	}
	return nil
}

func (m *Machine) resume(ctx context.Context, c connection) error {
	now, err := m.runs(ctx, c)
	if err == nil && now != off {
		err = errors.New("it runs already")
	}
	if err == nil {
		err = m.fits(c)
	}
	if err == nil {
		err = hostfiles.CheckDisk(m.files.Disk, m.spec)
	}
	if err != nil {
		return err
	}
	if !hostfiles.Exists(m.files.Seed) { // the guest has read it, but looks for its disk
		err = m.writeSeed(ctx, m.spec.Network.Joined)
	}
	if err == nil {
		err = m.prepareConsole()
	}
	if err != nil {
		return hostfiles.DiskFull(err, m.spec.Dir)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.Restore(m.domain); err != nil {
		return mismatch(err)
	}
	err = ctx.Err() // it may have ended during a call that cannot be cut off
	if err == nil {
		err = m.letRun(c)
	}
	if err != nil {
		return errors.Join(err, m.keepAgain(c))
	}
	return nil
}

// keepAgain saves the memory of a machine that was restored and did not get to run: libvirt has used up what it had. Should
// the guest have executed after all, its memory still fits its disk. What cannot be saved is ended.
func (m *Machine) keepAgain(c connection) error {
	err := m.write(c)
	if err == nil {
		err = c.Save(m.domain)
	}
	if err != nil {
		return errors.Join(err, m.tearUp(), gone(c.Destroy(m.domain)))
	}
	return nil
}

// fits refuses memory that is not there, or not for this machine here.
func (m *Machine) fits(c connection) error {
	then, err := m.read()
	if err != nil {
		return mismatch(err)
	}
	saved, err := c.Saved(m.domain)
	if err != nil {
		return err
	}
	if !saved {
		return mismatch(fmt.Errorf("%w: it does not have it", errNotRestored))
	}
	now, err := m.noteOf(c)
	if err != nil {
		return err
	}
	if what := then.differs(now); what != "" {
		return fail.New(fail.SnapshotMismatch, "use the saved memory", "it does not fit: %s", what)
	}
	return nil
}

// mismatch makes the fault of a saved memory a fail.SnapshotMismatch; other errors stay as they are.
func mismatch(err error) error {
	if errors.Is(err, errNotRestored) || errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.SnapshotMismatch, "use the saved memory", "%w", err)
	}
	return err
}

// Forget removes what is kept.
func (m *Machine) Forget(ctx context.Context) error {
	err := m.locked(ctx, func() error {
		return m.driver.do(ctx, m.driver.limits.act, func(_ context.Context, c connection) error {
			exists, err := m.exists(c)
			if err != nil || !exists {
				return err
			}
			return gone(m.discard(c))
		})
	})
	if err != nil {
		return fmt.Errorf("forget the memory of machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// discard removes what is kept of a machine: when it returns, no crash and no loss of power brings it back.
func (m *Machine) discard(c connection) error {
	if err := m.tearUp(); err != nil {
		return err
	}
	saved, err := c.Saved(m.domain)
	if err == nil && saved {
		err = c.Forget(m.domain)
	}
	return err
}

// letRun lets a guest execute that is paused. Its disk will be another one from here on, so what may be kept is invalid
// before.
func (m *Machine) letRun(c connection) error {
	if err := m.tearUp(); err != nil {
		return err
	}
	return c.Resume(m.domain)
}

// settled returns what the machine does. A save that somebody began who has ended is aborted first, and the guest goes on.
func (m *Machine) settled(ctx context.Context, c connection) (condition, error) {
	ticker := time.NewTicker(endTick)
	defer ticker.Stop()
	for {
		now, err := c.Condition(m.domain)
		if err != nil || now != saving {
			return now, err
		}
		_ = c.Abort(m.domain) // it may have ended just now
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-ticker.C:
		}
	}
}

// write writes the note of memory that is saved now.
func (m *Machine) write(c connection) error {
	now, err := m.noteOf(c)
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(m.note, raw, 0o600)
}

// read reads the note. One that only a newer skiff can read gives fail.StateNewer.
func (m *Machine) read() (note, error) {
	var n note
	raw, err := os.ReadFile(m.note)
	if err != nil {
		return n, err
	}
	err = store.RefuseOther("read "+m.note, m.driver.options.Version, store.ReadJSON(raw, &n))
	if err != nil && !fail.Is(err, fail.StateNewer) {
		err = fmt.Errorf("%w: what skiff noted of it in %s is damaged: %w", errNotRestored, m.note, err)
	}
	return n, err
}

// tearUp removes the note for good.
func (m *Machine) tearUp() error {
	err := os.Remove(m.note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return hostfiles.Sync(filepath.Dir(m.note))
}
