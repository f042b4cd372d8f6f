package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network/networktest"
	"github.com/skiff-k8s/skiff/fail"
)

// TestMain lets the test binary be the agent that Spawn starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "agent" {
		os.Exit(runAgent(os.Args[3])) //nolint:forbidigo // the main function of this binary
	}
	os.Exit(m.Run()) //nolint:forbidigo // the same
}

func runAgent(file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := agent.Load(file)
	if err == nil {
		err = agent.Run(ctx, c, os.Stderr, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// config is of a cluster with folders of its own; their paths are short, as those of sockets must be.
func config(t *testing.T, address string) agent.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "sk") //nolint:usetesting // t.TempDir has the name of the test, which is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return agent.Config{
		Profile: "test", Address: netip.MustParseAddr(address),
		NetworkSocket: filepath.Join(dir, "run", "net.sock"), APISocket: filepath.Join(dir, "run", "agent.sock"),
		LogFile: filepath.Join(dir, "logs", "agent.log"), Cache: filepath.Join(dir, "cache"), Offline: true,
		Guest: netip.MustParseAddr(networktest.Address), GuestMAC: networktest.MAC,
		Ports: []agent.Port{{Name: "ssh", Host: 2222, Guest: 22}, {Name: "apiserver", Host: 6443, Guest: 6443}},
	}
}

func file(c agent.Config) string {
	return filepath.Join(filepath.Dir(filepath.Dir(c.APISocket)), "agent.json")
}

// spawn starts an agent process that ends with the test.
func spawn(t *testing.T, c agent.Config) *agent.Client {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	client, err := agent.Spawn(t.Context(), executable, file(c), c)
	if err != nil {
		log, _ := os.ReadFile(c.LogFile)
		t.Fatalf("Spawn: %v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := client.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return client
}

func status(t *testing.T, client *agent.Client) agent.Status {
	t.Helper()
	status, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client.Do(request)
}

func TestTheLifeOfAnAgent(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.231.1")
	client := spawn(t, c)
	got := status(t, client)
	if got.PID == os.Getpid() || got.Profile != "test" || got.Address != c.Address || got.Connected || !got.Offline || got.Watching {
		t.Errorf("got %+v, want another process for test, offline, with no machine", got)
	}
	if got.Health.Kubelet == "" || got.Health.APIServer == "" {
		t.Errorf("got health %+v without a machine, want both parts missing", got.Health)
	}
	if len(got.Published) != 2 || got.Published[0].Name != "ssh" || got.Published[0].Host != netip.MustParseAddrPort("127.77.231.1:2222") {
		t.Errorf("got %+v published, want ssh and apiserver", got.Published)
	}
	for path, want := range map[string]os.FileMode{
		c.APISocket: 0o600, c.NetworkSocket: 0o600, filepath.Dir(c.APISocket): 0o700, c.LogFile: 0o600, file(c): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v and %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	if again := status(t, spawn(t, c)); again.PID != got.PID {
		t.Errorf("Spawn again: got process %d, want the same, %d", again.PID, got.PID)
	}

	for range 2 {
		if err := client.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: got %v, want nil", err)
		}
	}
	if _, err := client.Status(t.Context()); err == nil {
		t.Error("Status after Shutdown: got nil, want an error")
	}
	for _, socket := range []string{c.APISocket, c.NetworkSocket} {
		if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after Shutdown: got %v, want that it is gone", socket, err)
		}
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.77.231.1:2222"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("port after Shutdown: got %v, want refused", err)
	}
	if next := status(t, spawn(t, c)); next.PID == got.PID {
		t.Errorf("Spawn after Shutdown: got process %d, want another", next.PID)
	}
}

func TestAKilledAgentIsReplaced(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.232.1")
	client := spawn(t, c)
	killed := status(t, client).PID
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Its socket stays, with nobody behind it.
	for {
		if _, err := client.Status(t.Context()); errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the agent still answers")
		}
	}
	if err := client.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown of a killed agent: got %v, want nil", err)
	}
	if got := status(t, spawn(t, c)); got.PID == killed || len(got.Published) != 2 {
		t.Errorf("got %+v, want another process that publishes both ports", got)
	}
}

