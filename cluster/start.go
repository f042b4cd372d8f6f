package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
	"github.com/skiff-k8s/skiff/store"
)

// Wanted is what a user asked for. A nil field was not asked for: an existing cluster keeps its value, a new one gets the
// default.
type Wanted struct {
	Driver            *string
	LibvirtURI        *string
	Network           *string
	CPUs              *int
	MemoryMiB         *int
	DiskBytes         *int64
	KubernetesVersion *string
	APIServerNames    []string
	APIServerIPs      []string
	ExtraConfig       []string // as config.ParseSetting reads them
	FeatureGates      []string // as config.ParseFeatureGates reads them
	Addons            []string
	Offline           *bool
	AutoPause         *time.Duration // 0: never
	HostAccess        *config.HostAccess
	// InsecureRegistries take the place of those that the cluster has; as config.ParseRegistries reads them.
	InsecureRegistries *[]string
	CertExpiration     *time.Duration // of certificates that are made from now on
	SSH                *config.SSH    // a machine that exists; without a host key, and without an address to keep that of an existing cluster
}

// StartOptions says how to start.
type StartOptions struct {
	Profile         string
	Wanted          Wanted
	DryRun          bool          // plan and do nothing
	Force           bool          // what the host lacks is no reason to refuse
	KeepContext     bool          // do not change kubectl's current context
	DeleteOnFailure bool          // take a failed creation back also where it could go on
	NoWait          bool          // do not wait until the cluster is usable
	NoSpare         bool          // do not take a warm spare
	WaitTimeout     time.Duration // limit of the waits; 0: none
	// Again, when not nil, gives Wanted once more when other commands are kept from the cluster: what it means can depend on
	// whether the cluster exists, and one that was waited for may have made it or deleted it.
	Again func() (Wanted, error)
}

// Started is what start has to say at its end.
type Started struct {
	Plan    Plan
	Config  config.Cluster
	Created bool // the cluster is new
}

// Start brings a cluster to where it is usable: it looks, plans and does what is missing. On a healthy cluster that is
// nothing. While another command has the cluster's lock it waits, and says so. What a failed or interrupted run had made is taken
// back, unless the next run can go on with it.
func (m *Manager) Start(ctx context.Context, o StartOptions, sink Sink) (Started, error) {
	if err := config.ValidateProfile(o.Profile); err != nil {
		return Started{}, err
	}
	if !o.DryRun {
		release, err := m.lockWaiting(ctx, o.Profile, o.WaitTimeout, sink)
		if err != nil {
			return Started{}, err
		}
		defer func() {
			if _, err := os.Lstat(m.Home.Cluster(o.Profile).Dir); errors.Is(err, fs.ErrNotExist) {
				_ = m.forgetLock(o.Profile) // it was refused, and there is nothing to lock
			}
			release()
		}()
		if o.Again != nil {
			if o.Wanted, err = o.Again(); err != nil {
				return Started{}, err
			}
		}
		m.sweepSpares(ctx, sink)
	}
	run, err := m.look(ctx, o, sink)
	if err != nil {
		return Started{}, err
	}
	if run.stored == nil && !o.NoSpare {
		found, release, err := m.reserve(ctx, run.config, o.DryRun, sink)
		if err != nil {
			return Started{}, err
		}
		defer release()
		if found != nil {
			if err := provision.CheckClock(o.Profile, m.Home.Spares().Cluster(found.name).PKI(), time.Now()); err != nil {
				return Started{}, err
			}
			run.useSpare(found)
		}
	}
	plan := run.plan()
	if o.DryRun {
		return Started{Plan: plan, Config: run.config, Created: run.stored == nil}, nil
	}
	err = Apply(ctx, plan, run.keep, sink)
	run.early.end()
	return Started{Plan: plan, Config: run.config, Created: run.stored == nil}, onward(err, o.Profile)
}

