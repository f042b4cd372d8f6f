package agent_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent"
)

// stopped spawns an agent and stops its process, which keeps its sockets and its lock.
func stopped(t *testing.T, address string) (agent.Config, *agent.Client, int) {
	t.Helper()
	c := config(t, address)
	client := spawn(t, c)
	pid := status(t, client).PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // before it is told to end, which it must hear
	// The signal is delivered later than it was sent: on a busy host the agent answers meanwhile.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !standsStill(t, pid) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("process %d was not stopped", pid)
		}
	}
	return c, client, pid
}

// standsStill reports whether a process is stopped (ps(1), "PROCESS STATE CODES").
func standsStill(t *testing.T, pid int) bool {
	t.Helper()
	states, err := exec.CommandContext(t.Context(), "ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(strings.TrimSpace(string(states)), "T")
}

func TestAnAgentThatDoesNotAnswerIsSaidAndEnded(t *testing.T) {
	t.Parallel()
	c, client, pid := stopped(t, "127.77.186.1")
	begin := time.Now()
	if _, err := client.Status(t.Context()); !errors.Is(err, agent.ErrSilent) {
		t.Errorf("Status: got %v, want ErrSilent", err)
	}
	if err := client.Wake(t.Context()); !errors.Is(err, agent.ErrSilent) {
		t.Errorf("Wake: got %v, want ErrSilent", err)
	}
	if client.Gone(t.Context()) {
		t.Error("Gone: got true of an agent that holds its socket")
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("three questions took %s", took)
	}
	if err := client.Shutdown(t.Context()); !errors.Is(err, agent.ErrSilent) {
		t.Errorf("Shutdown: got %v, want ErrSilent", err)
	}
	begin = time.Now()
	if err := agent.Stop(t.Context(), c.APISocket, file(c)); err != nil {
		t.Errorf("Stop: %v", err)
	}
	// A question takes three seconds, and the end itself the time of any other: it is not waited for one that was stopped.
	if took := time.Since(begin); took > 7*time.Second {
		t.Errorf("Stop took %s", took)
	}
	if !client.Gone(t.Context()) {
		t.Error("after Stop: Gone is false")
	}
	if log, err := os.ReadFile(c.LogFile); err != nil || !strings.Contains(string(log), "the agent ends") {
		t.Errorf("the agent's log is %s (%v), want that it ended in order", log, err)
	}
	wantEnded(t, pid)
}

// TestSpawnWakesAnAgentThatWasStopped: it continues with all that it has, such as the machine's network.
func TestSpawnWakesAnAgentThatWasStopped(t *testing.T) {
	t.Parallel()
	c, _, old := stopped(t, "127.77.188.1")
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	client, err := agent.Spawn(t.Context(), executable, file(c), c)
	if err != nil {
		t.Fatal(err)
	}
	if pid := status(t, client).PID; pid != old {
		t.Errorf("process %d answers, want %d, which was stopped", pid, old)
	}
}

// TestSpawnWaitsForASlowAgent: on a busy host an agent may be late with more than one answer, and is no worse for it.
func TestSpawnWaitsForASlowAgent(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.189.1")
	old := status(t, spawn(t, c)).PID
	slow(t, c, 7*time.Second)
	if pid := status(t, spawn(t, c)).PID; pid != old {
		t.Errorf("process %d answers, want %d, which was slow", pid, old)
	}
}

// TestSpawnReplacesAnAgentThatNeverAnswers: no signal helps it.
func TestSpawnReplacesAnAgentThatNeverAnswers(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.190.1")
	old := status(t, spawn(t, c)).PID
	slow(t, c, time.Hour)
	if pid := status(t, spawn(t, c)).PID; pid == old {
		t.Errorf("process %d answers, which never did", pid)
	}
	wantEnded(t, old)
}

// slow puts itself before the agent's socket, and passes on nothing for a time: so the agent looks to clients when its process gets no
// processor.
func slow(t *testing.T, c agent.Config, takes time.Duration) {
	t.Helper()
	behind := c.APISocket + ".behind"
	if err := os.Rename(c.APISocket, behind); err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", c.APISocket)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // a new agent may have its own there
	time.AfterFunc(takes, func() {
		_ = listener.Close()
		_ = os.Rename(behind, c.APISocket)
	})
	t.Cleanup(func() { _ = listener.Close() })
}
