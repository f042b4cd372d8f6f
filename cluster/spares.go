package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/cluster/spare"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/store"
)

// Words of a Spare's State.
const (
	SpareReady  = "Ready"
	SpareStale  = "Stale"     // the next start removes it
	SpareBroken = "Broken"    // half made, by a command that was killed; the next start removes it
	SpareMaking = "Preparing" // or about to be taken or removed
)

// Spare is a warm spare: a cluster that is saved at the moment when it was ready, and belongs to no profile yet.
type Spare struct {
	Name              string
	State             string
	Created           time.Time  `json:",omitzero"`
	Size              int64      // bytes that it takes on this computer's disk
	Driver            string     `json:",omitempty"`
	CPUs              int        `json:",omitempty"`
	MemoryMiB         int        `json:",omitempty"`
	DiskBytes         int64      `json:",omitempty"`
	KubernetesVersion string     `json:",omitempty"`
	Addons            []string   `json:",omitempty"`
	Address           netip.Addr `json:",omitzero"`  // that the cluster will have which takes it
	Problem           string     `json:",omitempty"` // why it is not taken
}

// kept is a warm spare as its folder has it.
type kept struct {
	name   string
	config config.Cluster
	note   spare.Note
	err    error // why it is no spare, or not yet
}

// serves reports whether it is a spare, not stale, that can stand in for a cluster that is wanted.
func (k kept) serves(wanted config.Cluster, now spare.Now) bool {
	return k.err == nil && k.note.Stale(k.config, now) == "" && spare.Serves(k.config, wanted)
}

// spares returns a Manager of warm spares: what it does to a cluster, it does to a spare.
func (m *Manager) spares() *Manager {
	other := *m
	other.Home = m.Home.Spares()
	return &other
}

// keptSpares reads the folders of all warm spares. The receiver is a Manager of spares.
func (m *Manager) keptSpares() ([]kept, error) {
	entries, err := os.ReadDir(m.Home.Clusters())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []kept
	for _, entry := range entries {
		if entry.IsDir() && config.ValidateProfile(entry.Name()) == nil {
			list = append(list, m.readSpare(entry.Name()))
		}
	}
	return list, nil
}

// readSpare reads one folder.
func (m *Manager) readSpare(name string) kept {
	one := kept{name: name}
	content, err := os.ReadFile(m.Home.Cluster(name).Spare())
	if err == nil {
		one.note, err = spare.Parse(content)
	}
	if err == nil {
		one.config, err = m.Load(name)
	}
	if err == nil && !one.config.Provisioned {
		err = errors.New("it was not brought up to the end")
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is half made")
	}
	one.err = store.RefuseOther("read warm spare "+name, m.Version, err)
	return one
}

// now is what spares may have fallen behind.
func (m *Manager) now() spare.Now {
	now := spare.Now{Skiff: m.Version, Time: time.Now()}
	if image, err := m.newest(config.Cluster{KubernetesVersion: bundled}); err == nil {
		now.Image = image
	}
	return now
}

// sweepSpares removes the warm spares that nobody will take: half made by a command that was killed, and stale ones. What is
// being made or taken is locked, and left alone. It is done by the way, so it fails nobody.
func (m *Manager) sweepSpares(ctx context.Context, sink Sink) {
	spares := m.spares()
	if len(spares.lostLocks()) > 0 {
		if release, err := m.lockBuild(); err == nil {
			spares.sweepLocks()
			release()
		}
	}
	list, err := spares.keptSpares()
	if err != nil || len(list) == 0 {
		return
	}
	now := m.now()
	for _, one := range list {
		if one.err == nil && one.note.Stale(one.config, now) == "" || fail.Is(one.err, fail.StateNewer) {
			continue // that version of skiff takes it, or removes it
		}
		release, err := spares.lock(one.name)
		if err != nil {
			continue
		}
		// It may have become ready, or have been taken, before the lock was ours.
		again, kind := spares.readSpare(one.name), Info
		why := again.note.Stale(again.config, now)
		if again.err != nil {
			why, kind = oneLine(again.err), Warning
		}
		if why != "" {
			text := fmt.Sprintf("Removed warm spare %s: %s", one.name, why)
			if err := spares.discard(ctx, one.name); err != nil {
				text, kind = fmt.Sprintf("warm spare %s cannot be removed: %s", one.name, oneLine(err)), Warning
			}
			emit(sink, Event{Step: "spare", Text: text}, kind)
		}
		release()
	}
}

