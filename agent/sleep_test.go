package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network/networktest"
	"github.com/skiff-k8s/skiff/agent/sleep"
)

// hands are on a machine that is never really paused: a guest answers all the time, so who waits does so for the agent.
type hands struct {
	dial   agent.Dialer
	did    chan string
	banner func(ctx context.Context, dial agent.Dialer) (string, error)
}

func (h *hands) Freeze(context.Context) (bool, error) {
	h.did <- "freeze"
	return true, nil
}

func (h *hands) Thaw(context.Context) error {
	h.did <- "thaw"
	return nil
}

// Settle reaches the guest at a port that is published, where everybody else waits for it to be done.
func (h *hands) Settle(ctx context.Context) error {
	text, err := h.banner(ctx, h.dial)
	h.did <- "settle " + text
	return err
}

// sees waits for what the agent does next.
func (h *hands) sees(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-h.did:
		if got != want {
			t.Fatalf("the agent did %q, want %q", got, want)
		}
	case <-t.Context().Done():
		t.Fatalf("the agent did not %q", want)
	}
}

// serve runs an agent in this process.
func serve(t *testing.T, c agent.Config, h *hands) *agent.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := agent.Run(ctx, c, io.Discard, func(dial agent.Dialer) sleep.Machine { h.dial = dial; return h }); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	client := agent.Dial(c.APISocket)
	for {
		if _, err := client.Status(t.Context()); err == nil {
			return client
		}
		if t.Context().Err() != nil {
			t.Fatal("the agent does not answer")
		}
	}
}

// TestPausesAndWakes: with an API server that the agent watches by itself, which is nobody asking something.
func TestPausesAndWakes(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.244.1")
	h := &hands{did: make(chan string, 100)}
	h.banner = func(ctx context.Context, dial agent.Dialer) (string, error) {
		conn, err := dial(ctx, "tcp", "127.77.244.1:2222")
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		text, err := io.ReadAll(conn)
		return strings.TrimSpace(string(text)), err
	}
	client := serve(t, c, h)
	guest := networktest.Join(t, c.NetworkSocket)
	ssh, err := guest.Listen("tcp", networktest.Address+":22")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ssh.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-test\r\n")
			_ = conn.Close()
		}
	}()
	kubernetes := startCluster(t, guest, 0)
	if err := client.WatchKubernetes(t.Context(), kubernetes.kubeconfig("127.77.244.1")); err != nil {
		t.Fatal(err)
	}
	<-kubernetes.patched // it watches by now

	if err := client.AutoPause(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	h.sees(t, "freeze")
	got := status(t, client)
	if !got.Asleep || got.AutoPause != 50*time.Millisecond || !strings.Contains(got.Health.APIServer, "paused") || !strings.Contains(got.Health.Kubelet, "paused") {
		t.Errorf("got %+v, want a machine that is asleep after 50ms", got)
	}
	// Whoever comes waits and is answered.
	text, err := h.banner(t.Context(), (&net.Dialer{}).DialContext)
	if err != nil || text != "SSH-2.0-test" {
		t.Errorf("got %q and %v, want the guest's banner", text, err)
	}
	h.sees(t, "thaw")
	h.sees(t, "settle SSH-2.0-test")
	h.sees(t, "freeze")
	if err := client.Wake(t.Context()); err != nil {
		t.Errorf("Wake: %v", err)
	}
	h.sees(t, "thaw")
	h.sees(t, "settle SSH-2.0-test")
	h.sees(t, "freeze")
	// Let go, it is nobody's to wake, and connections go to it as it is.
	if err := client.AutoPause(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := status(t, client); got.Asleep || got.AutoPause != 0 {
		t.Errorf("got asleep %v after %s, want a machine that was let go", got.Asleep, got.AutoPause)
	}
	if text, err := h.banner(t.Context(), (&net.Dialer{}).DialContext); err != nil || text != "SSH-2.0-test" {
		t.Errorf("got %q and %v, want the guest's banner", text, err)
	}
	select {
	case did := <-h.did:
		t.Errorf("the agent did %q to a machine that was let go", did)
	default:
	}
	if err := client.AutoPause(t.Context(), -time.Second); err == nil {
		t.Error("AutoPause(-1s): got nil, want an error")
	}
}
