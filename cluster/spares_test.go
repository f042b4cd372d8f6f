package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/cluster/spare"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// spareName is the name of any spare.
var spareName = regexp.MustCompile(`spare-[0-9a-f]{8}`)

// builds builds a spare, and returns its name.
func (w *world) builds(addons ...string) string {
	w.t.Helper()
	built, err := w.BuildSpare(w.t.Context(), cluster.SpareOptions{Wanted: cluster.Wanted{Addons: addons}}, w.sink)
	if err != nil || !built.Built || !spareName.MatchString(built.Name) {
		w.t.Fatalf("build a spare: got %+v and error %v, want one", built, err)
	}
	return built.Name
}

// states are all spares with their states, by their names.
func (w *world) states() map[string]string {
	w.t.Helper()
	list, err := w.Spares(w.t.Context())
	w.must(err)
	states := map[string]string{}
	for _, one := range list {
		states[one.Name] = one.State
	}
	return states
}

// noSpares expects that nothing of any spare is left, whether the list knows it or not.
func (w *world) noSpares() {
	w.t.Helper()
	for _, dir := range []string{w.Home.Spares().Clusters(), w.Home.SpareRuns()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
		for _, entry := range entries {
			w.t.Errorf("%s is left of a spare", filepath.Join(dir, entry.Name()))
		}
	}
}

// addresses are those of all clusters and spares.
func (w *world) addresses() []netip.Addr {
	w.t.Helper()
	var all []netip.Addr
	for _, home := range w.Home.Both() {
		profiles, err := home.Profiles()
		w.must(err)
		for _, profile := range profiles {
			content, err := os.ReadFile(home.Cluster(profile).File())
			w.must(err)
			c, err := config.Parse(content)
			w.must(err)
			all = append(all, c.Address)
		}
	}
	return all
}

func TestSpareTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.builds()
	if steps, warnings := w.did(); steps != "image create agent boot kubernetes wait suspend" || warnings != "" {
		t.Errorf("the build took the steps %q and warned %q", steps, warnings)
	}
	list, err := w.Spares(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != name || list[0].State != cluster.SpareReady || list[0].Size == 0 || list[0].MemoryMiB != 4096 {
		t.Fatalf("the list: got %+v and error %v, want one that is ready", list, err)
	}
	if got := w.status(); got != absent {
		t.Errorf("a spare counts as a cluster: %q", got)
	}
	if all, err := w.List(t.Context(), true); err != nil || len(all) != 0 {
		t.Errorf("clusters: got %+v and error %v, want none", all, err)
	}
	if _, err := os.Stat(w.Kubeconfig); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the build touched the user's kubeconfig: %v", err)
	}
	before := w.spareMachine(name)
	kubeadm := count(t, before, "kubeadm")

	started := w.starts(w.options())
	if steps, warnings := w.did(); steps != "spare agent resume services kubeconfig wait" || warnings != "" {
		t.Errorf("start took the steps %q and warned %q", steps, warnings)
	}
	if !started.Created || started.Config.Profile != "dev" || started.Config.Address != list[0].Address || !started.Config.Provisioned {
		t.Errorf("start gave %+v, want cluster dev at %s", started, list[0].Address)
	}
	if got := w.status(); got != allWell {
		t.Errorf("status: got %q, want %q", got, allWell)
	}
	if after := w.commands("kubeadm"); after != kubeadm || w.commands("wake") != 1 {
		t.Errorf("the guest ran kubeadm %d times and was woken %d times, want %d and 1", after, w.commands("wake"), kubeadm)
	}
	w.noSpares()
	w.nameless(name)
	// It is a cluster like any other.
	w.stops()
	w.suspended(true)
	w.starts(w.options())
	if deleted, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink); err != nil || !deleted {
		t.Errorf("delete: got %v and error %v, want true", deleted, err)
	}
	if got := w.status(); got != absent {
		t.Errorf("status: got %q, want %q", got, absent)
	}
}

