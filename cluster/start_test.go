package cluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
	"github.com/skiff-k8s/skiff/tuning"
)

// world is a Manager with stand-ins, and what tests do to it.
type world struct {
	*cluster.Manager
	t      *testing.T
	driver fake.Options

	mu     sync.Mutex
	events []cluster.Event
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	built := filepath.Join(dir, "image")
	if err := clustertest.Image(t.Context(), built); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	w.Manager = &cluster.Manager{
		Home: store.Home{
			Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state"), Cache: filepath.Join(dir, "cache"), Run: filepath.Join(dir, "run"),
		},
		Agents: clustertest.Agents{}, Kubernetes: clustertest.Kubernetes{},
		Facts:   host.Facts{CPUs: 8, MemoryMiB: 16384},
		Version: "v1.2.3", Command: "skiff test", Kubeconfig: filepath.Join(dir, "kubeconfig"), Built: built,
	}
	w.Drivers = func(string) (drivers.Driver, error) { return fake.New(w.driver), nil }
	return w
}

func (w *world) sink(e cluster.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// breaks makes things go wrong from now on; none mends everything.
func (w *world) breaks(faults ...clustertest.Fault) {
	w.Agents, w.Kubernetes = clustertest.Agents{Faults: faults}, clustertest.Kubernetes{Faults: faults}
}

func (w *world) options() cluster.StartOptions { return cluster.StartOptions{Profile: "dev"} }

// starts starts, and expects it to work.
func (w *world) starts(o cluster.StartOptions) cluster.Started {
	w.t.Helper()
	started, err := w.Start(w.t.Context(), o, w.sink)
	if err != nil {
		w.t.Fatalf("start: %v", err)
	}
	return started
}

// fails starts, and expects an error with that ID; one of machine or agent must name the command that goes on.
func (w *world) fails(o cluster.StartOptions, id fail.ID) {
	w.t.Helper()
	_, err := w.Start(w.t.Context(), o, w.sink)
	if !fail.Is(err, id) {
		w.t.Fatalf("start: got error %v, want %s", err, id)
	}
	if known, ok := errors.AsType[*fail.Error](err); (id == fail.MachineFailed || id == fail.AgentFailed) && (!ok || known.Next == "") {
		w.t.Errorf("start: %v names no command to run next", err)
	}
}

// status is the state in four words.
func (w *world) status() string {
	w.t.Helper()
	status, err := w.Status(w.t.Context(), "dev")
	if err != nil {
		w.t.Fatalf("status: %v", err)
	}
	return strings.Join([]string{status.Host, status.Kubelet, status.APIServer, status.Kubeconfig}, " ")
}

const (
	allWell = "Running Running Running Configured"
	absent  = "Nonexistent Nonexistent Nonexistent Nonexistent"
)

func TestPlans(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		before  func(w *world)
		options func(o *cluster.StartOptions)
	}{
		{name: "new"},
		{name: "new-with-addon", options: func(o *cluster.StartOptions) { o.Wanted.Addons = []string{"ingress"} }},
		{name: "new-keep-context-no-wait", options: func(o *cluster.StartOptions) { o.NoWait = true }},
		{name: "second", before: func(w *world) {
			o := w.options()
			o.Profile = "other"
			w.starts(o)
		}},
		{name: "spare", before: func(w *world) { w.builds() }, options: func(o *cluster.StartOptions) { o.Wanted.Addons = []string{"ingress"} }},
		{name: "spare-not-wanted", before: func(w *world) { w.builds() }, options: func(o *cluster.StartOptions) { o.NoSpare = true }},
		{name: "spare-of-another-size", before: func(w *world) { w.builds() }, options: func(o *cluster.StartOptions) { o.Wanted.CPUs = new(4) }},
		{name: "running", before: func(w *world) { w.starts(w.options()) }},
		{name: "running-with-addon", before: func(w *world) { w.starts(w.options()) }, options: func(o *cluster.StartOptions) { o.Wanted.Addons = []string{"ingress"} }},
		{name: "stopped", before: func(w *world) {
			w.starts(w.options())
			w.stops()
		}},
		{name: "powered-off", before: func(w *world) {
			w.starts(w.options())
			w.powersOff()
		}},
		{name: "paused", before: func(w *world) {
			w.starts(w.options())
			w.pauses()
		}},
		{name: "paused-agent-dead", before: func(w *world) {
			w.starts(w.options())
			w.pauses()
			w.killAgent()
		}},
		{name: "asleep", before: func(w *world) {
			w.sleeps()
		}},
		{name: "paused-with-auto-pause", before: func(w *world) { // by hand, so that its agent has let it go
			w.starts(w.pausing(30 * time.Minute))
			w.pauses()
		}},
		{name: "running-auto-pause", before: func(w *world) { w.starts(w.options()) }, options: func(o *cluster.StartOptions) { o.Wanted.AutoPause = new(90 * time.Minute) }},
		{name: "running-auto-pause-off", before: func(w *world) { w.starts(w.pausing(time.Hour)) }, options: func(o *cluster.StartOptions) { o.Wanted.AutoPause = new(time.Duration(0)) }},
		{name: "running-host-access", before: func(w *world) { w.starts(w.options()) }, options: func(o *cluster.StartOptions) { o.Wanted.HostAccess = &config.HostAccess{Ports: []uint16{5432, 8080}} }},
		{name: "running-host-access-off", before: func(w *world) { w.starts(w.letting(config.HostAccess{All: true})) }, options: func(o *cluster.StartOptions) { o.Wanted.HostAccess = &config.HostAccess{} }},
		{name: "running-insecure-registry", before: func(w *world) {
			o := w.options()
			o.Wanted.InsecureRegistries = &[]string{"old.lan"}
			w.starts(o)
		}, options: func(o *cluster.StartOptions) {
			o.Wanted.InsecureRegistries = &[]string{"registry.lan:5000", "10.1.0.0/16"}
		}},
		{name: "agent-dead-plain", before: func(w *world) {
			w.driver.Plain = true
			w.starts(w.options())
			w.killAgent()
		}},
		{name: "agent-dead", before: func(w *world) {
			w.starts(w.options())
			w.killAgent()
		}},
		{name: "machine-dead", before: func(w *world) {
			w.starts(w.options())
			w.killMachine()
		}},
		{name: "resized-running", before: func(w *world) { w.starts(w.options()) }, options: func(o *cluster.StartOptions) { o.Wanted.MemoryMiB = new(3000) }},
		{name: "resized-stopped", before: func(w *world) {
			w.starts(w.options())
			w.stops()
		}, options: func(o *cluster.StartOptions) { o.Wanted.CPUs = new(4) }},
		{name: "new-large-disk", options: func(o *cluster.StartOptions) { o.Wanted.DiskBytes = new(int64(60 << 30)) }},
		{name: "larger-disk-running", before: func(w *world) { w.starts(w.options()) }, options: func(o *cluster.StartOptions) { o.Wanted.DiskBytes = new(int64(60 << 30)) }},
		{name: "larger-disk-stopped", before: func(w *world) {
			w.starts(w.options())
			w.stops()
		}, options: func(o *cluster.StartOptions) { o.Wanted.DiskBytes = new(int64(60 << 30)) }},
		{name: "larger-disk-powered-off", before: func(w *world) {
			w.starts(w.options())
			w.powersOff()
		}, options: func(o *cluster.StartOptions) { o.Wanted.DiskBytes = new(int64(60 << 30)) }},
		{name: "kubeconfig-lost", before: func(w *world) {
			w.starts(w.options())
			w.must(os.Remove(w.Kubeconfig))
		}},
		{name: "after-failure", before: func(w *world) {
			w.driver = failing(fake.Create)
			w.fails(w.options(), fail.MachineFailed)
			w.driver = fake.Options{}
		}},
		{name: "machine-lost", before: func(w *world) {
			w.starts(w.options())
			w.stops()
			w.must(os.RemoveAll(w.Home.Cluster("dev").Node("skiff").Dir))
		}},
		{name: "services-unwatched", before: func(w *world) { // as after the end of a start between two steps
			w.starts(w.options())
			w.killAgent()
			files := w.Home.Cluster("dev")
			c, err := agent.Load(files.AgentConfig())
			w.must(err)
			w.must(w.Agents.Start(w.t.Context(), files.AgentConfig(), c))
		}},
		{name: "kubernetes-down", before: func(w *world) {
			w.starts(w.options())
			w.breaks(clustertest.Fault{Point: "kubernetes.usable", How: "WAIT_TIMEOUT"})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.before != nil {
				test.before(w)
			}
			o := w.options()
			o.DryRun = true
			if test.options != nil {
				test.options(&o)
			}
			started := w.starts(o)
			text := started.Plan.String()
			if started.Config.Address.IsValid() { // which one is free depends on the host
				text = strings.ReplaceAll(text, started.Config.Address.String(), "ADDRESS")
			}
			text = spareName.ReplaceAllString(text, "SPARE")
			golden.Compare(t, filepath.Join("testdata", "plans", test.name+".golden"), []byte(text))
			if test.before == nil && w.status() != absent {
				t.Errorf("after a dry run: got %q, want %q", w.status(), absent)
			}
		})
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stops() {
	w.t.Helper()
	stopped, err := w.Stop(w.t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink)
	if err != nil || !stopped.Changed {
		w.t.Fatalf("stop: got %v and error %v, want true", stopped, err)
	}
}

func (w *world) powersOff() {
	w.t.Helper()
	stopped, err := w.Stop(w.t.Context(), cluster.StopOptions{Profile: "dev", Shutdown: true}, w.sink)
	if err != nil || !stopped.Changed || stopped.Suspended {
		w.t.Fatalf("stop: got %+v and error %v, want it powered off", stopped, err)
	}
}

func (w *world) pauses() {
	w.t.Helper()
	if paused, err := w.Pause(w.t.Context(), "dev", w.sink); err != nil || !paused {
		w.t.Fatalf("pause: got %v and error %v, want true", paused, err)
	}
}

func (w *world) killAgent() { w.must(os.Remove(w.Home.Cluster("dev").AgentSocket())) }

func (w *world) killMachine() { w.must(w.vm().Stop(w.t.Context())) }

// vm is the cluster's machine, past all that is told to go wrong.
func (w *world) vm() machine.Machine {
	return fake.New(fake.Options{}).Machine(machine.Spec{Name: "skiff", Dir: w.Home.Cluster("dev").Node("skiff").Dir})
}

func TestStartRecovers(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(*world){
		"nothing":        func(*world) {},
		"agent":          (*world).killAgent,
		"machine":        (*world).killMachine,
		"both":           func(w *world) { w.killAgent(); w.killMachine() },
		"kubeconfig":     func(w *world) { w.must(os.Remove(w.Kubeconfig)) },
		"run folder":     func(w *world) { w.killMachine(); w.must(os.RemoveAll(w.Home.Run)) }, // as after a reboot of the host
		"stop":           (*world).stops,
		"power off":      (*world).powersOff,
		"pause":          (*world).pauses,
		"machine's disk": func(w *world) { w.must(os.RemoveAll(w.Home.Cluster("dev").Node("skiff").Dir)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.starts(w.options()).Config
			disturb(w)
			after := w.starts(w.options()).Config
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
			if before.Address != after.Address || !before.Created.Equal(after.Created) {
				t.Errorf("the cluster changed: got %+v, before %+v", after, before)
			}
		})
	}
}

func TestFailedStart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []clustertest.Fault
		driver fake.Options
		change func(*cluster.StartOptions)
		id     fail.ID
		stays  bool
	}{
		{name: "create", driver: failing(fake.Create), id: fail.MachineFailed},
		{name: "agent", faults: []clustertest.Fault{{Point: "agents.start", How: "PORT_IN_USE"}}, id: fail.PortInUse},
		{name: "boot", driver: failing(fake.Start), id: fail.MachineFailed},
		{name: "answer", driver: failing(fake.Wait), id: fail.BootTimeout},
		{name: "full", faults: []clustertest.Fault{{Point: "kubernetes.prepare", How: "full"}}, id: fail.HostDiskFull},
		{name: "kubeadm", faults: []clustertest.Fault{{Point: "kubernetes.up", How: "KUBEADM_FAILED"}}, id: fail.KubeadmFailed},
		{name: "services", faults: []clustertest.Fault{{Point: "agents.watch", How: "AGENT_FAILED"}}, id: fail.AgentFailed},
		{name: "wait stays", faults: []clustertest.Fault{{Point: "kubernetes.wait", How: "WAIT_TIMEOUT"}}, id: fail.WaitTimeout, stays: true},
		{
			name: "wait, delete on failure", faults: []clustertest.Fault{{Point: "kubernetes.wait", How: "WAIT_TIMEOUT"}}, id: fail.WaitTimeout,
			change: func(o *cluster.StartOptions) { o.DeleteOnFailure = true },
		},
		{
			name: "addon stays", faults: []clustertest.Fault{{Point: "kubernetes.enable", How: "ADDON_FAILED"}}, id: fail.AddonFailed, stays: true,
			change: func(o *cluster.StartOptions) { o.Wanted.Addons = []string{"ingress"} },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.options()
			if test.change != nil {
				test.change(&o)
			}
			w.breaks(test.faults...)
			w.driver = test.driver
			w.fails(o, test.id)
			w.driver = fake.Options{}
			if got := w.status(); (got != absent) != test.stays {
				t.Errorf("status after the failure: got %q, want the cluster to stay: %v", got, test.stays)
			}
			if test.stays {
				w.breaks()
			} else if entries, err := os.ReadDir(w.Home.Cluster("dev").Dir); err == nil {
				for _, entry := range entries {
					if entry.Name() != "logs" {
						t.Errorf("%s is left", entry.Name())
					}
				}
			}
			w.breaks()
			w.starts(o)
			if got := w.status(); got != allWell {
				t.Errorf("status after a second start: got %q, want %q", got, allWell)
			}
		})
	}
}

