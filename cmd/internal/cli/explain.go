package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// explain adds to an error what only the command line knows: where a value comes from that is to blame.
func (a *app) explain(cmd *cobra.Command, err error) {
	for _, failure := range failuresIn(err) {
		if failure.Flag == "" || a.settings == nil {
			continue
		}
		switch a.cameFrom(cmd, failure.Flag) {
		case fromFile:
			a.blameFile(failure)
		case fromEnv:
			failure.Op = fmt.Sprintf("read %s=%s", envName(failure.Flag), machine.Quote(a.settings.text(failure.Flag)))
			if failure.Hint == "" {
				failure.Hint = fmt.Sprintf("Give the variable a value that --%s takes, or take it out of the environment.", failure.Flag)
			}
		}
	}
}

// cameFrom says where the value of a flag comes from. What is stored with a cluster is nobody's choice of today.
func (a *app) cameFrom(cmd *cobra.Command, flag string) source {
	from := a.settings.from(flag)
	if alias := cmd.Flags().Lookup("vm-driver"); flag == "driver" && alias != nil && alias.Changed {
		return fromFlag
	}
	if from == fromFile && a.stored(flag) {
		return fromDefault
	}
	return from
}

// blameFile names the settings file as the place of a bad value, and the command that mends it.
func (a *app) blameFile(failure *fail.Error) {
	key := failure.Flag
	failure.Op = fmt.Sprintf("read settings %s: %s %q", a.settings.path, key, a.settings.text(key))
	if fail.Lookup(failure.ID).Code == fail.CodeUsage || slices.Contains([]fail.ID{fail.MemoryTooSmall, fail.CPUsTooFew, fail.AddonNotFound, fail.DriverNotFound}, failure.ID) {
		failure.ID = fail.ConfigInvalid
	}
	if failure.Hint == "" {
		failure.Hint = fmt.Sprintf("Without that line the default returns; --%s says otherwise for one command.", key)
	}
	failure.Next = a.configCommand("unset", key)
	if failure.Again && failure.Instead != "" {
		failure.Next = a.configCommand("set", key, failure.Instead)
	}
}

// configCommand is a command that changes the settings file of this run.
func (a *app) configCommand(args ...string) string {
	call := append([]string{"skiff", "config"}, args...)
	if a.flags.config != "" {
		call = append(call, "--config", a.flags.config)
	}
	return machine.Cmd{Args: call}.String()
}

// failuresIn returns the errors of ours that are shown: the outermost of each branch.
func failuresIn(err error) []*fail.Error {
	if failure, ok := err.(*fail.Error); ok { //nolint:errorlint // each wrapped error is looked at on its own
		return []*fail.Error{failure}
	}
	switch wrapped := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		var failures []*fail.Error
		for _, one := range wrapped.Unwrap() {
			failures = append(failures, failuresIn(one)...)
		}
		return failures
	case interface{ Unwrap() error }:
		return failuresIn(errors.Unwrap(err))
	}
	return nil
}