// nameless expects the name of the spare nowhere in the cluster that it became, but in logs of what was.
func (w *world) nameless(name string) {
	w.t.Helper()
	files := w.Home.Cluster("dev")
	w.must(filepath.WalkDir(files.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".log" {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(name)) {
			w.t.Errorf("%s has the name of the spare in it", path)
		}
		return err
	}))
	content, err := os.ReadFile(w.Kubeconfig)
	if err != nil || bytes.Contains(content, []byte(name)) {
		w.t.Errorf("the user's kubeconfig has the name of the spare in it (%v):\n%s", err, content)
	}
}

// spareMachine is the machine of a spare, past all that is told to go wrong.
func (w *world) spareMachine(name string) *fake.Machine {
	dir := w.Home.Spares().Cluster(name).Node("skiff").Dir
	return fake.New(fake.Options{}).Machine(machine.Spec{Name: "skiff", Dir: dir}).(*fake.Machine)
}

// count returns how often a command was run on a machine.
func count(t *testing.T, m *fake.Machine, name string) int {
	t.Helper()
	commands, err := m.Runner().Commands()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, args := range commands {
		if args[0] == name {
			n++
		}
	}
	return n
}

// TestSpareOnce: a spare that is there is not made again, and serves one start alone.
func TestSpareOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.builds()
	again, err := w.BuildSpare(t.Context(), cluster.SpareOptions{}, w.sink)
	if err != nil || again.Built || again.Name != name {
		t.Errorf("a second build: got %+v and error %v, want spare %s", again, err, name)
	}
	other, err := w.BuildSpare(t.Context(), cluster.SpareOptions{Wanted: cluster.Wanted{CPUs: new(4)}}, w.sink)
	if err != nil || !other.Built {
		t.Errorf("a build of another size: got %+v and error %v, want one more", other, err)
	}
	w.starts(w.options())
	w.did()
	o := w.options()
	o.Profile = "second"
	w.starts(o)
	if steps, _ := w.did(); !strings.HasPrefix(steps, "create ") {
		t.Errorf("the second start took the steps %q, want one that creates", steps)
	}
	if states := w.states(); len(states) != 1 || states[other.Name] != cluster.SpareReady {
		t.Errorf("the spares are %v, want %s alone", states, other.Name)
	}
	all := w.addresses()
	slices.SortFunc(all, netip.Addr.Compare)
	if len(all) != 3 || len(slices.Compact(all)) != 3 {
		t.Errorf("two clusters and a spare have the addresses %v", all)
	}
}

// TestSpareAddons: what the spare lacks is enabled afterwards; of several spares the one with the most is taken.
func TestSpareAddons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with, without := w.builds("ingress"), w.builds()
	w.starts(w.options())
	if states := w.states(); states[with] != cluster.SpareReady || states[without] != "" {
		t.Errorf("the spares are %v, want %s taken, which has no addon too many", states, without)
	}
	without = w.builds()
	w.did()
	o := w.options()
	o.Profile, o.Wanted.Addons = "second", []string{"ingress"}
	started := w.starts(o)
	if steps, _ := w.did(); steps != "spare agent resume services kubeconfig wait addon-ingress" {
		t.Errorf("start took the steps %q", steps)
	}
	if states := w.states(); states[without] != cluster.SpareReady || states[with] != "" {
		t.Errorf("the spares are %v, want %s taken", states, with)
	}
	if !slices.Equal(started.Config.Addons, []string{"ingress"}) {
		t.Errorf("the cluster has the addons %v", started.Config.Addons)
	}
}

// liveKeys is a Kubernetes with real keys.
type liveKeys struct{ clustertest.Kubernetes }

func (liveKeys) Prepare(ctx context.Context, c cluster.Target) error {
	return cluster.LiveKubernetes{}.Prepare(ctx, c)
}

