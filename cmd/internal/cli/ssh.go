package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

func (a *app) ssh() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ssh [-- COMMAND [ARGUMENT]...]", Short: "Open a shell on the node, or run one command there",
		Long: `Open a shell on the node, or run one command there. The exit code is the command's.
Several arguments are passed as they are; a single one that contains spaces is a line for the shell, as with ssh itself.`,
		Example: `  skiff ssh
  skiff ssh -- uname -a
  skiff ssh 'dmesg | tail'`,
		Args:        countArgs(0, -1),
		Annotations: map[string]string{annotationFlows: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkNode(cmd); err != nil {
				return err
			}
			err := a.runGuest(cmd.Context(), guestCommand(args))
			return guestExit(cmd.Context(), err)
		},
	}
	cmd.Flags().SetInterspersed(false) // flags behind the command are the command's
	nodeFlag(cmd.Flags(), "n")
	return cmd
}

// guestCommand is the argument vector for what was typed.
func guestCommand(args []string) []string {
	if len(args) == 1 && strings.ContainsAny(args[0], " \t\n|&;<>$`*?") {
		return []string{"sh", "-c", args[0]}
	}
	return args
}

// runGuest runs args, or a shell when there are none, on the machine. With a terminal on this side there is one on that.
func (a *app) runGuest(ctx context.Context, args []string) error {
	local := ui.IsTerminal(a.streams.In) && ui.IsTerminal(a.streams.Out)
	if len(args) > 0 && !local {
		vm, err := a.manager().Machine(ctx, a.profile())
		if err != nil {
			return err
		}
		_, err = vm.Run(ctx, machine.Cmd{Args: args, Stdin: a.streams.In, Stdout: a.streams.Out, Stderr: a.streams.Err})
		return err
	}
	target, err := a.manager().SSH(ctx, a.profile())
	if err != nil {
		return err
	}
	runner := ssh.New(target)
	defer func() { _ = runner.Close() }()
	if local {
		return a.interactive(ctx, runner, args)
	}
	return runner.Shell(ctx, ssh.Terminal{Stdin: a.streams.In, Stdout: a.streams.Out, Stderr: a.streams.Err}, args...)
}

// interactive connects this terminal with one on the machine.
func (a *app) interactive(ctx context.Context, runner *ssh.Runner, args []string) error {
	input, ok := a.streams.In.(*os.File)
	if !ok {
		return errors.New("the input is not a file")
	}
	fd := int(input.Fd()) //nolint:gosec // a file descriptor fits into int
	columns, rows, err := term.GetSize(fd)
	if err != nil {
		return fmt.Errorf("ask for the size of the terminal: %w", err)
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("set the terminal up: %w", err)
	}
	defer func() { _ = term.Restore(fd, before) }()
	name := a.deps.Env("TERM")
	if name == "" {
		name = "xterm"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return runner.Shell(ctx, ssh.Terminal{
		Stdin: input, Stdout: a.streams.Out, Stderr: a.streams.Err, Name: name,
		Size: ssh.Size{Columns: columns, Rows: rows}, Resize: sizes(ctx, fd),
	}, args...)
}

// sizes tells the sizes of a terminal as they change, until ctx ends.
func sizes(ctx context.Context, fd int) <-chan ssh.Size {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	sizes := make(chan ssh.Size)
	go func() {
		defer signal.Stop(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			columns, rows, err := term.GetSize(fd)
			if err != nil {
				continue
			}
			select {
			case sizes <- ssh.Size{Columns: columns, Rows: rows}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}

// guestExit makes the exit code of a command in the guest ours.
func guestExit(ctx context.Context, err error) error {
	var ran *machine.RunError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ran) && ran.ExitCode >= 0:
		return &exitError{ran.ExitCode}
	case errors.As(err, &ran): // by a signal; the same as ssh(1)
		return &exitError{255}
	case ctx.Err() != nil:
		return &exitError{fail.CodeInterrupted}
	}
	return err
}