// discard removes a warm spare, whatever there is of it: also a machine and an agent that outlived the command that made
// them. The receiver is a Manager of spares and holds the spare's lock.
func (m *Manager) discard(ctx context.Context, name string) error {
	files := m.Home.Cluster(name)
	if err := os.Remove(files.Spare()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, err := m.Load(name)
	if err != nil { // half made, or half taken: then it has the name of the cluster already
		c = config.Cluster{Profile: name, Driver: "auto"}
	}
	vm, err := m.part(c)
	if err == nil {
		err = vm.Delete(ctx)
	}
	if err != nil {
		return wrap(fail.MachineFailed, err, "delete the machine of warm spare %s", name)
	}
	if err := m.Agents.Stop(ctx, files.AgentSocket(), files.AgentConfig()); err != nil {
		return wrap(fail.AgentFailed, err, "end the agent of warm spare %s", name)
	}
	return errors.Join(os.RemoveAll(files.Run), os.RemoveAll(files.Dir), m.forgetLock(name))
}

// forgetLock removes the lock of a spare that is gone. Who waits for it finds no spare.
func (m *Manager) forgetLock(name string) error {
	if err := os.Remove(m.Home.Cluster(name).Lock()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// reserve returns the warm spare that a new cluster takes, nil when there is none, and keeps others from taking it until
// release. Of several it is the one with the most of the addons that are wanted, and of these the oldest. One that turns out
// to be of no use on the way is removed, with a word. A dry run changes nothing and takes no lock.
func (m *Manager) reserve(ctx context.Context, wanted config.Cluster, dryRun bool, sink Sink) (found *kept, release func(), err error) {
	nothing := func() {}
	spares := m.spares()
	list, err := spares.keptSpares()
	if err != nil || len(list) == 0 {
		return nil, nothing, err
	}
	slices.SortStableFunc(list, func(a, b kept) int {
		return cmp.Or(cmp.Compare(len(b.config.Addons), len(a.config.Addons)), a.note.Created.Compare(b.note.Created))
	})
	now := m.now()
	for _, one := range list {
		if !one.serves(wanted, now) {
			continue
		}
		release := nothing
		if !dryRun {
			if release, err = spares.lock(one.name); err != nil {
				continue // another start takes it
			}
			one = spares.readSpare(one.name) // it may have been taken before the lock was ours
			if _, err := os.Lstat(spares.Home.Cluster(one.name).Dir); errors.Is(err, fs.ErrNotExist) {
				_ = spares.forgetLock(one.name) // whoever took it has removed the lock, and this one is new
			}
		}
		// Two who look at the same time whether an address is free would each find the other.
		if one.serves(wanted, now) && free(one.config.Address) && spares.usable(ctx, one, dryRun, sink) {
			return &one, release, nil
		}
		release()
	}
	return nil, nothing, ctx.Err()
}

// usable asks the machine of a warm spare whether its memory fits this host. One that does not is removed.
func (m *Manager) usable(ctx context.Context, one kept, dryRun bool, sink Sink) bool {
	err := m.fits(ctx, one.config)
	if err == nil {
		return true
	}
	if !dryRun && ctx.Err() == nil {
		text := fmt.Sprintf("warm spare %s cannot be used (%s), and is removed", one.name, oneLine(err))
		if err := m.discard(ctx, one.name); err != nil {
			text = fmt.Sprintf("warm spare %s cannot be used, nor removed (%s)", one.name, oneLine(err))
		}
		emit(sink, Event{Step: "spare", Text: text}, Warning)
	}
	return false
}

// fits asks a machine whether its kept memory could go on here, also in another place.
func (m *Manager) fits(ctx context.Context, c config.Cluster) error {
	vm, _, err := m.machine(c)
	if err != nil {
		return err
	}
	movable, ok := vm.(drivers.Movable)
	if !ok {
		return errors.New("its driver cannot move machines")
	}
	return movable.Fits(ctx)
}

// Spares returns all warm spares, oldest first, and those that are none (yet) last.
func (m *Manager) Spares(ctx context.Context) ([]Spare, error) {
	spares := m.spares()
	all, err := spares.keptSpares()
	if err != nil {
		return nil, err
	}
	list := make([]Spare, 0, len(all))
	now := m.now()
	for _, one := range all {
		shown := Spare{Name: one.name, Size: taken(spares.Home.Cluster(one.name).Dir)}
		shown.State, shown.Problem = spares.stateOf(ctx, one, now)
		if one.err == nil {
			c := one.config
			shown.Created, shown.Driver, shown.CPUs, shown.MemoryMiB, shown.DiskBytes = one.note.Created, c.Driver, c.CPUs, c.MemoryMiB, c.DiskBytes
			shown.KubernetesVersion, shown.Addons, shown.Address = c.KubernetesVersion, c.Addons, c.Address
		}
		list = append(list, shown)
	}
	slices.SortStableFunc(list, func(a, b Spare) int {
		if a.Created.IsZero() != b.Created.IsZero() {
			return cmp.Compare(b.Created.Unix(), a.Created.Unix())
		}
		return a.Created.Compare(b.Created)
	})
	return list, ctx.Err()
}

// SpareNames returns the names of all warm spares, whatever their state.
func (m *Manager) SpareNames() ([]string, error) {
	list, err := m.spares().keptSpares()
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = one.name
	}
	return names, err
}

// stateOf says how a spare is.
func (m *Manager) stateOf(ctx context.Context, one kept, now spare.Now) (state, problem string) {
	if fail.Is(one.err, fail.StateNewer) {
		return SpareStale, oneLine(one.err)
	}
	if one.err != nil {
		release, err := m.lock(one.name)
		if err != nil {
			return SpareMaking, ""
		}
		release()
		return SpareBroken, oneLine(one.err)
	}
	if why := one.note.Stale(one.config, now); why != "" {
		return SpareStale, why
	}
	if err := m.fits(ctx, one.config); err != nil {
		return SpareStale, oneLine(err)
	}
	return SpareReady, ""
}

// taken returns the bytes that a folder takes on the disk; what cannot be looked at counts nothing.
func taken(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it may just be on its way to a cluster
		}
		if info, err := entry.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += stat.Blocks * 512 // stat(2): the unit is always 512 bytes
			}
		}
		return nil
	})
	return sum
}

