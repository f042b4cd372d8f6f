package ssh_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	runner := sshtest.Start(t, nil).Runner(t)
	tests := []struct {
		name           string
		args           []string
		stdin          string
		stdout, stderr string
		code           int
	}{
		{"plain", []string{"echo", "hello"}, "", "hello\n", "", 0},
		{"quoting", []string{"printf", "%s|", "a b", "it's", "$HOME", "*", "", "x;false", "\n"}, "",
			"a b|it's|$HOME|*||x;false|\n|", "", 0},
		{"stdin", []string{"cat"}, "in\x00put", "in\x00put", "", 0},
		{"no stdin", []string{"cat"}, "", "", "", 0},
		{"stderr and status", []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, "", "out\n", "err\n", 7},
		{"ended by a signal", []string{"sh", "-c", "kill -TERM $$"}, "", "", "", -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := machine.Cmd{Args: test.args}
			if test.stdin != "" {
				cmd.Stdin = strings.NewReader(test.stdin)
			}
			got, err := runner.Run(t.Context(), cmd)
			if string(got.Stdout) != test.stdout || string(got.Stderr) != test.stderr {
				t.Errorf("got stdout %q, stderr %q; want %q, %q", got.Stdout, got.Stderr, test.stdout, test.stderr)
			}
			var failed *machine.RunError
			switch {
			case test.code == 0 && err != nil:
				t.Errorf("got error %v, want none", err)
			case test.code != 0 && (!errors.As(err, &failed) || failed.ExitCode != test.code):
				t.Errorf("got error %v, want exit code %d", err, test.code)
			case failed != nil && string(failed.Stderr) != test.stderr:
				t.Errorf("got stderr %q in the error, want %q", failed.Stderr, test.stderr)
			}
		})
	}
}

func TestRunStreams(t *testing.T) {
	t.Parallel()
	runner := sshtest.Start(t, nil).Runner(t)
	var stdout, stderr bytes.Buffer
	got, err := runner.Run(t.Context(), machine.Cmd{
		Args: []string{"sh", "-c", "echo out; echo err >&2"}, Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "out\n" || stderr.String() != "err\n" || len(got.Stdout)+len(got.Stderr) != 0 {
		t.Errorf("got streams %q, %q and result %+v; want all in the streams", stdout.String(), stderr.String(), got)
	}
}

// A command that ends without reading its input must not keep Run waiting for the end of that input.
func TestRunDoesNotWaitForStdin(t *testing.T) {
	t.Parallel()
	runner := sshtest.Start(t, nil).Runner(t)
	endless, w := io.Pipe()
	defer w.Close()
	if _, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"true"}, Stdin: endless}); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

func TestCancelEndsTheRemoteCommand(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"shell with child": "echo $$; sleep 600 & wait",
		"ignores SIGTERM":  "trap '' TERM; echo $$; while :; do sleep 0.05; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := sshtest.Start(t, nil).Runner(t)
			ctx, cancel := context.WithCancel(t.Context())
			output, w := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				_, err := runner.Run(ctx, machine.Cmd{Args: []string{"sh", "-c", script}, Stdout: w})
				ended <- err
			}()
			text := make([]byte, 32)
			n, err := output.Read(text)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want context.Canceled", err)
			}
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d: got %v, want it to be gone", pid, err)
			}
		})
	}
}

func TestReconnects(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	runner := server.Runner(t)
	var group sync.WaitGroup
	for range 12 { // more than the limit of sessions
		group.Go(func() {
			if _, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"true"}}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := server.Accepted(); got != 1 {
		t.Errorf("got %d connections for 12 commands, want 1", got)
	}
	server.Disconnect()
	if _, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"true"}}); err != nil {
		t.Errorf("after the loss of the connection: %v", err)
	}
	if got := server.Accepted(); got != 2 {
		t.Errorf("got %d connections after the loss, want 2", got)
	}
	if err := runner.Close(); err != nil {
		t.Error(err)
	}
	if _, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"true"}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: got %v, want net.ErrClosed", err)
	}
}