// TestSparesShareNothing: no two clusters have a key in common, also when both were spares; and what a spare's keys are for
// is right for the cluster that it becomes.
func TestSparesShareNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Kubernetes = liveKeys{}
	owner := map[string]string{} // by content
	for _, profile := range []string{"one", "two"} {
		name := w.builds()
		spareFiles := w.Home.Spares().Cluster(name)
		certificate, err := os.ReadFile(filepath.Join(spareFiles.PKI(), "apiserver.crt"))
		w.must(err)
		o := w.options()
		o.Profile = profile
		w.starts(o)
		files := w.Home.Cluster(profile)
		if now, err := os.ReadFile(filepath.Join(files.PKI(), "apiserver.crt")); err != nil || !bytes.Equal(now, certificate) {
			t.Errorf("the API server's certificate of %s is another than in its memory (%v)", profile, err)
		}
		secrets := 0
		w.must(filepath.WalkDir(files.Dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if !bytes.Contains(content, []byte("PRIVATE KEY")) && !bytes.Contains(content, []byte("BEGIN CERTIFICATE")) && !strings.Contains(path, "kubeconfig") {
				return err
			}
			secrets++
			if other, shared := owner[string(content)]; shared {
				t.Errorf("%s has the same content as %s", path, other)
			}
			owner[string(content)] = path
			return err
		}))
		if secrets < 20 {
			t.Errorf("only %d keys and certificates of %s were compared", secrets, profile)
		}
		own, err := os.ReadFile(files.Kubeconfig())
		w.must(err)
		if !bytes.Contains(own, []byte("name: "+profile)) || !bytes.Contains(own, []byte(w.mustLoad(profile).Address.String())) {
			t.Errorf("the kubeconfig of %s is of another cluster:\n%s", profile, own)
		}
	}
}

func (w *world) mustLoad(profile string) config.Cluster {
	w.t.Helper()
	c, err := w.Load(profile)
	w.must(err)
	return c
}

// TestSpareStale: a spare that is not what it was made for any more is removed, and not taken.
func TestSpareStale(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age  func(*world, store.Cluster)
		want string // what is said
	}{
		"another skiff": {func(w *world, _ store.Cluster) { w.Version = "v1.2.4" }, "skiff is v1.2.4 and was v1.2.3"},
		"another image": {func(w *world, _ store.Cluster) { w.otherImage() }, "newer guest image"},
		"age": {func(w *world, files store.Cluster) {
			old, err := spare.Note{Skiff: w.Version, Created: time.Now().AddDate(0, 0, -8)}.Marshal()
			w.must(err)
			w.must(store.Write(files.Spare(), old, 0o600))
		}, "older than 7 days"},
		"note cut short": {func(w *world, files store.Cluster) { w.must(os.Truncate(files.Spare(), 3)) }, "unexpected end"},
		"half made":      {func(w *world, files store.Cluster) { w.must(os.Remove(files.Spare())) }, "half made"},
		"of another folder": {func(w *world, files store.Cluster) {
			w.must(errors.Join(os.Rename(files.Dir, files.Dir+"0"), os.Rename(files.Lock(), files.Dir+"0.lock")))
		}, "it describes cluster"},
		"file lost": {func(w *world, files store.Cluster) { w.must(os.Remove(files.File())) }, "there is no cluster"},
		"QEMU": {func(w *world, _ store.Cluster) {
			w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Fits: {Error: "QEMU is newer", ID: fail.SnapshotMismatch}}}
		}, "cannot be used (fits machine \"skiff\": QEMU is newer), and is removed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			spareName := w.builds()
			test.age(w, w.Home.Spares().Cluster(spareName))
			for name, state := range w.states() {
				if state == cluster.SpareReady {
					t.Errorf("spare %s is listed as %s", name, state)
				}
			}
			w.did()
			w.starts(w.options())
			said := w.said()
			if !strings.Contains(said, test.want) {
				t.Errorf("start said %q, want %q in it", said, test.want)
			}
			if steps, _ := w.did(); strings.Contains(steps, "spare") || !strings.Contains(steps, "boot") {
				t.Errorf("start took the steps %q, want a cold start", steps)
			}
			w.noSpares()
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
		})
	}
}

// said is all that was said beside steps.
func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var said []string
	for _, e := range w.events {
		if e.Kind == cluster.Info || e.Kind == cluster.Warning {
			said = append(said, e.Text)
		}
	}
	return strings.Join(said, "\n")
}

// otherImage makes the guest image another one.
func (w *world) otherImage() {
	w.t.Helper()
	manifest, err := images.ReadManifest(w.Built)
	w.must(err)
	manifest.Cmdline += " quiet"
	content, err := manifest.Encode()
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.Built, images.ManifestName), content, 0o600))
}

