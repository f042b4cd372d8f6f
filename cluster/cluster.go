// Package cluster is what skiff is about: it looks at what there is of a cluster, plans what is missing, and does it, with
// a way back. It knows no flags, no terminal and no driver by name; those are handed in.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
	"github.com/skiff-k8s/skiff/tuning"
)

// Addresses inside every cluster's own virtual network; they are the same in all clusters.
const (
	node       = "skiff" // name of the first node, whatever the profile's name
	guestMAC   = "5a:94:ef:e4:0c:ee"
	sshPort    = 2222
	apiPort    = 6443
	sshUser    = "root"
	bundled    = "v1.37.2" // Kubernetes of the guest image of this version of skiff
	agentStart = 40 * time.Second
)

// KubernetesVersion is the version that new clusters get.
const KubernetesVersion = bundled

// Manager makes and keeps clusters. Its fields are handed in once and not changed.
type Manager struct {
	Home       store.Home
	Drivers    func(name string) (drivers.Driver, error) // by name or alias; "auto" is the first that works
	Every      []drivers.Driver                          // all there are, for a cluster of which nobody knows whose it is
	Agents     Agents
	Kubernetes Kubernetes
	HostKeys   HostKeys // only for machines that exist already
	Facts      host.Facts
	Version    string // of skiff; a warm spare of another one is not taken
	Command    string // what this process was called as; locks show it
	Kubeconfig string // the user's KUBECONFIG: one path, or several as kubectl takes them; empty for ~/.kube/config
	Built      string // folder of the guest image for new clusters
	// Hurry, when not nil, is for what takes long and can be cut short: asked is closed at the user's next Ctrl-C, which until
	// release does not end the process.
	Hurry func() (asked <-chan struct{}, release func())
	// AwakeGrace is how long a machine whose memory was restored has to say on its console that it is awake before it is
	// asked over SSH, which costs it more; 0: it is asked at once.
	AwakeGrace time.Duration
}

// Agents starts and asks the host processes of clusters; package agent has the real ones.
type Agents interface {
	// Start starts the agent, unless one answers already, and returns once it answers.
	Start(ctx context.Context, configFile string, c agent.Config) error
	// Status asks the agent behind socket. An error means that none answers.
	Status(ctx context.Context, socket string) (agent.Status, error)
	// Gone reports whether the agent behind socket has ended.
	Gone(ctx context.Context, socket string) bool
	// Runs reports whether the agent that was started with configFile runs, also one that answers nobody.
	Runs(ctx context.Context, configFile string) (bool, error)
	// Watch makes the agent publish the Services of the cluster that kubeconfig names.
	Watch(ctx context.Context, socket string, kubeconfig []byte) error
	// Published returns once the Services that the agent watches have their ports.
	Published(ctx context.Context, socket string) error
	// AutoPause makes the agent pause its machine after that long without a request; 0 makes it let the machine go.
	AutoPause(ctx context.Context, socket string, limit time.Duration) error
	// HostAccess makes the agent let its machine reach those services on this host's 127.0.0.1, and no others.
	HostAccess(ctx context.Context, socket string, access config.HostAccess) error
	// InsecureRegistries lets the agent's mirror ask those registries, and no others, without TLS.
	InsecureRegistries(ctx context.Context, socket string, registries []string) error
	// Wake makes the agent wake its machine, and returns once it is awake; nil when it is not asleep.
	Wake(ctx context.Context, socket string) error
	// Stop ends the agent that was started with configFile, also when its socket is gone; nil when none runs.
	Stop(ctx context.Context, socket, configFile string) error
}

// Kubernetes brings Kubernetes up on a machine and looks after it.
type Kubernetes interface {
	// Prepare makes what can be made before the machine answers, such as keys; idempotent.
	Prepare(ctx context.Context, c Target) error
	// Up brings the control plane up on m; idempotent, and goes on where an earlier call was cut off.
	Up(ctx context.Context, m machine.Runner, c Target, report Report) error
	// Wake sets right what is wrong in a machine whose memory is from an earlier time: its clock, its random pool, and
	// certificates that ended or were made anew since. m has just answered; idempotent.
	Wake(ctx context.Context, m machine.Runner, c Target, report Report) error
	// Quiesce makes Kubernetes stand still on m, whose memory is about to be kept. Where that memory goes on, m sets itself
	// right and says so on its console; on m itself Kubernetes goes on with release, which may be left out when m has ended.
	Quiesce(ctx context.Context, m machine.Runner, c Target) (release func(), err error)
	// Awake tells what a line of a machine's console means: whether the machine says there that it is awake and has set
	// itself right, and whether its certificates are then those that it should have, so that it needs no Wake.
	Awake(c Target, line string) (awake, current bool)
	// Wait returns once the cluster is usable: node Ready, cluster DNS answers, default service account there.
	Wait(ctx context.Context, m machine.Runner, c Target, report Report) error
	// WaitAgain is Wait for a machine that was quiesced and has said that it is awake. next returns once what the machine says
	// later, line by line, is wanted; it asks nothing of the machine itself.
	WaitAgain(ctx context.Context, c Target, next Heard, report Report) error
	// Usable asks once whether the API server is ready and the node Ready; nil means yes.
	Usable(ctx context.Context, c Target) error
	// Enable applies an addon and returns once it is Available.
	Enable(ctx context.Context, c Target, addon string, report Report) error
	// EnableAgain is Enable for a machine that goes on from its memory: it applies the addon only where it is not there already,
	// just as this skiff would make it.
	EnableAgain(ctx context.Context, c Target, addon string, report Report) error
	// Disable removes an addon; nil when it is not there.
	Disable(ctx context.Context, c Target, addon string) error
	// Enabled says which addons are there.
	Enabled(ctx context.Context, c Target) (map[string]bool, error)
}