func TestConnectionLostWhileRunning(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, func(ctx context.Context, cmd sshtest.Command) int {
		_, _ = io.WriteString(cmd.Stdout, "running")
		<-ctx.Done()
		return 0
	})
	output, w := io.Pipe()
	go func() {
		_, _ = output.Read(make([]byte, 8))
		server.Disconnect()
	}()
	_, err := server.Runner(t).Run(t.Context(), machine.Cmd{Args: []string{"wait"}, Stdout: w})
	if !errors.Is(err, ssh.ErrConnectionLost) {
		t.Errorf("got %v, want ErrConnectionLost", err)
	}
}

func TestHostKeyIsPinned(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	other, err := ssh.GenerateIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	target := server.SSH()
	target.HostKey = other.HostPublicKey
	for name, call := range map[string]func(*ssh.Runner) error{
		"Run": func(r *ssh.Runner) error {
			_, err := r.Run(t.Context(), machine.Cmd{Args: []string{"true"}})
			return err
		},
		"Wait": func(r *ssh.Runner) error { return r.Wait(t.Context()) },
	} {
		runner := ssh.New(target)
		defer runner.Close()
		var wrong *ssh.HostKeyError
		if err := call(runner); !errors.As(err, &wrong) || wrong.Got == wrong.Want || wrong.Got == "" {
			t.Errorf("%s: got %v, want a HostKeyError with both keys", name, err)
		}
	}
	if lines := server.Lines(); len(lines) != 0 {
		t.Errorf("commands reached a server with the wrong key: %q", lines)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	server := sshtest.Start(t, nil)
	target := server.SSH()
	target.Address = netip.MustParseAddrPort(address)
	runner := ssh.New(target)
	defer runner.Close()

	// As a forwarder before the guest is up: first connections are closed or stay silent, later ones reach the server.
	go func() {
		for i := 0; ; i++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			switch i {
			case 0:
				_ = conn.Close()
			case 1: // silent
				t.Cleanup(func() { _ = conn.Close() })
			default:
				go relay(t, conn, server.SSH().Address.String())
			}
		}
	}()
	defer listener.Close()
	begin := time.Now()
	if err := runner.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v: the silent attempt was waited for", took)
	}
	if _, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"true"}}); err != nil {
		t.Error(err)
	}
	if got := server.Accepted(); got != 1 {
		t.Errorf("got %d connections at the server, want the one of Wait to be kept", got)
	}
}

func relay(t *testing.T, conn net.Conn, address string) {
	server, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		_ = conn.Close()
		return
	}
	go func() {
		_, _ = io.Copy(server, conn)
		_ = server.Close()
	}()
	_, _ = io.Copy(conn, server)
	_ = conn.Close()
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := sshtest.Start(t, nil).SSH()
	target.Address = netip.MustParseAddrPort(listener.Addr().String())
	_ = listener.Close() // so that connections are refused
	runner := ssh.New(target)
	defer runner.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // long enough for one refusal on a busy host
	defer cancel()
	err = runner.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want the deadline and the last failure", err)
	}
}