// TestSpareFails: a spare that does not become a cluster is thrown away, one line says so, and the start makes one.
func TestSpareFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(*world, store.Cluster)
		want  string
	}{
		"memory damaged": {func(w *world, _ store.Cluster) {
			w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.Resume: {Error: "it is damaged", ID: fail.SnapshotMismatch}}}
		}, "it is damaged"},
		"does not come back": {func(w *world, _ store.Cluster) {
			w.breaks(clustertest.Fault{Point: "kubernetes.wake", How: "PROVISION_FAILED"})
		}, "told to fail"},
		"keys lost, and no space for others": {func(w *world, _ store.Cluster) {
			w.Kubernetes = &failsOnce{Kubernetes: clustertest.Kubernetes{}}
		}, "no space left"},
		"not usable": {func(w *world, _ store.Cluster) {
			w.Kubernetes = &failsOnce{Kubernetes: clustertest.Kubernetes{}, wait: true}
		}, "not usable"},
		"folder taken": {func(w *world, _ store.Cluster) {
			w.must(store.Write(filepath.Join(w.Home.Cluster("dev").Dir, "foreign"), nil, 0o600))
		}, "there is foreign in the cluster's folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			spareName := w.builds()
			files := w.Home.Spares().Cluster(spareName)
			test.spoil(w, files)
			w.did()
			w.starts(w.options())
			_, warnings := w.did()
			if strings.Count(warnings, "\n") != 0 || !strings.Contains(warnings, "warm spare "+spareName+" cannot be used (") ||
				!strings.Contains(warnings, test.want) || !strings.Contains(warnings, "so cluster dev is created from the start") {
				t.Errorf("start warned %q, want one line with %q", warnings, test.want)
			}
			w.noSpares()
			w.breaks()
			w.driver = fake.Options{}
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
			if got := w.commands("kubeadm"); got != 1 {
				t.Errorf("the new machine ran kubeadm %d times, want 1", got)
			}
			w.stops()
			w.starts(w.options())
		})
	}
}

// failsOnce is a Kubernetes where one thing goes wrong once.
type failsOnce struct {
	clustertest.Kubernetes
	wait bool // Wait; else Prepare
	once sync.Once
}

func (f *failsOnce) Prepare(ctx context.Context, c cluster.Target) (err error) {
	if !f.wait {
		f.once.Do(func() { err = errors.New("no space left on device") })
	}
	if err != nil {
		return err
	}
	return f.Kubernetes.Prepare(ctx, c)
}

func (f *failsOnce) Wait(ctx context.Context, m machine.Runner, c cluster.Target, report cluster.Report) (err error) {
	if f.wait {
		f.once.Do(func() { err = errors.New("not usable") })
	}
	if err != nil {
		return err
	}
	return f.Kubernetes.Wait(ctx, m, c, report)
}

// TestTwoStartsOneSpare: two starts at once, and one spare: one takes it, the other makes a cluster of its own.
func TestTwoStartsOneSpare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.builds()
	const starts = 4
	var all sync.WaitGroup
	var mu sync.Mutex
	took, addresses := 0, map[netip.Addr]bool{}
	for i := range starts {
		all.Go(func() {
			o := w.options()
			o.Profile, o.KeepContext = string(rune('a'+i)), true
			started, err := w.Start(t.Context(), o, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("start %s: %v", o.Profile, err)
				return
			}
			if started.Plan.Steps[0].ID == "spare" {
				took++
			}
			addresses[started.Config.Address] = true
		})
	}
	all.Wait()
	if took != 1 || len(addresses) != starts {
		t.Errorf("%d starts took the spare, and the addresses are %v; want 1 and %d different ones", took, addresses, starts)
	}
	w.noSpares()
}

