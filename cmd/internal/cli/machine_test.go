package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

// readUntil reads what is shown on a terminal, up to some words.
func readUntil(terminal io.Reader, words string) (string, error) {
	var shown strings.Builder
	for part := make([]byte, 1024); !strings.Contains(shown.String(), words); {
		n, err := terminal.Read(part)
		if err != nil {
			return shown.String(), err
		}
		shown.Write(part[:n])
	}
	return shown.String(), nil
}

// TestHostKeyIsAskedFor: the host key of a machine that nobody knows is trusted when the user says yes, and not otherwise.
func TestHostKeyIsAskedFor(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, nil)
	address := server.SSH().Address
	home := t.TempDir()
	at := func(t *testing.T, in io.Reader, out io.Writer) *app {
		t.Helper()
		a := testApp(t)
		a.deps.Env = func(name string) string { return map[string]string{"HOME": home}[name] }
		a.streams = Streams{In: in, Out: &bytes.Buffer{}, Err: out}
		return a
	}
	for answer, trusted := range map[string]bool{"yes\n": true, "YES \n": true, "no\n": false, "\n": false, "y\n": false} {
		t.Run(strings.TrimSpace("answer "+answer), func(t *testing.T) {
			t.Parallel()
			outside, inside := terminals(t)
			replied := make(chan error, 1)
			go func() {
				_, err := readUntil(outside, "[yes/no] ")
				if err == nil {
					_, err = outside.WriteString(answer)
				}
				replied <- err
			}()
			key, err := at(t, inside, inside).hostKey(t.Context(), address)
			if err := <-replied; err != nil {
				t.Fatal(err)
			}
			if trusted != (err == nil) || trusted && !bytes.HasPrefix(server.Identity.HostPublicKey, bytes.TrimSpace(key)) {
				t.Errorf("got the key %q (%v), want it trusted: %t", key, err, trusted)
			}
			if !trusted && !fail.Is(err, fail.SSHHostKeyUnknown) {
				t.Errorf("got %v, want %s", err, fail.SSHHostKeyUnknown)
			}
		})
	}
	t.Run("Ctrl-C", func(t *testing.T) {
		t.Parallel()
		outside, inside := terminals(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = readUntil(outside, "[yes/no] ")
			cancel()
		}()
		if _, err := at(t, inside, inside).hostKey(ctx, address); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		_, _ = outside.WriteString("\n") // lets go who still reads
	})
	t.Run("no terminal", func(t *testing.T) {
		t.Parallel()
		_, inside := terminals(t)
		for name, streams := range map[string]struct {
			in  io.Reader
			out io.Writer
		}{"in": {strings.NewReader("yes\n"), inside}, "out": {inside, &bytes.Buffer{}}} {
			if _, err := at(t, streams.in, streams.out).hostKey(t.Context(), address); !fail.Is(err, fail.SSHHostKeyUnknown) {
				t.Errorf("%s is none: got %v, want %s", name, err, fail.SSHHostKeyUnknown)
			}
		}
		if _, err := os.Stat(home + "/.ssh"); err == nil {
			t.Error("known_hosts was changed")
		}
	})
}

// TestHostKeyOfBefore: a machine that shows another host key than known_hosts has is refused, with the command that forgets the old
// one; nobody is asked.
func TestHostKeyOfBefore(t *testing.T) {
	t.Parallel()
	address := sshtest.Start(t, nil).SSH().Address
	home := t.TempDir()
	known := home + "/.ssh/known_hosts"
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	other := sshtest.Start(t, nil).Identity.HostPublicKey
	if err := os.WriteFile(known, fmt.Appendf(nil, "[%s]:%d %s\n", address.Addr(), address.Port(), other), 0o600); err != nil {
		t.Fatal(err)
	}
	a := testApp(t)
	a.deps.Env = func(name string) string { return map[string]string{"HOME": home}[name] }
	_, err := a.hostKey(t.Context(), address)
	failure, ok := errors.AsType[*fail.Error](err)
	if !ok || failure.ID != fail.SSHHostKeyChanged {
		t.Fatalf("got %v, want %s", err, fail.SSHHostKeyChanged)
	}
	want := fmt.Sprintf("ssh-keygen -f %s -R '[%s]:%d'", known, address.Addr(), address.Port())
	if got := failure.Next; got != want {
		t.Errorf("the next command is %q, want %q", got, want)
	}
}
