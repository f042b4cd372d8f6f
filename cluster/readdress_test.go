package cluster_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/store"
)

// isAt gives the cluster another address than it has chosen, in all that knows it.
func (w *world) isAt(address string) {
	w.t.Helper()
	c, err := w.Load("dev")
	w.must(err)
	files := w.Home.Cluster("dev")
	for _, path := range []string{files.File(), files.Kubeconfig(), files.AgentConfig(), w.Kubeconfig} {
		content, err := os.ReadFile(path)
		w.must(err)
		w.must(os.WriteFile(path, []byte(strings.ReplaceAll(string(content), c.Address.String(), address)), 0o600))
	}
}

// occupies listens where no other test does until this one ends. Another run of the tests may have the place: taken it is then too.
func occupies(t *testing.T, at string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at)
	if errors.Is(err, syscall.EADDRINUSE) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
}

// knows reports whether a file has a text in it.
func (w *world) knows(path, text string) bool {
	w.t.Helper()
	content, err := os.ReadFile(path)
	w.must(err)
	return strings.Contains(string(content), text)
}

// TestAddressIsTaken: a cluster at whose address another process listens moves to a free one, and all that has the address
// learns the new one.
func TestAddressIsTaken(t *testing.T) {
	t.Parallel()
	const old = "127.77.213.1"
	occupies(t, old+":6443")
	for name, disturb := range map[string]func(*world){
		"suspended":              (*world).stops,
		"powered off":            (*world).powersOff,
		"agent killed":           (*world).killAgent,
		"machine gone with it":   func(w *world) { w.killAgent(); w.killMachine() },
		"paused, agent killed":   func(w *world) { w.pauses(); w.killAgent() },
		"the disk lost":          func(w *world) { w.stops(); w.must(os.RemoveAll(w.Home.Cluster("dev").Node("skiff").Dir)) },
		"without its kubeconfig": func(w *world) { w.stops(); w.must(os.Remove(w.Kubeconfig)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(w.options())
			w.isAt(old)
			disturb(w)
			w.events = nil
			started := w.starts(w.options())
			now := started.Config.Address.String()
			if now == old || !strings.HasPrefix(now, "127.77.") || w.status() != allWell {
				t.Errorf("got address %s and status %q, want another than %s, and %q", now, w.status(), old, allWell)
			}
			files := w.Home.Cluster("dev")
			for _, path := range []string{files.File(), files.Kubeconfig(), files.AgentConfig(), w.Kubeconfig} {
				if w.knows(path, old) || !w.knows(path, now) {
					t.Errorf("%s has the old address or lacks the new one", path)
				}
			}
			if at, err := w.Address(t.Context(), "dev"); err != nil || at.String() != now {
				t.Errorf("ip: got %v and error %v, want %s", at, err, now)
			}
			var told []string
			for _, e := range w.events {
				if e.Kind == cluster.Warning {
					told = append(told, e.Text)
				}
			}
			if len(told) != 1 || !strings.HasPrefix(told[0], old+":6443 is held by ") || !strings.HasSuffix(told[0], "the address of cluster dev is "+now+" from now on") {
				t.Errorf("the user was told %q, want once what is taken and the new address", told)
			}
			if again := w.starts(w.options()); len(again.Plan.Steps) > 0 {
				t.Errorf("the next start has to do %v, want nothing", again.Plan)
			}
		})
	}
}

// TestMoveIsCutOff: a start that fails right after the cluster has moved leaves it where it is, and the next one tells the
// user's kubeconfig.
func TestMoveIsCutOff(t *testing.T) {
	t.Parallel()
	const old = "127.77.216.1"
	occupies(t, old+":6443")
	for _, point := range []string{"kubernetes.prepare", "agents.start"} {
		w := newWorld(t)
		w.starts(w.options())
		w.isAt(old)
		w.stops()
		w.breaks(clustertest.Fault{Point: point, How: "AGENT_FAILED"})
		w.fails(w.options(), fail.AgentFailed)
		w.breaks()
		now := w.starts(w.options()).Config.Address.String()
		if now == old || w.status() != allWell || w.knows(w.Kubeconfig, old) || !w.knows(w.Kubeconfig, now) {
			t.Errorf("after a failure of %s: got address %s and status %q, and the kubeconfig has the old address: %v", point, now, w.status(), w.knows(w.Kubeconfig, old))
		}
	}
}

// TestAddressStays: the cluster's own agent is no reason to move, nor does an address move that skiff has not chosen.
func TestAddressStays(t *testing.T) {
	t.Parallel()
	const own, chosen = "127.77.217.1", "127.99.8.1"
	occupies(t, own+":6443")
	occupies(t, chosen+":6443")
	for _, address := range []string{own, chosen} {
		w := newWorld(t)
		w.starts(w.options())
		w.isAt(address)
		w.stops()
		if address == own {
			w.Agents = clustertest.Agents{Lost: []string{w.Home.Cluster("dev").AgentConfig()}}
		}
		w.fails(w.options(), fail.PortInUse) // the agent's error; a real one is replaced where it is the cluster's own
		if c, err := w.Load("dev"); err != nil || c.Address != netip.MustParseAddr(address) {
			t.Errorf("got address %s and error %v, want %s as before", c.Address, err, address)
		}
	}
}