// TestSpareCutOff: where a start was killed while it took the spare, there is a spare that is none, or a cluster.
func TestSpareCutOff(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(w *world, from, to store.Cluster, c config.Cluster){
		"after its note": func(*world, store.Cluster, store.Cluster, config.Cluster) {},
		"after its name": func(w *world, from, _ store.Cluster, c config.Cluster) {
			content, err := c.Marshal()
			w.must(err)
			w.must(store.Write(from.File(), content, 0o600))
		},
		"after the logs": func(w *world, from, to store.Cluster, c config.Cluster) {
			content, err := c.Marshal()
			w.must(err)
			w.must(errors.Join(store.Write(from.File(), content, 0o600), store.Folder(to.Dir)))
		},
		"after all": func(w *world, from, to store.Cluster, c config.Cluster) {
			content, err := c.Marshal()
			w.must(err)
			w.must(errors.Join(store.Write(from.File(), content, 0o600), store.Move(from.Dir, to.Dir)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			spareName := w.builds()
			from, to := w.Home.Spares().Cluster(spareName), w.Home.Cluster("dev")
			content, err := os.ReadFile(from.File())
			w.must(err)
			c, err := config.Parse(content)
			w.must(err)
			w.must(os.Remove(from.Spare()))
			c.Profile = "dev"
			cut(w, from, to, c)
			w.did()
			w.starts(w.options())
			steps, _ := w.did()
			if resumed := strings.Contains(steps, "resume"); resumed != (name == "after all") {
				t.Errorf("start took the steps %q", steps)
			}
			if got := w.status(); got != allWell {
				t.Errorf("status: got %q, want %q", got, allWell)
			}
			if states := w.states(); len(states) != 0 {
				t.Errorf("the spares are %v, want none", states)
			}
		})
	}
}

// TestSpareBuildFails: nothing stays of a build that failed, whatever it was at.
func TestSpareBuildFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []clustertest.Fault
		driver fake.Options
		id     fail.ID
	}{
		{name: "create", driver: failing(fake.Create), id: fail.MachineFailed},
		{name: "agent", faults: []clustertest.Fault{{Point: "agents.start", How: "PORT_IN_USE"}}, id: fail.PortInUse},
		{name: "boot", driver: failing(fake.Start), id: fail.MachineFailed},
		{name: "full", faults: []clustertest.Fault{{Point: "kubernetes.prepare", How: "full"}}, id: fail.HostDiskFull},
		{name: "kubeadm", faults: []clustertest.Fault{{Point: "kubernetes.up", How: "KUBEADM_FAILED"}}, id: fail.KubeadmFailed},
		{name: "wait", faults: []clustertest.Fault{{Point: "kubernetes.wait", How: "WAIT_TIMEOUT"}}, id: fail.WaitTimeout},
		{name: "suspend", driver: failing(fake.Suspend), id: fail.MachineFailed},
		{name: "suspend, full", driver: fake.Options{Failures: map[fake.Op]fake.Failure{fake.Suspend: {ID: fail.HostDiskFull, Error: "full"}}}, id: fail.HostDiskFull},
		{name: "driver", driver: fake.Options{Plain: true}, id: fail.DriverCannot},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.breaks(test.faults...)
			w.driver = test.driver
			_, err := w.BuildSpare(t.Context(), cluster.SpareOptions{}, w.sink)
			known, _ := errors.AsType[*fail.Error](err)
			if !fail.Is(err, test.id) || strings.Contains(known.Next, "-p spare-") {
				t.Fatalf("build: got error %v and next %q, want %s and a command that works", err, known.Next, test.id)
			}
			w.noSpares()
			w.breaks()
			w.driver = fake.Options{}
			w.builds()
		})
	}
}

// TestSpareBuildInterrupted: Ctrl-C leaves nothing.
func TestSpareBuildInterrupted(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"create", "agent", "boot", "kubernetes", "wait", "suspend"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := w.BuildSpare(ctx, cluster.SpareOptions{}, func(e cluster.Event) {
				if e.Kind == cluster.Began && e.Step == step {
					cancel()
				}
			})
			known, _ := errors.AsType[*fail.Error](err)
			if !fail.Is(err, fail.Interrupted) || known.Next != "skiff spare build" {
				t.Errorf("build: got error %v with next %+v, want %s", err, known, fail.Interrupted)
			}
			w.noSpares()
		})
	}
}

