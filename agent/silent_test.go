package agent_test

import (
	"errors"
	"os"
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
	return c, client, pid
}

func TestAnAgentThatDoesNotAnswerIsSaidAndEnded(t *testing.T) {
	t.Parallel()
	_, client, _ := stopped(t, "127.77.187.1")
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
	if err := client.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if !client.Gone(t.Context()) {
		t.Error("after Shutdown: Gone is false")
	}
}

func TestSpawnReplacesAnAgentThatDoesNotAnswer(t *testing.T) {
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
	if pid := status(t, client).PID; pid == old {
		t.Errorf("process %d answers, which was stopped", pid)
	}
}
