package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
	"github.com/skiff-k8s/skiff/store"
)

// guest starts a cluster of files and puts an SSH server in the place of its machine.
func guest(t *testing.T, deps Deps, address string, handler sshtest.Handler) {
	t.Helper()
	var said bytes.Buffer
	if code := Main(t.Context(), []string{"start"}, Streams{Out: &said, Err: &said}, deps); code != 0 {
		t.Fatalf("start: got exit code %d\n%s", code, said.String())
	}
	home, err := store.Locate(deps.Env)
	if err != nil {
		t.Fatal(err)
	}
	files := home.Cluster("skiff")
	content, err := os.ReadFile(files.File())
	if err != nil {
		t.Fatal(err)
	}
	content = regexp.MustCompile(`address: \S+`).ReplaceAll(content, []byte("address: "+address))
	server := sshtest.StartAt(t, address+":2222", handler)
	own := files.Node("skiff")
	for path, text := range map[string][]byte{files.File(): content, own.HostKey(): server.Identity.HostKey, own.UserKey(): server.Identity.UserKey} {
		if err := store.Write(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestShellWithoutTerminal: lines piped into `skiff ssh` are the shell's.
func TestShellWithoutTerminal(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	guest(t, deps, "127.99.7.2", func(_ context.Context, cmd sshtest.Command) int {
		if cmd.Line != "" || cmd.Terminal != "" {
			fmt.Fprintf(cmd.Stderr, "got line %q and terminal %q, want none\n", cmd.Line, cmd.Terminal)
			return 1
		}
		input, _ := io.ReadAll(cmd.Stdin)
		fmt.Fprintf(cmd.Stdout, "read %s", input)
		fmt.Fprint(cmd.Stderr, "complains")
		return 42
	})
	var out, said bytes.Buffer
	code := Main(t.Context(), []string{"ssh"}, Streams{In: strings.NewReader("ls"), Out: &out, Err: &said}, deps)
	if code != 42 || out.String() != "read ls" || said.String() != "complains" {
		t.Errorf("ssh: got exit code %d, stdout %q, stderr %q, want 42, %q, %q", code, out.String(), said.String(), "read ls", "complains")
	}
}

// TestTerminal: with a terminal here there is one there, of the same size and its changes, and ours is raw meanwhile.
func TestTerminal(t *testing.T) {
	t.Parallel()
	outside, inside := terminals(t)
	resize := func(columns, rows uint16) {
		if err := unix.IoctlSetWinsize(int(inside.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
			t.Fatal(err)
		}
	}
	resize(100, 30)
	before, err := term.GetState(int(inside.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	deps := testDeps(t)
	guest(t, deps, "127.99.7.3", func(ctx context.Context, cmd sshtest.Command) int {
		if cmd.Line != "top -d 1" || cmd.Terminal != "xterm" || cmd.Size != (ssh.Size{Columns: 100, Rows: 30}) {
			fmt.Fprintf(cmd.Stdout, "got %q, %q, %v", cmd.Line, cmd.Terminal, cmd.Size)
			return 1
		}
		if _, err := outside.Write([]byte{3}); err != nil {
			return 6
		}
		key := make([]byte, 1)
		if _, err := io.ReadFull(cmd.Stdin, key); err != nil || key[0] != 3 { // Ctrl-C is a key like others
			fmt.Fprintf(cmd.Stdout, "got key %v and error %v", key, err)
			return 2
		}
		resize(120, 40)
		if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil { // the kernel tells only the terminal's own job
			return 3
		}
		select {
		case size := <-cmd.Resize:
			if size != (ssh.Size{Columns: 120, Rows: 40}) {
				fmt.Fprintf(cmd.Stdout, "got size %v", size)
				return 4
			}
		case <-ctx.Done():
			return 5
		}
		fmt.Fprint(cmd.Stdout, "all well")
		return 7
	})
	code := Main(t.Context(), []string{"ssh", "--", "top", "-d", "1"}, Streams{In: inside, Out: inside, Err: inside}, deps)
	if code != 7 {
		shown := make([]byte, 4096)
		n, _ := outside.Read(shown)
		t.Errorf("ssh: got exit code %d, want 7\n%s", code, shown[:n])
	}
	if after, err := term.GetState(int(inside.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal is not as before: %v", err)
	}
}

// terminals returns the two ends of a pseudo-terminal (pty(7)).
func terminals(t *testing.T) (outside, inside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = outside.Close() })
	if err := unix.IoctlSetPointerInt(int(outside.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(outside.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inside, err = os.OpenFile(filepath.Join("/dev/pts", fmt.Sprint(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inside.Close() })
	return outside, inside
}
