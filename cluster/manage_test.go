package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// deletes deletes, and expects that there was something.
func (w *world) deletes() {
	w.t.Helper()
	deleted, err := w.Delete(w.t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink)
	if err != nil || !deleted {
		w.t.Fatalf("delete: got %v and error %v, want true", deleted, err)
	}
}

// gone expects that nothing of the cluster is left.
func (w *world) gone() {
	w.t.Helper()
	files := w.Home.Cluster("dev")
	for _, path := range []string{files.Dir, files.Run, files.Lock()} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			w.t.Errorf("%s is left: %v", path, err)
		}
	}
	if content, _ := os.ReadFile(w.Kubeconfig); strings.Contains(string(content), "dev") {
		w.t.Errorf("the kubeconfig still has the cluster:\n%s", content)
	}
	if got := w.status(); got != absent {
		w.t.Errorf("status: got %q, want %q", got, absent)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(*world){
		"running":   func(*world) {},
		"stopped":   (*world).stops,
		"no agent":  (*world).killAgent,
		"no node":   func(w *world) { w.must(os.RemoveAll(filepath.Join(w.Home.Cluster("dev").Dir, "nodes"))) },
		"no keys":   func(w *world) { w.must(os.RemoveAll(w.Home.Cluster("dev").PKI())) },
		"no file":   func(w *world) { w.must(os.Remove(w.Home.Cluster("dev").File())) },
		"bad file":  func(w *world) { w.must(os.WriteFile(w.Home.Cluster("dev").File(), []byte("a: ["), 0o600)) },
		"no image":  func(w *world) { w.must(os.RemoveAll(w.Home.Base())) },
		"no config": func(w *world) { w.must(os.Remove(w.Kubeconfig)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.options())
			disturb(w)
			w.deletes()
			w.gone()
			if deleted, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink); deleted || err != nil {
				t.Errorf("delete again: got %v and error %v, want false", deleted, err)
			}
			w.starts(w.options())
		})
	}
}

// The machine of a cluster that cannot be read may be another driver's than that of new clusters.
func TestDeleteFindsTheMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deaf := map[fake.Op]fake.Failure{fake.List: {Error: "no answer"}}
	other := fake.New(fake.Options{Name: "other", Registry: t.TempDir()})
	auto := w.Drivers
	w.Every = []drivers.Driver{
		fake.New(fake.Options{Name: "deaf", Failures: deaf}),
		fake.New(fake.Options{Name: "missing", Failures: deaf, Findings: []drivers.Finding{{Level: drivers.Failure, Missing: true}}}),
		scattered{fake.New(fake.Options{}), []drivers.Driver{other}},
	}
	w.Drivers = func(string) (drivers.Driver, error) { return other, nil }
	w.starts(w.options())
	w.starts(cluster.StartOptions{Profile: "second"})
	w.Drivers = auto
	w.must(os.WriteFile(w.Home.Cluster("dev").File(), []byte("a: ["), 0o600))
	w.events = nil
	w.deletes()
	w.gone()
	if found, err := other.Machines(t.Context()); err != nil || len(found) != 1 || found[0].Cluster != "second" {
		t.Errorf("got the machines %+v (%v), want that of cluster second alone", found, err)
	}
	var warned []string
	for _, e := range w.events {
		if e.Kind == cluster.Warning {
			warned = append(warned, e.Text)
		}
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "deaf") {
		t.Errorf("got the warnings %q, want one of the driver deaf", warned)
	}
}

// scattered is a driver with other places.
type scattered struct {
	drivers.Driver
	others []drivers.Driver
}

func (s scattered) Places() []drivers.Driver { return append([]drivers.Driver{s.Driver}, s.others...) }

func TestDeleteByForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.driver = failing(fake.Delete)
	if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink); !fail.Is(err, fail.MachineFailed) {
		t.Errorf("delete: got error %v, want %s", err, fail.MachineFailed)
	}
	if got := w.status(); got != allWell {
		t.Errorf("after a delete that failed at once: got %q, want %q", got, allWell)
	}
	if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev", Force: true}, w.sink); err != nil {
		t.Errorf("delete by force: %v", err)
	}
	w.gone()
}

func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink); !fail.Is(err, fail.ClusterNotFound) {
		t.Errorf("stop without a cluster: got error %v, want %s", err, fail.ClusterNotFound)
	}
	w.starts(w.options())
	w.stops()
	if stopped, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink); stopped.Changed || err != nil {
		t.Errorf("stop again: got %v and error %v, want false", stopped, err)
	}
	if got := w.status(); got != "Stopped Stopped Stopped Configured" {
		t.Errorf("status: got %q, want a stopped cluster", got)
	}
}

// TestStopOfHalf: what is left of a cluster must be stopped too.
func TestStopOfHalf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.killMachine()
	w.stops()
	if _, err := w.Agents.Status(t.Context(), w.Home.Cluster("dev").AgentSocket()); err == nil {
		t.Error("the agent still answers")
	}
}

func TestRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asks := map[string]func() error{
		"machine": func() error { _, err := w.Machine(t.Context(), "dev"); return err },
		"kubectl": func() error { _, _, err := w.Kubectl(t.Context(), "dev"); return err },
		"address": func() error { _, err := w.Address(t.Context(), "dev"); return err },
		"published": func() error {
			_, err := w.Published(t.Context(), "dev")
			return err
		},
		"addon": func() error { return w.DisableAddon(t.Context(), "dev", "ingress", w.sink) },
	}
	expect := func(when string, id fail.ID) {
		t.Helper()
		for name, ask := range asks {
			if err := ask(); (id == "" && err != nil) || (id != "" && !fail.Is(err, id)) {
				t.Errorf("%s, %s: got error %v, want %q", when, name, err, id)
			}
		}
	}
	expect("absent", fail.ClusterNotFound)
	w.starts(w.options())
	expect("running", "")
	w.killAgent()
	expect("without agent", fail.ClusterNotRunning)
	w.starts(w.options())
	w.stops()
	expect("stopped", fail.ClusterNotRunning)
}

func TestAddons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	enabled := func() bool {
		t.Helper()
		list, err := w.Addons(t.Context(), "dev")
		w.must(err)
		for _, one := range list {
			if one.Name == "ingress" {
				return one.Enabled
			}
		}
		t.Fatal("ingress is not in the list")
		return false
	}
	if enabled() {
		t.Error("without a cluster ingress is enabled")
	}
	w.starts(w.options())
	for range 2 {
		w.must(w.EnableAddon(t.Context(), "dev", "ingress", w.sink))
		if !enabled() {
			t.Error("ingress is not enabled after enable")
		}
	}
	w.breaks(clustertest.Fault{Point: "kubernetes.disable", How: "ADDON_FAILED"})
	if err := w.DisableAddon(t.Context(), "dev", "ingress", w.sink); !fail.Is(err, fail.AddonFailed) || !enabled() {
		t.Errorf("disable that fails: got error %v and enabled %v, want %s and true", err, enabled(), fail.AddonFailed)
	}
	w.breaks()
	for range 2 {
		w.must(w.DisableAddon(t.Context(), "dev", "ingress", w.sink))
		if enabled() {
			t.Error("ingress is enabled after disable")
		}
	}
	if err := w.EnableAddon(t.Context(), "dev", "nothing", w.sink); !fail.Is(err, fail.AddonNotFound) {
		t.Errorf("enable of an unknown addon: got error %v, want %s", err, fail.AddonNotFound)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, profile := range []string{"one", "two"} {
		w.starts(cluster.StartOptions{Profile: profile})
	}
	w.must(os.WriteFile(w.Home.Cluster("one").File(), nil, 0o600))
	for _, live := range []bool{true, false} {
		list, err := w.List(t.Context(), live)
		w.must(err)
		if len(list) != 2 || list[0].Config.Profile != "one" || !fail.Is(list[0].Err, fail.StateCorrupt) || list[1].Err != nil {
			t.Fatalf("list: got %+v, want one (broken) and two", list)
		}
		if (list[1].Status.Host == cluster.Running) != live {
			t.Errorf("list, live %v: got host %q", live, list[1].Status.Host)
		}
	}
	if one, two := w.address("two"), w.starts(cluster.StartOptions{Profile: "three"}).Config.Address.String(); one == two {
		t.Errorf("two clusters have the address %s", one)
	}
}

