package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/fail"
)

// helpCommands makes help, completion and --help, which are cobra's, refuse words that nobody knows as other commands do.
func (a *app) helpCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Run, cmd.RunE = nil, func(_ *cobra.Command, args []string) error { return a.helpOn(root, args) }
		case "completion":
			group(cmd)
			for _, shell := range cmd.Commands() {
				shell.Args = noArgs
			}
		}
	}
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if rest := cmd.Flags().Args(); cmd.HasSubCommands() && len(rest) > 0 && cmd.Args != nil {
			if a.helpProblem = cmd.Args(cmd, rest); a.helpProblem != nil {
				return
			}
		}
		show(cmd, args)
	})
}

// helpOn prints the help of the command that words name.
func (a *app) helpOn(root *cobra.Command, words []string) error {
	cmd := root
	for i, word := range words {
		at := slices.IndexFunc(cmd.Commands(), func(one *cobra.Command) bool { return one.Name() == word || one.HasAlias(word) })
		if at < 0 && !cmd.HasSubCommands() {
			return fail.New(fail.FlagInvalid, root.CommandPath()+" help", "%s has no commands below it, and %q is none", cmd.CommandPath(), word).
				WithNext("%s --help", cmd.CommandPath())
		}
		if at < 0 {
			return unknownCommand(cmd, words[i:])
		}
		cmd = cmd.Commands()[at]
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	return cmd.Help()
}