func failing(op fake.Op) fake.Options {
	return fake.Options{Failures: map[fake.Op]fake.Failure{op: {Error: "told to"}}}
}

// TestInterruptedStoppedCluster: a start that ends early must not take an existing cluster away.
func TestInterruptedStoppedCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.powersOff()
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := w.Start(ctx, w.options(), func(e cluster.Event) {
		if e.Kind == cluster.Ended && e.Step == "boot" {
			cancel(errors.New("told to"))
		}
	})
	if !fail.Is(err, fail.Interrupted) || !strings.Contains(err.Error(), "told to") {
		t.Errorf("start: got error %v, want %s with its cause", err, fail.Interrupted)
	}
	if got := w.status(); got != "Stopped Stopped Stopped Configured" {
		t.Errorf("status: got %q, want a stopped cluster", got)
	}
	w.starts(w.options())
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*cluster.StartOptions)
		id     fail.ID
	}{
		{"profile", func(o *cluster.StartOptions) { o.Profile = "../x" }, fail.ProfileInvalid},
		{"memory", func(o *cluster.StartOptions) { o.Wanted.MemoryMiB = new(64) }, fail.MemoryTooSmall},
		{"host's memory", func(o *cluster.StartOptions) { o.Wanted.MemoryMiB = new(1 << 20) }, fail.HostMemoryLow},
		{"cpus", func(o *cluster.StartOptions) { o.Wanted.CPUs = new(1) }, fail.CPUsTooFew},
		{"host's cpus", func(o *cluster.StartOptions) { o.Wanted.CPUs = new(9) }, fail.HostCPUsLow},
		{"version", func(o *cluster.StartOptions) { o.Wanted.KubernetesVersion = new("v1.2.3") }, fail.K8sVersionUnsupported},
		{"addon", func(o *cluster.StartOptions) { o.Wanted.Addons = []string{"nothing"} }, fail.AddonNotFound},
		{"setting", func(o *cluster.StartOptions) { o.Wanted.ExtraConfig = []string{"nothing.x=1"} }, fail.FlagInvalid},
		{"gate", func(o *cluster.StartOptions) { o.Wanted.FeatureGates = []string{"A"} }, fail.FlagInvalid},
		{"ip", func(o *cluster.StartOptions) { o.Wanted.APIServerIPs = []string{"x"} }, fail.FlagInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.options()
			test.change(&o)
			w.fails(o, test.id)
			if entries, err := os.ReadDir(w.Home.Clusters()); err == nil && slices.ContainsFunc(entries, os.DirEntry.IsDir) {
				t.Errorf("a refused start left %v", entries)
			}
		})
	}
}