// A guest that is busy must not get ever more connections to answer: each costs it a process.
func TestWaitSparesASilentGuest(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	target := sshtest.Start(t, nil).SSH()
	target.Address = netip.MustParseAddrPort(listener.Addr().String())
	var accepted atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	runner := ssh.New(target)
	defer runner.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // attempts at 0, 0.4, 1.2 and 2.8 s
	defer cancel()
	err = runner.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v, want the deadline, and that there was no answer", err)
	}
	if got := accepted.Load(); got < 2 || got > 4 {
		t.Errorf("got %d attempts, want 2 to 4", got)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	runner := sshtest.Start(t, nil).Runner(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "new dir", "it's")
	for _, want := range []string{"first", "", strings.Repeat("large", 300_000), strings.Repeat("second", 100_000)} {
		if err := runner.Put(t.Context(), name, 0o640, strings.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		wantFile(t, name, 0o640, want)
	}
	failure := errors.New("source failed")
	for _, size := range []int{10, 3 << 20} { // the larger is sent before the failure shows
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", size)), iotest.ErrReader(failure))
		if err := runner.Put(t.Context(), name, 0o600, body); !errors.Is(err, failure) {
			t.Errorf("got %v, want the error of the source", err)
		}
	}
	wantFile(t, name, 0o640, strings.Repeat("second", 100_000))
	wantNames(t, filepath.Dir(name), "it's")
	if err := runner.Put(t.Context(), dir, 0o600, strings.NewReader("")); err == nil {
		t.Error("a folder was replaced by a file")
	}
}

func TestPutAll(t *testing.T) {
	t.Parallel()
	runner := sshtest.Start(t, nil).Runner(t)
	dir := t.TempDir()
	files := []ssh.File{
		{Path: dir + "/a/b/c", Mode: 0o600, Body: []byte("one")},
		{Path: dir + "/a/d", Mode: 0o755, Body: bytes.Repeat([]byte("x"), 200_000)},
	}
	for range 2 { // twice: existing files are replaced
		if err := runner.PutAll(t.Context(), files); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		wantFile(t, f.Path, f.Mode, string(f.Body))
	}
	err := runner.PutAll(t.Context(), []ssh.File{{Path: dir + "/a/d/e", Mode: 0o600}})
	if err == nil || !strings.Contains(err.Error(), "Not a directory") {
		t.Errorf("got %v, want what tar complained about", err)
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	echo, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		conn, err := echo.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	runner := sshtest.Start(t, nil).Runner(t)
	conn, err := runner.Dial(t.Context(), "tcp", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("got %q, %v; want %q", got, err, "ping")
	}
	if _, err := runner.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("got a connection to a closed port")
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, func(_ context.Context, cmd sshtest.Command) int {
		if cmd.Line != "" || cmd.Terminal != "xterm" || (cmd.Size != ssh.Size{Columns: 80, Rows: 25}) {
			return 3
		}
		if size := <-cmd.Resize; (size != ssh.Size{Columns: 100, Rows: 40}) {
			return 4
		}
		_, _ = io.Copy(cmd.Stdout, cmd.Stdin)
		return 9
	})
	resize := make(chan ssh.Size, 1)
	resize <- ssh.Size{Columns: 100, Rows: 40}
	close(resize)
	var stdout bytes.Buffer
	err := server.Runner(t).Shell(t.Context(), ssh.Terminal{
		Stdin: strings.NewReader("typed"), Stdout: &stdout, Stderr: io.Discard,
		Name: "xterm", Size: ssh.Size{Columns: 80, Rows: 25}, Resize: resize,
	})
	var failed *machine.RunError
	if !errors.As(err, &failed) || failed.ExitCode != 9 || stdout.String() != "typed" {
		t.Errorf("got %v and output %q, want exit code 9 and %q", err, stdout.String(), "typed")
	}
}

func wantFile(t *testing.T, name string, mode fs.FileMode, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want || info.Mode() != mode {
		t.Errorf("%s: got mode %v and %d bytes, want %v and %d bytes", name, info.Mode(), len(got), mode, len(want))
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// TestThrough: the address of a machine may mean something to nobody but who dials.
func TestThrough(t *testing.T) {
	t.Parallel()
	target := sshtest.Start(t, nil).SSH()
	there := target.Address.String()
	target.Address = netip.MustParseAddrPort("192.0.2.7:22")
	runner := ssh.Through(target, func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "192.0.2.7:22" {
			t.Errorf("dialled %q, want the address of the target", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, there)
	})
	defer func() { _ = runner.Close() }()
	if err := runner.Wait(t.Context()); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if got, err := runner.Run(t.Context(), machine.Cmd{Args: []string{"echo", "hello"}}); err != nil || string(got.Stdout) != "hello\n" {
		t.Errorf("got %q and error %v, want hello", got.Stdout, err)
	}
}