// look decides what the cluster is to be, and finds out what there is of it. What cannot be is refused here, before anything is made.
func (m *Manager) look(ctx context.Context, o StartOptions, sink Sink) (*start, error) {
	c, stored, err := m.settle(ctx, o)
	if err != nil {
		return nil, err
	}
	exists := stored != nil
	if err := kubeconfig.Check(m.Kubeconfig); err != nil {
		return nil, err
	}
	if err := m.checkClock(c, time.Now(), sink); err != nil {
		return nil, err
	}
	if err := m.free(o.Profile, exists); err != nil {
		return nil, err
	}
	if !exists && !o.DryRun {
		if err := m.inspect(ctx, &c); err != nil {
			return nil, err
		}
	}
	if exists && !o.DryRun {
		if err := m.mendKubeconfig(ctx, c); err != nil {
			return nil, err
		}
	}
	run := &start{Manager: m, options: o, config: c, stored: stored, files: m.Home.Cluster(o.Profile), sink: sink}
	if run.seen, err = m.observe(ctx, c, exists); err != nil {
		return nil, err
	}
	if run.seen.joined.IsValid() { // a start was cut off between making the machine and noting its address
		run.config.NetworkAddress = run.seen.joined
	}
	if run.seen.refuge.IsValid() {
		run.config.Address = run.seen.refuge
	}
	return run, nil
}

// checkClock refuses a clock that cannot be right, before anything is made with it and before the saved memory is touched, which it
// must not cost. One that is behind skiff's files is a warning: the clock may have been wrong when they were written.
func (m *Manager) checkClock(c config.Cluster, now time.Time, sink Sink) error {
	if why := host.ClockImpossible(now); why != "" {
		return fail.New(fail.ClockWrong, "start cluster "+c.Profile, "%s", strings.TrimSuffix(why, ".")).
			WithHint("Nothing was changed. Set the clock, and run the command again.").WithNext("%s", host.SetClock())
	}
	files := m.Home.Cluster(c.Profile)
	if c.Provisioned {
		if err := provision.CheckClock(c.Profile, files.PKI(), now); err != nil {
			return err
		}
	}
	dated := []string{filepath.Join(m.Built, images.ManifestName), files.File()}
	if c.Image != "" {
		dated = append(dated, filepath.Join(m.Home.BaseImage(c.Image), images.ManifestName))
	}
	if why := host.ClockBehind(now, dated); why != "" {
		emit(sink, Event{Profile: c.Profile, Text: strings.TrimSuffix(why, ".") + "; if it is wrong, " + host.SetClock() + " sets it"}, Warning)
	}
	return nil
}

// onward names the next command where an error of machine or agent names none: the next start takes what was left and goes on.
func onward(err error, profile string) error {
	known, ok := errors.AsType[*fail.Error](err)
	if ok && known.Next == "" && (known.ID == fail.MachineFailed || known.ID == fail.AgentFailed) {
		known.Next = "skiff start -p " + profile
	}
	return err
}

// settle decides what the cluster should be, from what is stored, what is wanted and the defaults; nothing is changed.
// stored is the cluster as it is, nil when there is none.
func (m *Manager) settle(ctx context.Context, o StartOptions) (c config.Cluster, stored *config.Cluster, err error) {
	c, err = m.Load(o.Profile)
	switch {
	case err == nil:
		old := c
		stored = &old
	case fail.Is(err, fail.ClusterNotFound):
		c = config.Cluster{Profile: o.Profile, Driver: "auto", CPUs: config.MinCPUs, MemoryMiB: config.DefaultMemoryMiB(m.Facts), DiskBytes: config.MinDiskBytes, CertExpiration: config.Duration(config.DefaultCertExpiration), Created: time.Now().UTC().Truncate(time.Second)}
	default:
		return c, nil, err
	}
	problems := []error{m.version(&c, o.Wanted)}
	set(&c.CPUs, o.Wanted.CPUs)
	set(&c.MemoryMiB, o.Wanted.MemoryMiB)
	set(&c.DiskBytes, o.Wanted.DiskBytes)
	set(&c.Driver, o.Wanted.Driver)
	set(&c.LibvirtURI, o.Wanted.LibvirtURI)
	set(&c.Network, o.Wanted.Network)
	set(&c.Offline, o.Wanted.Offline)
	set(&c.AutoPause, (*config.Duration)(o.Wanted.AutoPause))
	set(&c.HostAccess, o.Wanted.HostAccess)
	set(&c.InsecureRegistries, o.Wanted.InsecureRegistries)
	set(&c.CertExpiration, (*config.Duration)(o.Wanted.CertExpiration))
	c.APIServerNames = union(c.APIServerNames, o.Wanted.APIServerNames)
	c.APIServerIPs = union(c.APIServerIPs, o.Wanted.APIServerIPs)
	c.ExtraConfig = settings(stored, c.ExtraConfig, o.Wanted.ExtraConfig)
	c.FeatureGates = settings(stored, c.FeatureGates, o.Wanted.FeatureGates)
	c.Addons = union(c.Addons, o.Wanted.Addons)
	sized := c
	sized.SSH = cmp.Or(c.SSH, o.Wanted.SSH) // which is not of this host's memory and processors
	problems = append(problems, config.Validate(sized, m.Facts, o.Force))
	_, err = c.Settings()
	problems = append(problems, err)
	for _, name := range o.Wanted.Addons {
		_, err := addons.Find(name)
		problems = append(problems, fail.About(err, "addons"))
	}
	for _, ip := range o.Wanted.APIServerIPs {
		problems = append(problems, config.CheckAPIServerIP(ip))
	}
	driver, err := m.Drivers(c.Driver)
	err = fail.About(err, "driver")
	if err == nil {
		c.Driver = driver.Name()
		problems = append(problems, settleSSH(&c, o.Wanted.SSH, driver))
		problems = append(problems, sizeless(c, o.Wanted))
		err = immutable(stored, c)
	}
	if err == nil {
		driver, err = m.driver(c)
	}
	if err == nil {
		problems = append(problems, sleeps(c, driver), reachesHost(c, driver), grows(stored, c, driver))
		err = works(ctx, driver)
	}
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil || stored != nil {
		return c, stored, err
	}
	c.Image, err = m.newest(c)
	return c, nil, err
}