// DeleteSpares removes warm spares by their names, all of them when none is named, and returns the names of those that are
// removed. A preparation that runs is ended before. One that a start is about to take is left alone.
func (m *Manager) DeleteSpares(ctx context.Context, names []string, sink Sink) ([]string, error) {
	release, err := m.endBuild(ctx, sink)
	if err != nil {
		return nil, err
	}
	defer release()
	spares := m.spares()
	list, err := spares.keptSpares()
	if err != nil {
		return nil, err
	}
	var removed []string
	var problems []error
	for _, one := range list {
		if len(names) > 0 && !slices.Contains(names, one.name) {
			continue
		}
		if err := spares.deleteOne(ctx, one.name); err != nil {
			problems = append(problems, err)
			continue
		}
		removed = append(removed, one.name)
	}
	spares.sweepLocks()
	return removed, errors.Join(problems...)
}

func (m *Manager) deleteOne(ctx context.Context, name string) error {
	release, err := m.lock(name)
	if err != nil {
		return err
	}
	defer release()
	return m.discard(ctx, name)
}

// WantsSpare says whether a warm spare like a cluster should be prepared in the background now: refusal is why not, as a
// part of a sentence, and empty when it should.
func (m *Manager) WantsSpare(ctx context.Context, like config.Cluster, when spare.When) (refusal string) {
	moment := spare.Moment{When: when, MemoryMiB: like.MemoryMiB, Facts: m.Facts, Emulated: true}
	spares, now := m.spares(), m.now()
	// As a new cluster would be, which gets the newest image.
	like.Profile, like.Address, like.Image, like.KubernetesVersion = "spare", netip.Addr{}, now.Image, bundled
	if vm, spec, err := spares.machine(like); err == nil {
		moment.Able = moves(ctx, vm)
		moment.Emulated = m.emulated(ctx, like, spec.Image)
	}
	if list, err := spares.keptSpares(); err == nil {
		moment.There = slices.ContainsFunc(list, func(one kept) bool { return one.serves(like, now) })
	}
	if release, err := m.lockBuild(); err == nil {
		release()
	} else {
		moment.There = true // soon
	}
	if free, err := host.FreeBytes(m.Home.State); err == nil {
		moment.FreeBytes = free
	}
	return moment.Refusal()
}

