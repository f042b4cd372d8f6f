package cluster

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
	"github.com/skiff-k8s/skiff/store"
)

// observed is what there is of a cluster: a snapshot on which the plan is decided.
type observed struct {
	image      bool            // the guest image is installed
	machine    machine.State   // Absent when nothing was made yet
	mute       bool            // the machine runs and takes no commands any more
	suspended  bool            // the machine is stopped, and its memory kept
	suspends   bool            // its memory can be kept
	joined     netip.Prefix    // the machine's address in a network of the host, where the cluster's file lacks it
	agent      *agent.Status   // nil when no agent answers
	refuge     netip.Addr      // where the cluster moves, as another process holds its address; else the zero Addr
	held       netip.AddrPort  // what that process holds
	usable     error           // nil when the API server and the node are ready; asked only of a running machine
	kubeconfig kubeconfig.Seen // what the user's kubeconfig has of it
	enabled    map[string]bool
}

// observe looks at everything that a plan depends on. It changes nothing.
func (m *Manager) observe(ctx context.Context, c config.Cluster, exists bool) (observed, error) {
	seen := observed{machine: machine.Absent, usable: errNotRunning}
	damage := images.Verify(ctx, m.Home.BaseImage(c.Image))
	switch seen.image = damage == nil; {
	case !seen.image && !missing(damage) && !fail.Is(damage, fail.ChecksumMismatch):
		return seen, damage
	case !exists:
		return seen, nil
	}
	driver, err := m.driver(c)
	if err != nil {
		return seen, err
	}
	spec, err := m.spec(c)
	if err != nil && (seen.image || !fail.Is(err, fail.ChecksumMismatch)) {
		return seen, err
	}
	vm := driver.Machine(spec)
	if err := m.observeMachine(ctx, c, vm, damage, &seen); err != nil {
		return seen, err
	}
	if err := m.keyless(c, spec, seen.machine); err != nil {
		return seen, err
	}
	if suspender, ok := vm.(drivers.Suspender); ok {
		seen.suspends = true
		if seen.suspended, err = suspender.Suspended(ctx); err != nil {
			return seen, wrap(fail.MachineFailed, err, "look at the machine of cluster %s", c.Profile)
		}
	}
	if c.Network != "" && !c.NetworkAddress.IsValid() && seen.machine != machine.Absent {
		if seen.joined, err = joined(ctx, vm); err != nil {
			return seen, wrap(fail.MachineFailed, err, "look at the machine of cluster %s", c.Profile)
		}
	}
	files := m.Home.Cluster(c.Profile)
	if status, err := m.answer(ctx, files.AgentSocket()); err == nil {
		seen.agent = &status
	} else if seen.refuge, seen.held, err = m.refuge(ctx, c); err != nil {
		return seen, err
	}
	if seen.machine == machine.Running && seen.agent == nil {
		seen.usable = errNoAgent
	}
	if seen.machine == machine.Running && seen.agent != nil && c.Provisioned {
		asking, cancel := context.WithTimeout(ctx, 3*time.Second)
		seen.usable = m.Kubernetes.Usable(asking, m.target(c))
		cancel()
	}
	if own, err := ownKubeconfig(files); err == nil {
		seen.kubeconfig, err = kubeconfig.Look(m.Kubeconfig, c.Profile, own)
		if err != nil {
			return seen, err
		}
	}
	if seen.usable == nil && len(c.Addons) > 0 {
		if seen.enabled, err = m.Kubernetes.Enabled(ctx, m.target(c)); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// answer asks the agent behind socket how it is, three times where it is silent: a busy host may keep it from answering in time. Were
// it taken for one that has ended, its machine would be suspended to get a new network.
func (m *Manager) answer(ctx context.Context, socket string) (status agent.Status, err error) {
	for range 3 {
		if status, err = m.Agents.Status(ctx, socket); !errors.Is(err, agent.ErrSilent) {
			break
		}
	}
	return status, err
}

// observeMachine notes the machine's state. damage is what is wrong with the image below it; a machine that runs has all that it
// needs of it, and one that does not can wait for it when it is at hand.
func (m *Manager) observeMachine(ctx context.Context, c config.Cluster, vm machine.Machine, damage error, seen *observed) error {
	state, err := vm.State(ctx)
	runs := err == nil && (state == machine.Running || state == machine.Paused) || errors.Is(err, machine.ErrUncontrolled)
	switch {
	case seen.image:
	case m.atHand(c):
		if fail.Is(err, fail.ImageMissing) {
			state, err = machine.Stopped, nil // the image is about to be there again
		}
	case runs:
		seen.image = true
	default:
		return m.imageLost(c, damage)
	}
	seen.machine = state
	if seen.mute = errors.Is(err, machine.ErrUncontrolled); seen.mute {
		return nil
	}
	if err == nil || fail.Known(err) {
		return err
	}
	return fail.New(fail.MachineFailed, "look at the machine of cluster "+c.Profile, "%w", err).WithNext("skiff logs -p %s", c.Profile)
}

// errNotRunning is why a cluster without a running machine is not usable.
var errNotRunning = errors.New("the machine does not run")

// errNoAgent is why a cluster whose machine runs cannot be asked whether it is usable.
var errNoAgent = errors.New("its agent has ended")

// atHand reports whether the very image that the cluster stands on can be installed again.
func (m *Manager) atHand(c config.Cluster) bool {
	manifest, err := images.ReadManifest(m.Built)
	return err == nil && m.Home.BaseImage(manifest.Digest) == m.Home.BaseImage(c.Image)
}

// imageLost is the error of a cluster that has lost the image that its disk is layered on.
func (m *Manager) imageLost(c config.Cluster, damage error) error {
	id := fail.ImageMissing
	if fail.Is(damage, fail.ChecksumMismatch) {
		id = fail.ChecksumMismatch
	}
	op := "start cluster " + c.Profile
	if _, err := images.ReadManifest(m.Built); err != nil {
		return fail.New(id, op, "the guest image that its disk stands on cannot be used: %w", damage).
			WithHint("Build that image again; the next start installs it.").WithNext(images.Remake)
	}
	return fail.New(id, op, "the guest image that its disk stands on cannot be used, and the one in %s is another: %w", m.Built, damage).
		WithHint("Without the image of digest %s the cluster's disk is of no use. Put that one there, and start installs it; else remove the cluster.", c.Image).
		WithNext("skiff delete -p %s", c.Profile)
}

// ownKubeconfig reads the cluster's own kubeconfig, and fails when it is of no use.
func ownKubeconfig(files store.Cluster) ([]byte, error) {
	own, err := os.ReadFile(files.Kubeconfig())
	if err == nil {
		_, err = clientcmd.RESTConfigFromKubeConfig(own)
	}
	return own, err
}

// mendKubeconfig has the cluster's own kubeconfig written again when it is of no use: all that is in it is in the keys. A
// cluster that goes on from its memory needs nothing else of Kubernetes.
func (m *Manager) mendKubeconfig(ctx context.Context, c config.Cluster) error {
	if _, err := ownKubeconfig(m.Home.Cluster(c.Profile)); err == nil || !c.Provisioned {
		return nil
	}
	return m.Kubernetes.Prepare(ctx, m.target(c))
}

// missing reports whether err says that a guest image is not there.
func missing(err error) bool {
	return fail.Is(err, fail.ImageMissing) || errors.Is(err, fs.ErrNotExist)
}