// TestAddressMovesForSSH: the address moves for the port of the machine's SSH server as well.
func TestAddressMovesForSSH(t *testing.T) {
	t.Parallel()
	const old = "127.77.218.1"
	occupies(t, old+":2222")
	w := newWorld(t)
	w.starts(w.options())
	w.isAt(old)
	w.stops()
	if now := w.starts(w.options()).Config.Address.String(); now == old {
		t.Errorf("the cluster is still at %s", now)
	}
}

// TestAddressIsTakenMeanwhile: a process that is faster than the agent of a new cluster, such as the agent of another user's new
// cluster, has the address, and the cluster another.
func TestAddressIsTakenMeanwhile(t *testing.T) {
	t.Parallel()
	for step, first := range map[string]byte{"create": 222, "spare": 224} { // those before belong to other clusters
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.starts(cluster.StartOptions{Profile: "other"})
			other, err := w.Load("other")
			w.must(err)
			for n := byte(1); n < first; n++ {
				c := other
				c.Profile, c.Address = fmt.Sprintf("other-%d", n), netip.AddrFrom4([4]byte{127, 77, n, 1})
				content, err := c.Marshal()
				w.must(err)
				w.must(store.Write(w.Home.Cluster(c.Profile).File(), content, 0o600))
			}
			if step == "spare" {
				w.builds()
			}
			old, want := fmt.Sprintf("127.77.%d.1", first), fmt.Sprintf("127.77.%d.1", first+1)
			started, err := w.Start(t.Context(), w.options(), func(e cluster.Event) {
				if e.Step == step && e.Kind == cluster.Ended {
					if c, err := w.Load("dev"); err != nil || c.Address.String() != old {
						t.Errorf("the new cluster is at %s (error %v), want %s", c.Address, err, old)
					}
					occupies(t, old+":6443")
				}
			})
			if err != nil || started.Config.Address.String() != want || w.status() != allWell {
				t.Errorf("got address %s, error %v, status %q; want %s and %q", started.Config.Address, err, w.status(), want, allWell)
			}
			if w.knows(w.Home.Cluster("dev").Kubeconfig(), old) || w.knows(w.Kubeconfig, old) {
				t.Error("a kubeconfig has the first address")
			}
		})
	}
}

// TestPlanOfMove: a dry run says where the cluster would move, and changes nothing.
func TestPlanOfMove(t *testing.T) {
	t.Parallel()
	const old = "127.77.219.1"
	occupies(t, old+":6443")
	w := newWorld(t)
	w.starts(w.options())
	w.isAt(old)
	w.stops()
	o := w.options()
	o.DryRun = true
	started := w.starts(o)
	text := strings.ReplaceAll(started.Plan.String(), started.Config.Address.String(), "ADDRESS")
	golden.Compare(t, filepath.Join("testdata", "plans", "address-taken.golden"), []byte(text))
	if c, err := w.Load("dev"); err != nil || c.Address.String() != old {
		t.Errorf("after a dry run: got address %s and error %v, want %s", c.Address, err, old)
	}
}

// TestRestoreAtAnotherAddress: a snapshot that was saved at another address runs at that of the cluster, which moves also when it is
// restored.
func TestRestoreAtAnotherAddress(t *testing.T) {
	t.Parallel()
	const old = "127.77.221.1"
	w := newWorld(t)
	o := w.options()
	o.Wanted.Addons = []string{"ingress"}
	w.starts(o)
	w.isAt(old)
	_, err := w.SaveSnapshot(t.Context(), cluster.SaveOptions{Profile: "dev", Name: "one"}, w.sink)
	w.must(err)
	w.stops()
	occupies(t, old+":6443")
	started, err := w.RestoreSnapshot(t.Context(), cluster.RestoreOptions{Profile: "dev", Name: "one"}, w.sink)
	w.must(err)
	now := started.Config.Address.String()
	if now == old || w.status() != allWell || w.knows(w.Kubeconfig, old) || !w.knows(w.Kubeconfig, now) {
		t.Errorf("got address %s and status %q, want another than %s, also in the kubeconfig, and %q", now, w.status(), old, allWell)
	}
	if c, err := agent.Load(w.Home.Cluster("dev").AgentConfig()); err != nil || c.Address.String() != now {
		t.Errorf("its agent is at %s (error %v), want %s", c.Address, err, now)
	}
	// What the snapshot knows of the address, such as in addons, is of the old one, now and at the next time.
	for range 2 {
		if !slices.ContainsFunc(started.Plan.Steps, func(s cluster.Step) bool { return s.ID == "addon-ingress" }) {
			t.Errorf("got plan %v, want the addon applied", started.Plan)
		}
		started, err = w.RestoreSnapshot(t.Context(), cluster.RestoreOptions{Profile: "dev", Name: "one"}, w.sink)
		w.must(err)
	}
}
