package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
)

// The folder of sockets of a living agent is removed, as by a clean-up of temporary files. The agent still has the cluster's
// address, so a new one can only take its place.
func TestAnAgentWithoutSocketsIsReplaced(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(c agent.Config) error{
		"folder": func(c agent.Config) error { return os.RemoveAll(filepath.Dir(c.APISocket)) },
		"socket": func(c agent.Config) error { return os.Remove(c.APISocket) }, // the lock stays
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t, map[string]string{"folder": "127.77.228.1", "socket": "127.77.229.1"}[name])
			first := status(t, spawn(t, c)).PID
			if err := lose(c); err != nil {
				t.Fatal(err)
			}
			if second := status(t, spawn(t, c)).PID; second == first {
				t.Errorf("got the same process, %d, that nobody can reach", second)
			}
			wantEnded(t, first)
		})
	}
}

func TestStopFindsAnAgentWithoutSockets(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.227.1")
	id := status(t, spawn(t, c)).PID
	if err := agent.Stop(t.Context(), c.APISocket+".other", file(c)+".other"); err != nil {
		t.Errorf("Stop of another cluster's agent: %v", err)
	}
	if err := syscall.Kill(id, 0); err != nil {
		t.Fatalf("the agent has ended with another one: %v", err)
	}
	if err := os.RemoveAll(filepath.Dir(c.APISocket)); err != nil {
		t.Fatal(err)
	}
	if runs, err := agent.Runs(t.Context(), file(c)); err != nil || !runs {
		t.Errorf("Runs of an agent without sockets: got %v and error %v, want true", runs, err)
	}
	for range 2 {
		if err := agent.Stop(t.Context(), c.APISocket, file(c)); err != nil {
			t.Errorf("Stop: %v", err)
		}
		wantEnded(t, id)
	}
	if runs, err := agent.Runs(t.Context(), file(c)); err != nil || runs {
		t.Errorf("Runs of an agent that has ended: got %v and error %v, want false", runs, err)
	}
}

// wantEnded fails when the process lives on. One that ended as a child of this one may still wait to be waited for.
func wantEnded(t *testing.T, id int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "cmdline"))
	if err == nil && len(raw) > 0 && !errors.Is(syscall.Kill(id, 0), syscall.ESRCH) {
		t.Errorf("process %d lives on: %q", id, raw)
	}
}