// Heard follows what a machine says on its console: it returns nil once wanted is true of a line, and the reason when ctx ends
// first.
type Heard func(ctx context.Context, wanted func(line string) bool) error

// Target is a cluster as Kubernetes needs to know it.
type Target struct {
	Config config.Cluster
	Files  store.Cluster
	Image  string // folder of the guest image that the cluster boots from
	// Warn, which may be nil, tells the user of something that was wrong and is not any more.
	Warn func(text string)
	// Tuning, which may be nil for hardware, asks the driver what executes the cluster's machine. The first answer on a host may take
	// some seconds.
	Tuning func(ctx context.Context) tuning.Plan
	// Stalled, which may be nil, is told what a wait without progress waits for, and why that does not come.
	Stalled func(text string)
}

// target returns what Kubernetes is to know of a cluster.
func (m *Manager) target(c config.Cluster) Target {
	return Target{
		Config: c, Files: m.Home.Cluster(c.Profile), Image: m.Home.BaseImage(c.Image),
		Tuning: func(ctx context.Context) tuning.Plan { return m.tuning(ctx, c) },
	}
}

// hold takes the cluster's lock and reads its description under it: what was read before could be another command's past. Every
// command that changes an existing cluster begins with it; Start and Delete, which also work without a description, and spares
// take the lock and read by themselves. The errors are those of lock and of Load, and nothing is held then; a cluster that does
// not exist leaves no lock.
func (m *Manager) hold(profile string) (c config.Cluster, release func(), err error) {
	if err := config.ValidateProfile(profile); err != nil {
		return c, nil, err
	}
	if _, err := os.Lstat(m.Home.Cluster(profile).File()); errors.Is(err, fs.ErrNotExist) {
		c, err := m.Load(profile) // for its words
		return c, nil, err
	}
	release, err = m.lock(profile)
	if err != nil {
		return c, nil, err
	}
	if c, err = m.Load(profile); err != nil {
		if fail.Is(err, fail.ClusterNotFound) { // it was deleted meanwhile, and this lock is a new one
			_ = m.forgetLock(profile)
		}
		release()
		return c, nil, err
	}
	return c, release, nil
}

// loadOnly is hold for those who change nothing, such as a dry run.
func (m *Manager) loadOnly(profile string) (c config.Cluster, release func(), err error) {
	c, err = m.Load(profile)
	return c, func() {}, err
}

// lock takes the cluster's lock. See hold.
func (m *Manager) lock(profile string) (func(), error) {
	if err := m.Home.SecureRun(); err != nil {
		return nil, err
	}
	release, err := store.TryLock(m.Home.Cluster(profile).Lock(), m.holder())
	return release, locked(profile, err)
}

// lockWaiting is lock that waits until other commands have let go of the cluster, for limit at most unless that is 0, and tells
// sink so. It ends with ctx.
func (m *Manager) lockWaiting(ctx context.Context, profile string, limit time.Duration, sink Sink) (func(), error) {
	if err := m.Home.SecureRun(); err != nil {
		return nil, err
	}
	waiting := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	release, err := store.Lock(waiting, m.Home.Cluster(profile).Lock(), m.holder(), func(other store.Holder) {
		emit(sink, Event{Profile: profile, Step: StepLock, Text: fmt.Sprintf("Waiting for %s, which uses cluster %s", other, profile)}, Info)
	})
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return release, locked(profile, err)
}

// holder is this process, as locks show it.
func (m *Manager) holder() store.Holder {
	return store.Holder{Command: m.Command, PID: os.Getpid(), Since: time.Now()}
}

// locked gives the error of a lock that was not had the words that people meet.
func locked(profile string, err error) error {
	if held, ok := errors.AsType[*store.HeldError](err); ok {
		return fail.New(fail.ClusterLocked, "use cluster "+profile, "it is %w", held).
			WithHint("Wait until that command has ended, or end it, and run this one again.")
	}
	return store.NoSpace("use cluster "+profile, err)
}

