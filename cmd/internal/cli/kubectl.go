package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/fail"
)

func (a *app) kubectl() *cobra.Command {
	cmd := &cobra.Command{
		Use: "kubectl [-p PROFILE] [--] ARGUMENT...", Short: "Run the kubectl of the cluster's own version",
		Long: `Run the bundled kubectl of the cluster's own version against this cluster, whatever the current context is.
The exit code is kubectl's. All arguments are passed to kubectl, except -p and --config before the first of them.`,
		Example: `  skiff kubectl -- get pods -A
  skiff kubectl -p dev get nodes`,
		DisableFlagParsing: true,
		ValidArgsFunction:  a.completeKubectl,
		// The arguments are taken apart here, before the settings are read with what was found.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			args, help, err := a.ownFlags(cmd, args)
			if err != nil {
				return err
			}
			if help {
				return cmd.Help()
			}
			if err := a.prepare(cmd); err != nil {
				return err
			}
			tool, kubeconfig, err := a.manager().Kubectl(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			return a.tool(cmd.Context(), tool, kubeconfig, a.streams.In, args...)
		},
	}
	return cmd
}

// ownFlags takes skiff's flags off the front of kubectl's arguments.
func (a *app) ownFlags(cmd *cobra.Command, args []string) (rest []string, help bool, err error) {
	own := map[string]string{"-p": "profile", "--profile": "profile", "--config": "config"}
	for len(args) > 0 {
		name, value, attached := strings.Cut(args[0], "=")
		switch {
		case args[0] == "--":
			return args[1:], false, nil
		case args[0] == "-h" || args[0] == "--help":
			return nil, true, nil
		case own[name] == "" && strings.HasPrefix(name, "-p") && !strings.HasPrefix(name, "--"):
			name, value, attached = "-p", strings.TrimPrefix(args[0], "-p"), true
		case own[name] == "":
			return args, false, nil
		}
		args = args[1:]
		if !attached {
			if len(args) == 0 {
				return nil, false, fail.New(fail.FlagInvalid, cmd.CommandPath(), "flag needs an argument: %s", name)
			}
			value, args = args[0], args[1:]
		}
		if err := cmd.Flags().Set(own[name], value); err != nil {
			return nil, false, err
		}
	}
	return args, false, nil
}

// grace is how long a tool may take to end after it was told to.
const grace = 10 * time.Second

// tool runs the host's kubectl with the cluster's own kubeconfig, and ends with its exit code.
func (a *app) tool(ctx context.Context, path, kubeconfig string, stdin io.Reader, args ...string) error {
	command := exec.CommandContext(ctx, path, args...)
	command.Stdin, command.Stdout, command.Stderr = stdin, a.streams.Out, a.streams.Err
	command.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "KUBECONFIG=")
	}), "KUBECONFIG="+kubeconfig)
	// Ctrl-C reaches the tool by itself, as part of this terminal's job; SIGTERM to skiff alone does not.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = grace
	err := command.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &exitError{fail.CodeInterrupted}
	case errors.As(err, &ended):
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return &exitError{128 + int(status.Signal())}
		}
		return &exitError{ended.ExitCode()}
	}
	return fmt.Errorf("run %s: %w", path, err)
}