func TestImmutable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.Wanted.DiskBytes = new(int64(config.MinDiskBytes * 2))
	w.starts(o)
	for name, wanted := range map[string]cluster.Wanted{
		"disk":  {DiskBytes: new(int64(config.MinDiskBytes))},
		"names": {APIServerNames: []string{"x.test"}},
		"extra": {ExtraConfig: []string{"apiserver.v=4"}},
		"gates": {FeatureGates: []string{"A=true"}},
	} {
		o := w.options()
		o.Wanted = wanted
		_, err := w.Start(t.Context(), o, w.sink)
		if !fail.Is(err, fail.SpecImmutable) {
			t.Errorf("%s: got error %v, want %s", name, err, fail.SpecImmutable)
		}
	}
	w.driver.Name = "another"
	w.fails(cluster.StartOptions{Profile: "dev", Wanted: cluster.Wanted{Driver: new("another")}}, fail.SpecImmutable)
}

// configurable is a fake driver that takes settings.
type configurable struct {
	*fake.Driver
	settings *drivers.Settings // the last that it was given
}

func (c configurable) With(settings drivers.Settings) (drivers.Driver, error) {
	*c.settings = settings
	if settings.LibvirtURI == "bad" {
		return nil, fail.New(fail.LibvirtURIInvalid, "use it", "it is bad")
	}
	return c.Driver, nil
}

func TestDriverSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wanting := func(uri string) cluster.StartOptions {
		return cluster.StartOptions{Profile: "dev", Wanted: cluster.Wanted{LibvirtURI: &uri}}
	}
	w.fails(wanting("here"), fail.FlagInvalid) // the fake has no settings
	var given drivers.Settings
	w.Drivers = func(string) (drivers.Driver, error) { return configurable{fake.New(w.driver), &given}, nil }
	w.fails(wanting("bad"), fail.LibvirtURIInvalid)
	started := w.starts(wanting("here"))
	if started.Config.LibvirtURI != "here" || given.LibvirtURI != "here" {
		t.Errorf("got %q in the cluster's file and %q in the driver, want here", started.Config.LibvirtURI, given.LibvirtURI)
	}
	given = drivers.Settings{}
	w.starts(w.options())
	if given.LibvirtURI != "here" {
		t.Errorf("without the flag the driver was given %+v, want what is stored", given)
	}
	w.fails(wanting("there"), fail.SpecImmutable)
	w.driver.Name = "another"
	w.fails(cluster.StartOptions{Profile: "dev", Wanted: cluster.Wanted{Driver: new("another")}}, fail.SpecImmutable)
}

func TestFindingWithAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver.Findings = []drivers.Finding{{Name: "libvirt", Level: drivers.Failure, Text: "It refuses.", Remedy: "ask it", ID: fail.LibvirtNoAccess}}
	w.fails(w.options(), fail.LibvirtNoAccess)
}