// version refuses any Kubernetes but the one at hand.
func (m *Manager) version(c *config.Cluster, w Wanted) error {
	if c.KubernetesVersion == "" {
		c.KubernetesVersion = bundled
	}
	at := c.KubernetesVersion
	if w.KubernetesVersion == nil {
		return nil
	}
	err := atHand(*w.KubernetesVersion, at, c.Profile)
	if err == nil || c.Image != "" { // the image of a cluster is what it is
		return err
	}
	manifest, missing := images.ReadManifest(m.Built)
	if fail.Is(missing, fail.StateNewer) {
		return missing
	}
	if missing != nil {
		return fail.New(fail.K8sVersionUnsupported, "start cluster "+c.Profile, "Kubernetes %q is not available, nor is any other version: %w", *w.KubernetesVersion, missing).
			WithHint("This version of skiff makes clusters of Kubernetes %s, once it has their guest image.", at).WithNext(images.Remake)
	}
	return atHand(*w.KubernetesVersion, manifest.KubernetesVersion, c.Profile)
}

// CheckVersion refuses a version of Kubernetes that a new cluster cannot have, with fail.K8sVersionUnsupported.
func CheckVersion(wanted string) error { return atHand(wanted, bundled, "") }

func atHand(wanted, at, profile string) error {
	if wanted == at || "v"+wanted == at || slices.Contains([]string{"stable", "latest", "v1.37", "1.37"}, wanted) {
		return nil
	}
	return fail.New(fail.K8sVersionUnsupported, "start cluster "+profile, "Kubernetes %q is not available; the available versions are: %s", wanted, at).
		WithNext("skiff start -p %s --kubernetes-version %s", profile, at).Retry("kubernetes-version", at)
}

// newest returns the digest of the guest image that new clusters get.
func (m *Manager) newest(c config.Cluster) (string, error) {
	manifest, err := images.ReadManifest(m.Built)
	if err != nil {
		return "", err
	}
	if manifest.KubernetesVersion != c.KubernetesVersion {
		return "", fail.New(fail.K8sVersionUnsupported, "start cluster "+c.Profile, "the guest image at %s holds Kubernetes %s, not %s", m.Built, manifest.KubernetesVersion, c.KubernetesVersion).WithNext(images.Remake)
	}
	return manifest.Digest, nil
}

// immutable refuses changes that an existing cluster cannot take.
func immutable(old *config.Cluster, new config.Cluster) error {
	if old == nil {
		return nil
	}
	refuse := func(flag string, from, to any) error {
		return unchangeable(old.Profile, flag, "--%s is %v and cannot become %v", flag, from, to)
	}
	var problems []error
	if old.Driver != new.Driver {
		problems = append(problems, refuse("driver", old.Driver, new.Driver))
	}
	if old.LibvirtURI != new.LibvirtURI {
		problems = append(problems, refuse("libvirt-uri", place(old.LibvirtURI), place(new.LibvirtURI)))
	}
	if old.Network != new.Network {
		problems = append(problems, refuse("network", cmp.Or(old.Network, "none"), cmp.Or(new.Network, "none")))
	}
	if new.DiskBytes < old.DiskBytes {
		problems = append(problems, unchangeable(old.Profile, "disk-size", "the disk has %s and cannot become smaller (%s): it grows only", gib(old.DiskBytes), gib(new.DiskBytes)))
	}
	if !old.Provisioned {
		return errors.Join(problems...)
	}
	for _, list := range []struct {
		flag     string
		old, new []string
	}{
		{"apiserver-names", old.APIServerNames, new.APIServerNames}, {"apiserver-ips", old.APIServerIPs, new.APIServerIPs},
		{"extra-config", old.ExtraConfig, new.ExtraConfig}, {"feature-gates", old.FeatureGates, new.FeatureGates},
	} {
		if !slices.Equal(list.old, list.new) {
			problems = append(problems, refuse(list.flag, shown(list.old), shown(list.new)))
		}
	}
	return errors.Join(problems...)
}