func TestATerminatedAgentCleansUp(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.233.1")
	client := spawn(t, c)
	if err := syscall.Kill(status(t, client).PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		_, api := os.Stat(c.APISocket)
		_, machine := os.Stat(c.NetworkSocket)
		if errors.Is(api, os.ErrNotExist) && errors.Is(machine, os.ErrNotExist) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("the sockets stay: %v, %v", api, machine)
		}
	}
}

func TestSpawnSaysWhichPortIsTaken(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.234.1")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.77.234.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	executable, _ := os.Executable()
	_, err = agent.Spawn(t.Context(), executable, file(c), c)
	var failure *fail.Error
	if !errors.As(err, &failure) || failure.ID != fail.PortInUse || !strings.Contains(err.Error(), "127.77.234.1:6443") || failure.Next == "" {
		t.Errorf("got %v, want fail.PortInUse that names 127.77.234.1:6443 and a command", err)
	}
	if _, err := os.Stat(c.APISocket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket: got %v, want none", err)
	}
}

// script makes an executable that is no agent.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "skiff")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSpawnTellsWhatADeadAgentSaid(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.235.1")
	_, err := agent.Spawn(t.Context(), script(t, "echo something is broken >&2; exit 3"), file(c), c)
	var failure *fail.Error
	if !errors.As(err, &failure) || failure.ID != fail.AgentFailed || !strings.Contains(err.Error(), "exit status 3") || failure.Output != "something is broken" {
		t.Errorf("got %#v, want fail.AgentFailed with the exit status and the output", err)
	}
}

func TestSpawnEndsWhatDoesNotBecomeReady(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.236.1")
	ctx, cancel := context.WithCancel(t.Context())
	pid := filepath.Join(t.TempDir(), "pid")
	go func() {
		for ctx.Err() == nil {
			if text, _ := os.ReadFile(pid); strings.HasSuffix(string(text), "\n") {
				cancel()
			}
		}
	}()
	_, err := agent.Spawn(ctx, script(t, "echo $$ > "+pid+"; exec sleep 1000"), file(c), c)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	text, _ := os.ReadFile(pid)
	var number int
	if _, err := fmt.Sscan(string(text), &number); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(number, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process: got %v, want that it is gone", err)
	}
}

func TestOneAgentPerCluster(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.237.1")
	client := spawn(t, c)
	if err := agent.Run(t.Context(), c, io.Discard, nil); !errors.Is(err, agent.ErrRunning) {
		t.Errorf("Run: got %v, want ErrRunning", err)
	}
	status(t, client) // the first is unharmed
}

func TestSpawnAtTheSameTime(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.238.1")
	executable, _ := os.Executable()
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := agent.Spawn(t.Context(), executable, file(c), c)
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Errorf("Spawn: got %v, want nil", err)
		}
	}
	if err := agent.Dial(c.APISocket).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	c := config(t, "192.168.1.1")
	c.GuestMAC, c.Guest = "nonsense", netip.Addr{}
	err := agent.Run(t.Context(), c, io.Discard, nil)
	for _, want := range []string{"192.168.1.1", "guestMAC", "guest:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestConfigurationsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	want := config(t, "127.77.239.1")
	path := filepath.Join(t.TempDir(), "agent.json")
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := agent.Load(path); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
	if err := os.WriteFile(path, []byte(`{"colour":"127.0.0.1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Load(path); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("a key that is unknown: got %v, want it named", err)
	}
}

func TestTheGuestIsReachedAndReachesTheMirror(t *testing.T) {
	t.Parallel()
	c := config(t, "127.77.240.1")
	client := spawn(t, c)
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
	var got []byte
	for len(got) == 0 && t.Context().Err() == nil { // the guest needs a moment to join
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.77.240.1:2222"); err == nil {
			got, _ = io.ReadAll(conn)
			_ = conn.Close()
		}
	}
	if string(got) != "SSH-2.0-test\r\n" {
		t.Errorf("got %q, want the guest's banner", got)
	}
	if !status(t, client).Connected {
		t.Error("Connected: got false, want true")
	}
	inside := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return guest.DialContextTCP(ctx, address)
	}}}
	response, err := get(t, &inside, "http://192.168.127.1:5000/v2/library/nginx/manifests/1?ns=docker.io")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "not on this machine") {
		t.Errorf("got %s %s, want the mirror's refusal", response.Status, body)
	}
}