// What the driver knows a remedy for is not hidden behind a general word.
func TestStateWithAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.driver.Failures = map[fake.Op]fake.Failure{fake.State: {ID: fail.DomainForeign}}
	w.fails(w.options(), fail.DomainForeign)
}

func TestLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	release, err := store.TryLock(w.Home.Cluster("dev").Lock(), store.Holder{Command: "skiff other", PID: 7})
	w.must(err)
	defer release()
	for name, do := range map[string]func() error{
		"start": func() error {
			o := w.options()
			o.WaitTimeout = time.Millisecond
			_, err := w.Start(t.Context(), o, nil)
			return err
		},
		"stop": func() error { _, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, nil); return err },
		"delete": func() error {
			_, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev", Force: true}, nil)
			return err
		},
		"enable": func() error { return w.EnableAddon(t.Context(), "dev", "ingress", nil) },
	} {
		if err := do(); !fail.Is(err, fail.ClusterLocked) || !strings.Contains(err.Error(), `"skiff other" (process 7`) {
			t.Errorf("%s: got error %v, want %s with the holder", name, err, fail.ClusterLocked)
		}
	}
	if got := w.status(); got != allWell {
		t.Errorf("status of a locked cluster: got %q, want %q", got, allWell)
	}
}

// TestKubernetesIsTuned: what Kubernetes is given follows what the driver says of this host.
func TestKubernetesIsTuned(t *testing.T) {
	t.Parallel()
	for accelerator, want := range map[string]tuning.Plan{"tcg": tuning.Emulation(), "kvm": tuning.Hardware(), "hvf": tuning.Hardware(), "": tuning.Hardware()} {
		w := newWorld(t)
		w.driver.Accelerator = accelerator
		w.starts(w.options())
		state, err := os.ReadFile(filepath.Join(w.Home.Cluster("dev").Dir, "fake-kubernetes.json"))
		if err != nil || !strings.Contains(string(state), `"tuning":"`+want.Name+`"`) {
			t.Errorf("accelerator %q: got %s and error %v, want tuning for %s", accelerator, state, err, want.Name)
		}
	}
}

func TestSpeedIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver.Note = "there is no hardware virtualisation, so it is slow"
	w.driver.Words = "no entry"
	w.starts(w.options())
	warned := slices.ContainsFunc(w.events, func(e cluster.Event) bool { return e.Kind == cluster.Warning && e.Text == w.driver.Note })
	if !warned {
		t.Errorf("events: got %v, want a warning %q", w.events, w.driver.Note)
	}
	detail := slices.ContainsFunc(w.events, func(e cluster.Event) bool { return e.Kind == cluster.Progress && e.Text == w.driver.Words })
	if !detail {
		t.Errorf("events: got %v, want the detail %q, which -v shows", w.events, w.driver.Words)
	}
}