// unchangeable refuses a change that needs a new cluster. What to do next leaves the cluster as it is: nobody who only mistyped a
// flag wants to lose it.
func unchangeable(profile, flag, why string, args ...any) error {
	return fail.New(fail.SpecImmutable, "change cluster "+profile, why, args...).
		WithHint("Without --%s the cluster stays as it is. Another value needs another cluster: one of another profile, or a new one once `skiff delete -p %s` has removed this one and all that is in it.", flag, profile).
		WithNext("skiff start -p %s", profile).Retry(flag, "")
}

// shown is a list as a user may have written it.
func shown(list []string) string { return cmp.Or(strings.Join(list, ","), "none") }

// place names a URI that may be the driver's default.
func place(uri string) string { return cmp.Or(uri, "the default") }

func gib(bytes int64) string { return fmt.Sprintf("%dg", bytes>>30) }

// works refuses a driver that cannot make machines here.
func works(ctx context.Context, driver drivers.Driver) error {
	for _, finding := range driver.Check(ctx) {
		if finding.Level == drivers.Failure {
			problem := fail.New(cmp.Or(finding.ID, fail.DriverUnhealthy), "use driver "+driver.Name(), "%s", finding.Text).WithNext("%s", finding.Remedy)
			if finding.Remedy == "" && problem.ID == fail.DriverUnhealthy {
				return problem.WithHint("That cannot be fixed here; use another driver.").WithNext("skiff drivers")
			}
			return problem
		}
	}
	return nil
}

func set[T any](field *T, wanted *T) {
	if wanted != nil {
		*field = *wanted
	}
}

// settings are those of components: of a cluster that has not come up yet, whoever names some corrects them.
func settings(stored *config.Cluster, have, wanted []string) []string {
	if stored != nil && !stored.Provisioned && len(wanted) > 0 {
		return wanted
	}
	return union(have, wanted)
}

// union returns both without repetitions, in order of first appearance.
func union(have, more []string) []string {
	for _, one := range more {
		if !slices.Contains(have, one) {
			have = append(slices.Clip(have), one)
		}
	}
	return have
}

// start is one run of Start.
type start struct {
	*Manager
	options StartOptions
	config  config.Cluster
	stored  *config.Cluster // nil: the cluster is new
	seen    observed
	files   store.Cluster
	vm      machine.Machine
	sink    Sink
	resumed bool     // the machine goes on from its saved memory
	heard   *console // what it says since then; nil when it was asked over SSH instead
	early   *early   // its addons; nil unless resumed
	spare   *kept    // that becomes the cluster; nil: none does, or it turned out to be of no use
}

// target returns what Kubernetes is to know of a cluster that starts.
func (s *start) target(c config.Cluster) Target {
	target := s.Manager.target(c)
	target.Warn = func(text string) { s.warn("kubernetes", "%s", text) }
	target.Stalled = stalls(s.config.Profile, "kubernetes", s.sink)
	return target
}

// stalls makes events of what waits without progress say.
func stalls(profile, step string, sink Sink) func(string) {
	return func(text string) { emit(sink, Event{Profile: profile, Step: step, Text: text}, Waiting) }
}

// keep says after which errors a run leaves what it made, so that the next run goes on: those where the cluster is up and only
// needs more time, its node waits for a repair, an addon does not come, its disk is full, or the machine or its hypervisor is out of reach. Ctrl-C and --delete-on-failure take
// back always.
func (s *start) keep(err error) bool {
	if s.options.DeleteOnFailure || fail.Is(err, fail.Interrupted) {
		return false
	}
	return slices.ContainsFunc([]fail.ID{fail.WaitTimeout, fail.NodeFailed, fail.AddonFailed, fail.GuestDiskFull, fail.SSHUnreachable, fail.LibvirtLost}, func(id fail.ID) bool {
		return fail.Is(err, id)
	})
}
