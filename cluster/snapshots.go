package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Snapshot is a state of a cluster to which it can be put back.
type Snapshot struct {
	Name              string
	Created           time.Time
	Size              int64 // bytes that it takes on this computer's disk
	KubernetesVersion string
	Running           bool // the cluster ran, and does so again once it is restored
	Description       string
	Unquiet           string        `json:",omitempty"` // why Kubernetes could not be made to stand still for it; empty when it was
	Problem           string        `json:",omitempty"` // why it cannot be restored
	Frozen            time.Duration `json:"-"`          // how long the cluster stood still for it; known only when it was saved
}

// note is what a snapshot keeps of the cluster beside its machine.
type note struct {
	Skiff       string         `json:"skiff,omitempty"` // version that wrote it
	Description string         `json:"description"`
	Config      config.Cluster `json:"config"`
}

// snapshotName keeps names fit for files and command lines.
var snapshotName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9._]{0,61}[a-z0-9])?$`) //nolint:gochecknoglobals // compiled once, never changed

// ValidateSnapshot refuses names that are not 1 to 63 of a-z, 0-9, "-", "." and "_", or that a file in the making has.
func ValidateSnapshot(name string) error {
	if snapshotName.MatchString(name) && !strings.HasSuffix(name, ".part") {
		return nil
	}
	return fail.New(fail.FlagInvalid, fmt.Sprintf("use snapshot name %.80q", name),
		"a snapshot's name has 1 to 63 characters of a-z, 0-9, -, . and _, begins and ends with a letter or digit, and does not end in .part")
}

// snapshotter returns the machine of a cluster, as one that can have snapshots.
func (m *Manager) snapshotter(c config.Cluster) (machine.Machine, drivers.Snapshotter, error) {
	vm, _, err := m.machine(c)
	if err != nil {
		return nil, nil, err
	}
	able, err := snapshots(vm, c.Profile)
	return vm, able, err
}

// snapshots refuses a machine that cannot have them.
func snapshots(vm machine.Machine, profile string) (drivers.Snapshotter, error) {
	if able, ok := vm.(drivers.Snapshotter); ok {
		return able, nil
	}
	return nil, cannot("use snapshots of cluster "+profile, "make snapshots", "qemu")
}

// SaveOptions says what to save.
type SaveOptions struct {
	Profile     string
	Name        string // empty: the present time
	Description string
}

// SaveSnapshot keeps the cluster's state, disk and memory. A cluster that runs goes on; it stands still for less than a
// second. When it fails or is interrupted, the cluster and its other snapshots are as before.
func (m *Manager) SaveSnapshot(ctx context.Context, o SaveOptions, sink Sink) (Snapshot, error) {
	if o.Name == "" {
		o.Name = time.Now().UTC().Format("20060102-150405")
	}
	if err := ValidateSnapshot(o.Name); err != nil {
		return Snapshot{}, err
	}
	c, release, err := m.hold(o.Profile)
	if err != nil {
		return Snapshot{}, err
	}
	defer release()
	vm, able, err := m.snapshotter(c)
	if err != nil {
		return Snapshot{}, err
	}
	content, err := json.Marshal(note{Skiff: m.Version, Description: o.Description, Config: c})
	if err != nil {
		return Snapshot{}, err
	}
	var saved drivers.Snapshot
	before, err := vm.State(ctx)
	if err != nil {
		return Snapshot{}, wrap(fail.MachineFailed, err, "save snapshot %s of cluster %s", o.Name, o.Profile)
	}
	defer m.flush(ctx, vm, before)()
	step := Event{Profile: o.Profile, Step: "snapshot", Index: 1, Steps: 1, Text: "Save snapshot " + o.Name + " of cluster " + o.Profile}
	err = inStep(step, sink, func() error {
		quiesce := func(ctx context.Context) (release func(), unquiet string) { return m.quiesce(ctx, vm, m.target(c)) }
		saved, err = able.SaveSnapshot(ctx, o.Name, content, quiesce)
		if errors.Is(err, fs.ErrExist) {
			return fail.New(fail.SnapshotExists, "save snapshot "+o.Name, "cluster %s has one of that name", o.Profile).
				WithNext("skiff snapshot delete -p %s %s", o.Profile, o.Name)
		}
		return ended(ctx, vm, before, o.Profile, wrap(fail.MachineFailed, err, "save snapshot %s of cluster %s", o.Name, o.Profile))
	})
	return m.snapshotOf(saved), err
}

// ended adds to the failure of a machine that it has ended meanwhile, where it has, and what helps.
func ended(ctx context.Context, vm machine.Machine, before machine.State, profile string, err error) error {
	failed, ok := errors.AsType[*fail.Error](err)
	if !ok || failed.ID != fail.MachineFailed || before == machine.Stopped {
		return err
	}
	if now, missing := vm.State(ctx); missing != nil || now != machine.Stopped {
		return err
	}
	return failed.WithHint("The machine has ended meanwhile. Nothing on its disk is lost: it boots from there.").WithNext("skiff start -p %s", profile)
}

// snapshotOf is a machine's snapshot as one of its cluster.
func (m *Manager) snapshotOf(s drivers.Snapshot) Snapshot {
	out := Snapshot{Name: s.Name, Created: s.Created, Size: s.Bytes, Running: s.Running, Unquiet: s.Unquiet, Frozen: s.Frozen}
	var n note
	err := s.Err
	if err == nil {
		err = store.RefuseOther("read the snapshot", m.Version, store.ReadJSON(s.Note, &n))
	}
	out.KubernetesVersion, out.Description = n.Config.KubernetesVersion, n.Description
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

// Snapshots returns the snapshots of a cluster, oldest first. One that is damaged is listed with its problem.
func (m *Manager) Snapshots(ctx context.Context, profile string) ([]Snapshot, error) {
	c, err := m.Load(profile)
	if err != nil {
		return nil, err
	}
	_, able, err := m.snapshotter(c)
	if err != nil {
		return nil, err
	}
	list, err := able.Snapshots(ctx)
	if err != nil {
		return nil, wrap(fail.MachineFailed, err, "list the snapshots of cluster %s", profile)
	}
	snapshots := make([]Snapshot, 0, len(list))
	for _, one := range list {
		snapshots = append(snapshots, m.snapshotOf(one))
	}
	return snapshots, nil
}

// DeleteSnapshot removes a snapshot; the cluster and its other snapshots stay as they are. None of that name is an error.
func (m *Manager) DeleteSnapshot(ctx context.Context, profile, name string, sink Sink) error {
	c, release, err := m.hold(profile)
	if err != nil {
		return err
	}
	defer release()
	_, able, err := m.snapshotter(c)
	if err != nil {
		return err
	}
	if _, err := find(ctx, able, profile, name); err != nil {
		return err
	}
	step := Event{Profile: profile, Step: "snapshot", Index: 1, Steps: 1, Text: "Delete snapshot " + name + " of cluster " + profile}
	return inStep(step, sink, func() error {
		return wrap(fail.MachineFailed, able.DeleteSnapshot(ctx, name), "delete snapshot %s of cluster %s", name, profile)
	})
}

// find returns the snapshot of that name, or fail.SnapshotNotFound.
func find(ctx context.Context, able drivers.Snapshotter, profile, name string) (drivers.Snapshot, error) {
	list, err := able.Snapshots(ctx)
	if err != nil {
		return drivers.Snapshot{}, wrap(fail.MachineFailed, err, "list the snapshots of cluster %s", profile)
	}
	i := slices.IndexFunc(list, func(s drivers.Snapshot) bool { return s.Name == name })
	if i < 0 {
		return drivers.Snapshot{}, fail.New(fail.SnapshotNotFound, "use snapshot "+name, "cluster %s has no snapshot %q", profile, name).
			WithNext("skiff snapshot list -p %s", profile)
	}
	return list[i], nil
}

// RestoreOptions says what to put back.
type RestoreOptions struct {
	Profile     string
	Name        string
	DryRun      bool          // plan and do nothing
	WaitTimeout time.Duration // limit of the wait; 0: none
}

// RestoreSnapshot puts the cluster back to a snapshot, disk and memory, and its size and list of addons with them. A
// cluster that ran then runs afterwards. Its present state is lost.
func (m *Manager) RestoreSnapshot(ctx context.Context, o RestoreOptions, sink Sink) (Started, error) {
	look := m.hold
	if o.DryRun {
		look = m.loadOnly
	}
	now, release, err := look(o.Profile)
	if err != nil {
		return Started{}, err
	}
	defer release()
	_, able, err := m.snapshotter(now)
	if err != nil {
		return Started{}, err
	}
	found, err := find(ctx, able, o.Profile, o.Name)
	if err != nil {
		return Started{}, err
	}
	var n note
	if err = found.Err; err == nil {
		err = store.RefuseOther("restore snapshot "+o.Name, m.Version, store.ReadJSON(found.Note, &n))
	}
	if fail.Is(err, fail.StateNewer) {
		return Started{}, err
	}
	if err == nil && n.Config.Image != now.Image {
		err = errors.New("it stands on another guest image")
	}
	if err != nil {
		return Started{}, unfit(o, err)
	}
	then := now
	then.CPUs, then.MemoryMiB, then.Addons, then.Provisioned = n.Config.CPUs, n.Config.MemoryMiB, n.Config.Addons, n.Config.Provisioned
	run := &start{
		Manager: m, config: then, stored: &now, files: m.Home.Cluster(o.Profile), sink: sink,
		options: StartOptions{Profile: o.Profile, WaitTimeout: o.WaitTimeout},
	}
	if _, silent := m.Agents.Status(ctx, run.files.AgentSocket()); silent != nil && found.Running { // one that answers holds the address
		if run.seen.refuge, run.seen.held, err = m.refuge(ctx, now); err != nil {
			return Started{}, err
		}
		if run.seen.refuge.IsValid() {
			run.config.Address = run.seen.refuge
		}
	}
	plan := run.restorePlan(found, n.Config)
	if o.DryRun {
		return Started{Plan: plan, Config: run.config}, nil
	}
	err = Apply(ctx, plan, run.keep, sink)
	return Started{Plan: plan, Config: run.config}, onward(err, o.Profile)
}

// unfit is the error of a snapshot that cannot be restored. Nobody is told to delete one that is whole.
func unfit(o RestoreOptions, err error) error {
	mismatch := fail.New(fail.SnapshotMismatch, "restore snapshot "+o.Name, "%w", err).WithHint("It cannot be restored; the cluster is as it was.")
	if _, whole := errors.AsType[*store.FieldError](err); whole {
		return mismatch.WithNext("skiff snapshot list -p %s", o.Profile)
	}
	return mismatch.WithNext("skiff snapshot delete -p %s %s", o.Profile, o.Name)
}

// restorePlan goes back, and on from there where the cluster ran. saved is the cluster as the snapshot knows it.
func (s *start) restorePlan(snapshot drivers.Snapshot, saved config.Cluster) Plan {
	plan := Plan{Profile: s.config.Profile}
	plan.add(s.readdressed(), s.readdress())
	plan.Steps = append(plan.Steps, s.restore(snapshot))
	if !snapshot.Running {
		return plan
	}
	s.seen = observed{machine: machine.Stopped, suspended: snapshot.Memory, usable: errNotRunning}
	plan.Steps = append(plan.Steps, s.agent(), s.resume(false))
	plan.add(!s.config.Provisioned, s.kubernetes())
	plan.Steps = append(plan.Steps, s.services())
	plan.add(s.readdressed(), s.context())
	plan.Steps = append(plan.Steps, s.wait())
	if saved.Address != s.config.Address { // which addons tell those who ask where they answer
		for _, addon := range s.config.Addons {
			step := s.addon(addon)
			step.Why = "the snapshot was saved at another address"
			plan.Steps = append(plan.Steps, step)
		}
	}
	plan.add(s.large(), s.grow()) // the disk of the snapshot may be smaller than the cluster's is by now
	return plan
}

func (s *start) restore(snapshot drivers.Snapshot) Step {
	return Step{
		ID:   "restore",
		Text: fmt.Sprintf("Put machine %s back to snapshot %s", s.config.Profile, snapshot.Name),
		Why:  "it was asked for; what the cluster is now is lost",
		Do: func(ctx context.Context, _ Report) error {
			vm, err := s.reached()
			if err != nil {
				return err
			}
			able, err := snapshots(vm, s.config.Profile)
			if err != nil {
				return err
			}
			if err := able.RestoreSnapshot(ctx, snapshot.Name); err != nil {
				return wrap(fail.MachineFailed, err, "restore snapshot %s of cluster %s", snapshot.Name, s.config.Profile)
			}
			if err := s.save(s.config); err != nil {
				return err
			}
			// The agent's connections lead to a guest that has never heard of them, and what it knows of the cluster is of a
			// later time.
			return wrap(fail.AgentFailed, s.Agents.Stop(ctx, s.files.AgentSocket(), s.files.AgentConfig()), "end the agent of cluster %s", s.config.Profile)
		},
	}
}
