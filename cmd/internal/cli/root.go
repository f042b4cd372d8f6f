package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/fail"
)

// defaultProfile is the cluster that is meant when none is named.
const defaultProfile = "skiff"

// Groups of commands in the help text.
const (
	groupLife   = "life"
	groupInside = "inside"
	groupAddons = "addons"
	groupSkiff  = "skiff"
)

// Commands returns the tree of commands for what describes them, such as manual pages. They cannot be run.
func Commands(version string) *cobra.Command {
	a := &app{deps: Deps{Version: version}}
	return a.root()
}

// root builds the tree of commands. It is built for every run: there is no state but that of the run.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "skiff",
		Short: "A complete Kubernetes in a virtual machine, within seconds",
		Long: `skiff runs complete Kubernetes clusters on this computer, each in a virtual machine.
It needs no root, no Docker and, once it has the guest image, no network.`,
		Example: `  skiff start                     # make a cluster, or resume it
  skiff kubectl -- get pods -A    # talk to it
  skiff ip                        # where it is
  skiff stop                      # keep it for later
  skiff delete                    # leave nothing`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
		RunE:          func(cmd *cobra.Command, _ []string) error { return a.whatNext(cmd) },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
	}
	a.written = &ui.Output{To: a.streams.Out}
	root.SetOut(a.written)
	root.Version = a.deps.Version
	root.SetVersionTemplate("skiff {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version of skiff; the command version tells more")
	root.SetErr(a.streams.Err)
	root.SetIn(a.streams.In)
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	a.globalFlags(root.PersistentFlags())
	root.AddGroup(
		&cobra.Group{ID: groupLife, Title: "Life of a cluster:"},
		&cobra.Group{ID: groupInside, Title: "Inside the cluster:"},
		&cobra.Group{ID: groupAddons, Title: "Addons:"},
		&cobra.Group{ID: groupSkiff, Title: "Skiff itself:"},
	)
	root.SetHelpCommandGroupID(groupSkiff)
	root.SetCompletionCommandGroupID(groupSkiff)
	for group, commands := range map[string][]*cobra.Command{
		groupLife:   {a.start(), a.stop(), a.pause(), a.unpause(), a.delete(), a.status(), a.ip(), a.snapshot(), a.spare(), a.prune()},
		groupInside: {a.ssh(), a.kubectl(), a.apply(), a.convert(), a.image(), a.logs(), a.dashboard()},
		groupAddons: {a.addons(), a.tunnel()},
		groupSkiff:  {a.profileCommand(), a.config(), a.drivers(), a.doctor(), a.bundle(), a.version()},
		"":          append(refusedCommands(), a.agent()),
	} {
		for _, command := range commands {
			command.GroupID = group
			command.DisableFlagsInUseLine = true
			root.AddCommand(command)
		}
	}
	a.helpCommands(root)
	a.completions(root)
	return root
}

func (a *app) globalFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&a.flags.profile, "profile", "p", defaultProfile, "the cluster to act on")
	flags.StringVarP(&a.flags.output, "output", "o", "", "output format: text, json or yaml, as the command allows")
	flags.CountVarP(&a.flags.verbose, "verbose", "v", "more detail on stderr")
	flags.BoolVarP(&a.flags.quiet, "quiet", "q", false, "warnings and errors only")
	flags.StringVar(&a.flags.config, "config", "", "path of the settings file")
	refuseGlobals(flags)
}

// unknownCommand refuses arguments of a command that only has subcommands.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, command := range cmd.Commands() {
		if command.IsAvailableCommand() {
			names = append(names, command.Name())
		}
	}
	return fail.New(fail.FlagInvalid, cmd.CommandPath(), "there is no command %q", args[0]).
		WithHint("%s", didYouMean(args[0], names, "See the list of commands.")).WithNext("%s --help", cmd.CommandPath())
}

// group makes a command that only has subcommands.
func group(command *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	command.Args = unknownCommand
	if command.RunE == nil {
		command.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, one := range commands {
		one.DisableFlagsInUseLine = true
		command.AddCommand(one)
	}
	return command
}

// flagError makes errors of flags ours. For a command that does not exist, its flags are not the problem.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if rest := cmd.Flags().Args(); cmd.HasSubCommands() && len(rest) > 0 {
		return unknownCommand(cmd, rest)
	}
	hint := "See the command's flags."
	if absent, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden {
				names = append(names, "--"+flag.Name)
			}
		})
		hint = didYouMean("--"+absent.GetSpecifiedName(), names, hint)
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return badValue(bad.GetFlag().Name, bad.GetValue(), plainly(bad.GetFlag(), bad.Unwrap())).WithHint("%s", hint).WithNext("%s --help", cmd.CommandPath())
	}
	return fail.New(fail.FlagInvalid, cmd.CommandPath(), "%w", err).WithHint("%s", hint).WithNext("%s --help", cmd.CommandPath())
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error { return countArgs(0, 0)(cmd, args) }

// countArgs asks for at least low and, unless high is negative, at most high arguments.
func countArgs(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var why string
		switch {
		case len(args) < low:
			why = "an argument is missing"
		case high == 0 && len(args) > 0:
			why = fmt.Sprintf("it takes no arguments, and got %q", strings.Join(args, " "))
		case high >= 0 && len(args) > high:
			why = fmt.Sprintf("it takes at most %d arguments, and got %d", high, len(args))
		default:
			return nil
		}
		return fail.New(fail.FlagInvalid, cmd.CommandPath(), "%s", why).WithHint("It is used as: %s", cmd.UseLine()).WithNext("%s --help", cmd.CommandPath())
	}
}

// nodeFlag adds --node, for the habits of a minikube user: there is one node.
func nodeFlag(flags *pflag.FlagSet, shorthand string) {
	flags.StringP("node", shorthand, "skiff", "the node")
}

// checkNode refuses any node but the one.
func checkNode(cmd *cobra.Command) error {
	if node, _ := cmd.Flags().GetString("node"); node != "skiff" {
		return fail.New(fail.FlagInvalid, "read --node "+node, "a cluster has the node skiff and no other")
	}
	return nil
}

// agent is the process of one cluster; package cluster starts it.
func (a *app) agent() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent --config FILE", Short: "Run the agent of one cluster (skiff starts it itself)", Hidden: true, Args: noArgs,
	}
	file := cmd.Flags().String("config", "", "the agent's configuration")
	// The agent reads no settings of the user's: the flag --config of the others is not its own.
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return nil }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := a.deps.RunAgent(cmd.Context(), *file)
		if errors.Is(err, context.Canceled) {
			return nil // being told to end is how an agent ends
		}
		return err
	}
	return cmd
}