// Load reads the description of a cluster. None gives fail.ClusterNotFound, one that only another version of skiff can read
// fail.StateNewer, an unreadable one fail.StateCorrupt.
func (m *Manager) Load(profile string) (config.Cluster, error) {
	if err := config.ValidateProfile(profile); err != nil {
		return config.Cluster{}, err
	}
	path := m.Home.Cluster(profile).File()
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		absent := fail.New(fail.ClusterNotFound, "use cluster "+profile, "there is no cluster %q", profile)
		if others, err := m.Home.Profiles(); err == nil && len(others) > 0 { // the name may be mistyped
			return config.Cluster{}, absent.WithNext("skiff profile list")
		}
		return config.Cluster{}, absent.WithNext("skiff start -p %s", profile)
	}
	if err == nil {
		var c config.Cluster
		if c, err = config.Parse(content); err == nil && c.Profile != profile {
			err = fmt.Errorf("it describes cluster %q", c.Profile)
		}
		if err == nil {
			err = store.MadeBy(m.driverKnown(c), content)
		}
		if err == nil {
			return c, nil
		}
	}
	if newer := store.RefuseOther("read "+path, m.Version, err); fail.Is(newer, fail.StateNewer) {
		return config.Cluster{}, newer
	}
	corrupt := fail.New(fail.StateCorrupt, "read "+path, "%w", err)
	if _, whole := errors.AsType[*store.FieldError](err); whole {
		return config.Cluster{}, corrupt.WithHint("The cluster is untouched. Correct the file, or use the version of skiff that wrote it.")
	}
	return config.Cluster{}, corrupt.
		WithHint("The cluster's disk is untouched. Mend the file, or remove the cluster.").WithNext("skiff delete -p %s", profile)
}

// driverKnown refuses a driver that there is not: a file that was edited by hand can name one.
func (m *Manager) driverKnown(c config.Cluster) error {
	if m.Drivers == nil {
		return nil // who only looks at files
	}
	_, err := m.Drivers(c.Driver)
	if known, ok := errors.AsType[*fail.Error](err); ok && known.ID == fail.DriverNotFound {
		return &store.FieldError{Err: fmt.Errorf("driver %q: %w", c.Driver, known.Err)}
	}
	return nil
}

// save writes the description of a cluster.
func (m *Manager) save(c config.Cluster) error {
	c.Skiff = m.Version
	content, err := c.Marshal()
	if err != nil {
		return err
	}
	return store.Write(m.Home.Cluster(c.Profile).File(), content, 0o600)
}

// driver returns the cluster's driver, with what was decided about it. Settings of another driver give fail.FlagInvalid.
func (m *Manager) driver(c config.Cluster) (drivers.Driver, error) {
	driver, err := m.Drivers(c.Driver)
	settings := drivers.Settings{LibvirtURI: c.LibvirtURI, Network: c.Network}
	if err != nil || settings == (drivers.Settings{}) {
		return driver, err
	}
	configurable, ok := driver.(drivers.Configurable)
	if !ok {
		flag, next := "--libvirt-uri", "--libvirt-uri "+cmp.Or(c.LibvirtURI, "qemu:///system")
		if c.Network != "" {
			flag, next = "--network", next+" --network "+machine.Quote(c.Network)
		}
		return nil, fail.New(fail.FlagInvalid, "use driver "+driver.Name(), "%s is for the driver libvirt", flag).
			WithNext("skiff start -p %s --driver libvirt %s", c.Profile, next)
	}
	return configurable.With(settings)
}

// machine returns the handle of the cluster's machine; nothing is changed.
func (m *Manager) machine(c config.Cluster) (machine.Machine, machine.Spec, error) {
	driver, err := m.driver(c)
	if err != nil {
		return nil, machine.Spec{}, err
	}
	spec, err := m.spec(c)
	if err != nil {
		return nil, machine.Spec{}, err
	}
	return driver.Machine(spec), spec, nil
}

// part returns the handle of the cluster's machine also when its keys or its image are damaged, or only a newer skiff knows the
// image: it can be asked, stopped and deleted without them.
func (m *Manager) part(c config.Cluster) (machine.Machine, error) {
	driver, err := m.driver(c)
	if err != nil {
		return nil, err
	}
	spec, err := m.spec(c)
	if err != nil && !fail.Is(err, fail.StateCorrupt) && !fail.Is(err, fail.ChecksumMismatch) && !fail.Is(err, fail.StateNewer) {
		return nil, err
	}
	return driver.Machine(spec), nil
}

// joined returns the address of a machine in the network that it joined; the zero Prefix when it joined none.
func joined(ctx context.Context, vm machine.Machine) (netip.Prefix, error) {
	joiner, ok := vm.(drivers.Joiner)
	if !ok {
		return netip.Prefix{}, nil
	}
	return joiner.Joined(ctx)
}
