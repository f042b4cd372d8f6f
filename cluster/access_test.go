package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

// letting are options with --host-access.
func (w *world) letting(access config.HostAccess) cluster.StartOptions {
	o := w.options()
	o.Wanted.HostAccess = &access
	return o
}

// access is what the agent lets pods reach, and what status says of that.
func (w *world) access() string {
	w.t.Helper()
	answer, err := w.Agents.Status(w.t.Context(), w.Home.Cluster("dev").AgentSocket())
	w.must(err)
	status, err := w.Status(w.t.Context(), "dev")
	w.must(err)
	return fmt.Sprintf("%s, status %q", config.HostAccess(answer.HostAccess), status.HostAccess)
}

func TestHostAccessIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	if got, want := w.access(), `none, status ""`; got != want {
		t.Errorf("by default: got %s, want %s", got, want)
	}
	for _, test := range []struct {
		access config.HostAccess
		want   string
	}{
		{config.HostAccess{Ports: []uint16{5432, 8080}}, `5432,8080, status "5432,8080"`}, {config.HostAccess{All: true}, `all, status "all"`},
		{config.HostAccess{}, `none, status ""`}, {config.HostAccess{Ports: []uint16{8080}}, `8080, status "8080"`},
	} {
		w.did()
		w.starts(w.letting(test.access))
		if steps, _ := w.did(); steps != "host-access" || w.access() != test.want {
			t.Errorf("start took the steps %q, then %s; want host-access and %s", steps, w.access(), test.want)
		}
		w.starts(w.options()) // it is remembered
		if steps, _ := w.did(); steps != "" || w.access() != test.want {
			t.Errorf("another start took the steps %q, then %s; want none and %s", steps, w.access(), test.want)
		}
	}
	const want = `8080, status "8080"`
	for name, disturb := range map[string]func(){"stop": w.stops, "shutdown": w.powersOff, "the agent's end": w.killAgent, "the machine's": w.killMachine} {
		disturb()
		w.starts(w.options())
		if got := w.access(); got != want {
			t.Errorf("after %s: got %s, want %s", name, got, want)
		}
	}
	w.stops()
	w.starts(w.letting(config.HostAccess{All: true}))
	w.starts(w.options())
	if got, want := w.access(), `all, status "all"`; got != want {
		t.Errorf("changed while it was stopped: got %s, want %s", got, want)
	}
}

// An existing machine is in no network of the agent.
func TestHostAccessIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	specs, keys := w.adopts(nil)
	o := w.letting(config.HostAccess{All: true})
	o.Wanted.SSH = w.there()
	w.fails(o, fail.DriverCannot)
	if len(*specs) != 0 || *keys != 0 || w.status() != absent {
		t.Errorf("the refused start looked at the machine: %+v, host keys %d, status %q", *specs, *keys, w.status())
	}
	o.Wanted.HostAccess = &config.HostAccess{}
	w.starts(o)
}

// olderAgents do not know the request.
type olderAgents struct{ clustertest.Agents }

func (olderAgents) HostAccess(context.Context, string, config.HostAccess) error {
	return agent.ErrUnknown
}

func TestHostAccessOfAnOlderAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.Agents = olderAgents{}
	_, err := w.Start(t.Context(), w.letting(config.HostAccess{All: true}), w.sink)
	known, ok := errors.AsType[*fail.Error](err)
	if !ok || known.ID != fail.AgentFailed || known.Next != "skiff stop -p dev" || !strings.Contains(known.Hint, "start") {
		t.Errorf("got %v, want %s with the way to another agent", err, fail.AgentFailed)
	}
}

func TestInsecureRegistriesAreChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	told := func() string {
		t.Helper()
		status, err := w.Agents.Status(t.Context(), w.Home.Cluster("dev").AgentSocket())
		w.must(err)
		return strings.Join(status.InsecureRegistries, ",")
	}
	for _, wanted := range [][]string{{"registry.lan:5000"}, {"10.1.0.0/16", "other.lan"}, {}, {"registry.lan:5000"}} {
		w.did()
		o := w.options()
		o.Wanted.InsecureRegistries = &wanted
		w.starts(o)
		if steps, _ := w.did(); steps != "insecure-registry" || told() != strings.Join(wanted, ",") {
			t.Errorf("start took the steps %q, and the agent asks %q so; want insecure-registry and %q", steps, told(), wanted)
		}
		w.starts(w.options()) // it is remembered
		if steps, _ := w.did(); steps != "" {
			t.Errorf("another start took the steps %q, want none", steps)
		}
	}
	w.stops()
	w.starts(w.options())
	if got := told(); got != "registry.lan:5000" {
		t.Errorf("after a stop the agent asks %q so, want registry.lan:5000", got)
	}
}
