package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// TestDamagedKeys: without its keys nobody gets into a machine. Everything that would says which file it is, and what needs
// no keys works.
func TestDamagedKeys(t *testing.T) {
	t.Parallel()
	garbage := func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) }
	for name, damage := range map[string]func(user, host string) (string, error){
		"bad user key": func(user, _ string) (string, error) { return user, garbage(user) },
		"bad host key": func(_, host string) (string, error) { return host, garbage(host) },
		"no user key":  func(user, _ string) (string, error) { return user, os.Remove(user) },
		"no host key":  func(_, host string) (string, error) { return host, os.Remove(host) },
	} {
		for _, state := range []string{"running", "stopped"} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.starts(w.options())
				if state == "stopped" {
					w.stops()
				}
				own := w.Home.Cluster("dev").Node("skiff")
				path, err := damage(own.UserKey(), own.HostKey())
				w.must(err)
				_, startErr := w.Start(t.Context(), w.options(), w.sink)
				_, statusErr := w.Status(t.Context(), "dev")
				_, machineErr := w.Machine(t.Context(), "dev")
				for what, err := range map[string]error{"start": startErr, "status": statusErr, "use": machineErr} {
					if !fail.Is(err, fail.StateCorrupt) || !strings.Contains(err.Error(), path) {
						t.Errorf("%s: got error %v, want %s of %s", what, err, fail.StateCorrupt, path)
					}
				}
				if state == "running" {
					if _, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink); err != nil {
						t.Errorf("stop: %v", err)
					}
				}
				w.deletes()
				w.gone()
			})
		}
	}
}

// TestDamagedKubeconfig: what is in a cluster's own kubeconfig is in its keys as well, so it is written again.
func TestDamagedKubeconfig(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) error{
		"garbage": func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) },
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"none":    os.Remove,
	} {
		for _, state := range []string{"running", "stopped"} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.starts(w.options())
				if state == "stopped" {
					w.stops()
				}
				w.must(damage(w.Home.Cluster("dev").Kubeconfig()))
				w.starts(w.options())
				if got := w.status(); got != allWell {
					t.Errorf("status: got %q, want %q", got, allWell)
				}
			})
		}
	}
}

// TestDamagedKeysOfKubernetes: certificates and keys that are none are made anew.
func TestDamagedKeysOfKubernetes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	started := w.starts(w.options())
	files := w.Home.Cluster("dev")
	target := cluster.Target{Config: started.Config, Files: files}
	w.must(cluster.LiveKubernetes{}.Prepare(t.Context(), target))
	paths, err := filepath.Glob(filepath.Join(files.PKI(), "*.*"))
	w.must(err)
	if len(paths) < 10 {
		t.Fatalf("got the files %q, want those of a cluster", paths)
	}
	for _, path := range paths {
		w.must(os.WriteFile(path, []byte("garbage"), 0o600))
		if err := (cluster.LiveKubernetes{}).Prepare(t.Context(), target); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}
