package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
)

// Size is that of a terminal, in characters.
type Size struct{ Columns, Rows int }

// Terminal is what an interactive session is connected to. The caller puts its own terminal into raw mode.
type Terminal struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Name           string      // value of TERM; empty: no terminal on the other side either
	Size           Size        // at the start
	Resize         <-chan Size // later sizes; may be nil
}

// Shell runs args as root, or root's login shell when there are none, on the machine's side of a terminal, and returns when
// it ends: nil, *machine.RunError or a lost connection. A cancelled ctx hangs up.
func (r *Runner) Shell(ctx context.Context, terminal Terminal, args ...string) error {
	session, done, err := r.session(ctx)
	if err != nil {
		return fmt.Errorf("open shell: %w", err)
	}
	defer done()
	defer session.Close()
	session.Stdout, session.Stderr = terminal.Stdout, terminal.Stderr
	if terminal.Name != "" {
		modes := xssh.TerminalModes{xssh.ECHO: 1, xssh.TTY_OP_ISPEED: 38400, xssh.TTY_OP_OSPEED: 38400}
		if err := session.RequestPty(terminal.Name, terminal.Size.Rows, terminal.Size.Columns, modes); err != nil {
			return fmt.Errorf("open shell: ask for a terminal: %w", err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	feed, err := stdinOf(session, terminal.Stdin, cancel)
	if err != nil {
		return fmt.Errorf("open shell: %w", err)
	}
	cmd := machine.Cmd{Args: args}
	if err := r.start(session, cmd); err != nil {
		return fmt.Errorf("open shell: %w", lost(err))
	}
	feed()
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	for {
		select {
		case err := <-ended:
			return shellEnd(cmd, err)
		case size, open := <-terminal.Resize:
			if !open {
				terminal.Resize = nil
				continue
			}
			_ = session.WindowChange(size.Rows, size.Columns)
		case <-ctx.Done():
			return fmt.Errorf("shell: %w", context.Cause(ctx))
		}
	}
}

func (r *Runner) start(session *xssh.Session, cmd machine.Cmd) error {
	switch {
	case r.target.User == superuser && len(cmd.Args) == 0:
		return session.Shell()
	case r.target.User == superuser:
		return session.Start(cmd.String())
	case len(cmd.Args) == 0:
		return session.Start("exec sudo -n -i")
	}
	return session.Start("exec sudo -n -- " + cmd.String())
}

func shellEnd(cmd machine.Cmd, err error) error {
	if len(cmd.Args) == 0 {
		cmd.Args = []string{"shell"}
	}
	_, err = result(cmd, err, nil, nil)
	if failed, ok := errors.AsType[*machine.RunError](err); ok {
		return failed
	}
	return err
}
