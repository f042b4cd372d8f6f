package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
)

const (
	// runMark is the environment variable by which a command and its children are found again when they must end.
	runMark = "SKIFF_RUN"
	// termGrace is how long a cancelled command has between SIGTERM and SIGKILL.
	termGrace = 3 * time.Second
	// termPause is how long it may take to heed one SIGTERM before the next.
	termPause = 300 * time.Millisecond
	// endLimit bounds all the work of ending a cancelled command.
	endLimit = 10 * time.Second
)

// ErrConnectionLost says that the connection ended while a command ran. The command may have ended, or not.
var ErrConnectionLost = errors.New("the SSH connection was lost")

// Run implements machine.Runner. The command and all its children get SIGTERM when ctx is done, and SIGKILL three
// seconds later; Run returns when they have ended. A Stdin that fails ends the command in the same way, and its error is
// returned.
func (r *Runner) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	if len(cmd.Args) == 0 {
		return machine.Result{}, errors.New("run over SSH: empty command")
	}
	session, done, err := r.session(ctx)
	if err != nil {
		return machine.Result{}, fmt.Errorf("run %q: %w", cmd.Args[0], err)
	}
	defer done()
	defer session.Close()

	var stdout, stderr buffer
	session.Stdout, session.Stderr = orBuffer(cmd.Stdout, &stdout), orBuffer(cmd.Stderr, &stderr)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	feed, err := stdinOf(session, cmd.Stdin, cancel)
	if err != nil {
		return machine.Result{}, fmt.Errorf("run %q: %w", cmd.Args[0], err)
	}
	mark := newMark()
	if err := session.Start(r.line(mark, cmd)); err != nil {
		return machine.Result{}, fmt.Errorf("run %q: %w", cmd.Args[0], lost(err))
	}
	feed()
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		r.end(context.WithoutCancel(ctx), session, mark, ended)
		return machine.Result{Stdout: stdout.take(), Stderr: stderr.take()},
			fmt.Errorf("run %q: %w", cmd.Args[0], context.Cause(ctx))
	}
	return result(cmd, err, stdout.take(), stderr.take())
}

// superuser may do everything on a machine, and others only what sudo lets them.
const superuser = "root"

// line is what the user's shell on the machine is told: to run the command as root, with a mark in its environment. sudo,
// which must not ask for a password, clears that (sudoers(5), env_reset), and look.sh of the driver for such machines
// needs one more variable of it.
func (r *Runner) line(mark string, cmd machine.Cmd) string {
	if r.target.User == superuser {
		return "export " + runMark + "=" + mark + "; exec " + cmd.String()
	}
	return "exec sudo -n -- env " + runMark + "=" + mark + ` SSH_CONNECTION="$SSH_CONNECTION" ` + cmd.String()
}

func result(cmd machine.Cmd, err error, stdout, stderr []byte) (machine.Result, error) {
	res := machine.Result{Stdout: stdout, Stderr: stderr}
	var exit *xssh.ExitError
	switch {
	case err == nil:
		return res, nil
	case errors.As(err, &exit):
		code := exit.ExitStatus()
		if exit.Signal() != "" {
			code = -1
		}
		return res, &machine.RunError{Cmd: cmd.String(), ExitCode: code, Stdout: stdout, Stderr: stderr}
	}
	return res, fmt.Errorf("run %q: %w", cmd.Args[0], lost(err))
}

// lost gives the errors of a connection that ended a name.
func lost(err error) error {
	var missing *xssh.ExitMissingError
	if errors.As(err, &missing) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w (%w)", ErrConnectionLost, err)
	}
	return err
}

func orBuffer(w io.Writer, b *buffer) io.Writer {
	if w != nil {
		return w
	}
	return b
}

// buffer keeps what a command writes until somebody takes it. A command that could not be ended may go on writing after that.
type buffer struct {
	mu      sync.Mutex
	content bytes.Buffer
	taken   bool
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken {
		return 0, io.ErrClosedPipe
	}
	return b.content.Write(p)
}

func (b *buffer) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = true
	return b.content.Bytes()
}

// stdinOf connects stdin without making the end of the command wait for the end of stdin, as xssh.Session.Stdin does.
// When stdin cannot be read, the command sees no end of file, but is cancelled.
func stdinOf(session *xssh.Session, stdin io.Reader, cancel context.CancelCauseFunc) (feed func(), err error) {
	if stdin == nil {
		return func() {}, nil // xssh sends the end of file at once
	}
	pipe, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	return func() {
		go func() {
			source := &readErrors{r: stdin}
			_, _ = io.Copy(pipe, source) // a command may end without reading all
			if source.err != nil {
				cancel(fmt.Errorf("read what is sent to it: %w", source.err))
				return
			}
			_ = pipe.Close()
		}()
	}, nil
}

// readErrors keeps the error of a reader apart from those of the writer it is copied to.
type readErrors struct {
	r   io.Reader
	err error
}

func (e *readErrors) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

func newMark() string {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return hex.EncodeToString(random[:])
}

// end ends the command marked so, and waits until it has. OpenSSH delivers SSH's own signal request only to users other
// than root (session.c, session_signal_req), and a closed session alone leaves the command running, so the processes are
// found by the mark in their environment.
func (r *Runner) end(ctx context.Context, session *xssh.Session, mark string, ended <-chan error) {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	defer session.Close()
	_ = session.Signal(xssh.SIGTERM)
	for deadline := time.Now().Add(termGrace); time.Now().Before(deadline); {
		r.signal(ctx, mark, "TERM") // again and again, as a shell may just have been about to start a child
		timer := time.NewTimer(termPause)
		select {
		case <-ended: //nolint:errcheck // how it ended is the caller's to hear
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	r.signal(ctx, mark, "KILL")
	select {
	case <-ended: //nolint:errcheck // the same
	case <-ctx.Done():
	}
}

const signalScript = `for f in $(grep -lszxF -e "$1" /proc/[0-9]*/environ); do p=${f#/proc/}; kill -s "$2" "${p%/*}"; done`

// signal sends the named signal to all processes with the mark, on a session beyond the eight that commands share.
func (r *Runner) signal(ctx context.Context, mark, name string) {
	r.mu.Lock()
	conn := r.conn
	r.mu.Unlock()
	if conn == nil || conn.dead() {
		return
	}
	session, err := conn.newSession(ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	defer session.Close()
	_ = session.Run(r.line("", machine.Cmd{Args: []string{"sh", "-c", signalScript, "sh", runMark + "=" + mark, name}}))
}