func (w *world) address(profile string) string {
	w.t.Helper()
	address, err := w.Address(w.t.Context(), profile)
	w.must(err)
	return address.String()
}

func TestLogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, _, err := w.Logs(t.Context(), "dev"); !fail.Is(err, fail.ClusterNotFound) {
		t.Errorf("logs without a cluster: got error %v, want %s", err, fail.ClusterNotFound)
	}
	w.starts(w.options())
	w.must(os.WriteFile(w.Home.Cluster("dev").AgentLog(), []byte("x\n"), 0o600))
	names := func() (string, machine.Machine) {
		t.Helper()
		sources, vm, err := w.Logs(t.Context(), "dev")
		w.must(err)
		var names []string
		for _, source := range sources {
			names = append(names, source.Name)
		}
		return strings.Join(names, " "), vm
	}
	if got, vm := names(); got != "agent boot guest" || vm == nil {
		t.Errorf("logs of a running cluster: got %q and machine %v, want %q and one", got, vm, "agent boot guest")
	}
	w.stops()
	if got, vm := names(); got != "agent boot" || vm != nil {
		t.Errorf("logs of a stopped cluster: got %q and machine %v, want %q and none", got, vm, "agent boot")
	}
	w.deletes()
	w.breaks(clustertest.Fault{Point: "kubernetes.up", How: "KUBEADM_FAILED"})
	w.fails(w.options(), fail.KubeadmFailed)
	if got, _ := names(); got != "boot" {
		t.Errorf("logs of a creation that failed: got %q, want %q", got, "boot")
	}
}

// TestAgentBoundsTheConsole: the agent is told of the file, to which the machine may write for months.
func TestAgentBoundsTheConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	c, err := agent.Load(w.Home.Cluster("dev").AgentConfig())
	if want := w.vm().(*fake.Machine).ConsoleLog(); err != nil || c.Console != want {
		t.Errorf("got the console %q and error %v, want %q", c.Console, err, want)
	}
}

func TestStatusNotes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	agents := clustertest.Agents{}
	agents.Health.APIServer = "it does not answer"
	w.must(agents.Stop(t.Context(), w.Home.Cluster("dev").AgentSocket(), ""))
	w.Agents = agents
	if got := w.status(); got != "Running Stopped Stopped Configured" {
		t.Errorf("status without agent: got %q", got)
	}
	status, err := w.Status(t.Context(), "dev")
	if err != nil || !strings.Contains(status.Note, "skiff start -p dev") {
		t.Errorf("status without agent: got note %q and error %v, want the command that helps", status.Note, err)
	}
}

func TestConverter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tool, err := w.Converter("dev")
	if err != nil || filepath.Dir(tool) != w.Built {
		t.Errorf("without a cluster: got %q and error %v, want the one in %s", tool, err, w.Built)
	}
	w.starts(w.options())
	if tool, err = w.Converter("dev"); err != nil || !strings.HasPrefix(tool, w.Home.Base()) {
		t.Errorf("with a cluster: got %q and error %v, want the one in %s", tool, err, w.Home.Base())
	}
	w.deletes()
	w.Built = t.TempDir()
	if _, err := w.Converter("dev"); !fail.Is(err, fail.ImageMissing) {
		t.Errorf("without an image: got error %v, want %s", err, fail.ImageMissing)
	}
}