// spareName makes a name that no other spare has. It tells nobody anything: a spare is for any profile.
func spareName() (string, error) {
	raw := make([]byte, 4)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return "spare-" + hex.EncodeToString(raw), nil
}

// ofSpare makes an error of a cluster's one of the spare of that name: what to run next is another command. Of several
// errors it does so for each.
func ofSpare(err error, name string) error {
	switch err := err.(type) { //nolint:errorlint // what is wrapped in other words stays as it is
	case *fail.Error:
		own := *err
		if strings.Contains(own.Next, name) {
			own.Next = strings.Replace(own.Next, "skiff start -p "+name, "skiff spare build", 1)
		}
		if strings.Contains(own.Next, name) { // such as its logs, which are gone with it
			own.Next = "skiff spare build"
		}
		return &own
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range err.Unwrap() {
			all = append(all, ofSpare(one, name))
		}
		return errors.Join(all...)
	}
	return err
}

// endBuild takes the lock of those who prepare spares. Who has it is ended as by Ctrl-C, and takes back what it made.
func (m *Manager) endBuild(ctx context.Context, sink Sink) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, undoLimit+10*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	ended := 0
	for {
		release, err := m.lockBuild()
		held, ok := errors.AsType[*store.HeldError](err)
		if !ok {
			return release, err
		}
		if pid := held.Holder.PID; pid != ended && prepares(pid) {
			ended = pid
			emit(sink, Event{Step: "spare", Text: "Ending the preparation of a warm spare"}, Info)
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		select {
		case <-ctx.Done():
			return nil, busy(held)
		case <-ticker.C:
		}
	}
}

// busy is the error of who finds another command preparing a spare.
func busy(held *store.HeldError) error {
	return fail.New(fail.ClusterLocked, "use warm spares", "another command prepares one: the lock is %w", held).
		WithHint("Wait until that command has ended, or end it, and run this one again.").WithNext("skiff spare list")
}

// lostLocks returns the locks of spares that are gone, such as of a start that was killed. The receiver is a Manager of
// spares.
func (m *Manager) lostLocks() []string {
	paths, _ := filepath.Glob(filepath.Join(m.Home.Clusters(), "*.lock"))
	return slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Lstat(strings.TrimSuffix(path, ".lock"))
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// sweepLocks removes those locks. Who begins a spare takes its lock before there is a folder, so the caller holds the lock
// of those who prepare one.
func (m *Manager) sweepLocks() {
	for _, path := range m.lostLocks() {
		_ = os.Remove(path)
	}
}

// prepares reports whether a process is a skiff that prepares a spare. The number in the lock may be that of an earlier
// holder for a moment, and then of any program.
func prepares(pid int) bool {
	words, err := processes.Arguments(pid)
	if err != nil || pid == os.Getpid() {
		return false
	}
	at := slices.Index(words, "spare")
	return at > 0 && slices.Contains(words[at:], "build")
}

// lockBuild takes the lock of those who prepare spares, or returns *store.HeldError.
func (m *Manager) lockBuild() (release func(), err error) {
	release, err = store.TryLock(m.Home.SpareLock(), m.holder())
	return release, store.NoSpace("prepare a warm spare", err)
}