// TestSpareStartInterrupted: Ctrl-C while a spare is taken leaves it, or nothing.
func TestSpareStartInterrupted(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"spare", "agent", "resume", "services", "kubeconfig", "wait"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			name := w.builds()
			ctx, cancel := context.WithCancel(t.Context())
			_, err := w.Start(ctx, w.options(), func(e cluster.Event) {
				if e.Kind == cluster.Began && e.Step == step {
					cancel()
				}
			})
			if !fail.Is(err, fail.Interrupted) {
				t.Errorf("start: got error %v, want %s", err, fail.Interrupted)
			}
			if got := w.status(); got != absent {
				t.Errorf("status: got %q, want %q", got, absent)
			}
			if states := w.states(); (states[name] == cluster.SpareReady) != (step == "spare") {
				t.Errorf("the spares are %v", states)
			}
			w.starts(w.options())
			w.noSpares()
		})
	}
}

// TestOneBuild: there is one build at a time, and who deletes spares ends it first.
func TestOneBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release, err := store.TryLock(w.Home.SpareLock(), store.Holder{Command: "skiff spare build", PID: 1})
	w.must(err)
	if _, err := w.BuildSpare(t.Context(), cluster.SpareOptions{}, w.sink); !fail.Is(err, fail.ClusterLocked) {
		t.Errorf("a second build: got error %v, want %s", err, fail.ClusterLocked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := w.DeleteSpares(ctx, nil, w.sink); err == nil { // process 1 builds no spares, and is left alone
		t.Error("spares were deleted while one is prepared")
	}
	release()
	w.noSpares()
	name := w.builds()
	if removed, err := w.DeleteSpares(t.Context(), []string{"spare-none"}, w.sink); err != nil || len(removed) != 0 {
		t.Errorf("delete of one that is not there: got %v and error %v", removed, err)
	}
	if removed, err := w.DeleteSpares(t.Context(), nil, w.sink); err != nil || !slices.Equal(removed, []string{name}) {
		t.Errorf("delete: got %v and error %v, want %s", removed, err, name)
	}
	w.noSpares()
}

// TestLockedSpare: one that another command is at is neither taken nor removed.
func TestLockedSpare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ready := w.builds()
	built, err := w.BuildSpare(t.Context(), cluster.SpareOptions{Wanted: cluster.Wanted{CPUs: new(4)}}, w.sink)
	w.must(err)
	half := built.Name
	w.must(os.Remove(w.Home.Spares().Cluster(half).Spare()))
	for _, name := range []string{ready, half} {
		release, err := store.TryLock(w.Home.Spares().Cluster(name).Lock(), store.Holder{Command: "another"})
		w.must(err)
		defer release()
	}
	w.starts(w.options())
	if states := w.states(); states[half] != cluster.SpareMaking || states[ready] != cluster.SpareReady {
		t.Errorf("the spares are %v, want %s being made and %s ready", states, half, ready)
	}
}

func TestWantsSpare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Facts.AvailableMiB = 12000
	like := w.starts(w.options()).Config
	wants := func() string {
		refusal := w.WantsSpare(t.Context(), like, spare.Auto)
		if strings.Contains(refusal, "of the disk are free") {
			t.Skip("this computer has not enough of its disk free")
		}
		return refusal
	}
	if got := wants(); got != "" {
		t.Errorf("after a start: got %q, want none", got)
	}
	w.driver.Accelerator = "tcg"
	if got := wants(); !strings.Contains(got, "emulation") {
		t.Errorf("under emulation: got %q", got)
	}
	w.driver = fake.Options{Plain: true}
	if got := wants(); !strings.Contains(got, "driver") {
		t.Errorf("with a driver that keeps no memory: got %q", got)
	}
	w.driver = fake.Options{}
	release, err := store.TryLock(w.Home.SpareLock(), store.Holder{})
	w.must(err)
	if got := wants(); !strings.Contains(got, "being prepared") {
		t.Errorf("while one is prepared: got %q", got)
	}
	release()
	w.builds()
	if got := wants(); !strings.Contains(got, "already") {
		t.Errorf("with a spare: got %q", got)
	}
	like.CPUs = 4
	if got := wants(); got != "" {
		t.Errorf("with a spare of another size: got %q, want none", got)
	}
}
