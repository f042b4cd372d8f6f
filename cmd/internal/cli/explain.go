package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// correction is what a flag must be for the same command to work; empty: it must be left out.
type correction struct{ flag, instead string }

// explain adds to an error what only the command line knows: where a value comes from that is to blame, and how the same
// command is given again.
func (a *app) explain(cmd *cobra.Command, err error) {
	var corrections []correction
	unset := []string{}
	failures := failuresIn(err)
	for _, failure := range failures {
		if failure.Flag == "" || a.settings == nil {
			continue
		}
		from := a.cameFrom(cmd, failure.Flag)
		switch {
		case from == fromFile:
			a.blameFile(failure)
		case failure.Again:
			if from == fromEnv && failure.Instead == "" {
				unset = append(unset, "-u", envName(failure.Flag))
			}
			corrections = append(corrections, correction{failure.Flag, failure.Instead})
		}
		if from == fromEnv {
			failure.Op = fmt.Sprintf("read %s=%s", envName(failure.Flag), machine.Quote(a.settings.text(failure.Flag)))
			if failure.Hint == "" {
				failure.Hint = fmt.Sprintf("Give the variable a value that --%s takes, or take it out of the environment.", failure.Flag)
			}
		}
	}
	for _, failure := range failures {
		switch {
		case failure.ID == fail.Interrupted, failure.Next == "" && passing(failure.ID):
			failure.Next = a.again(cmd, nil)
		case failure.Again && a.settings != nil && a.cameFrom(cmd, failure.Flag) != fromFile:
			failure.Next = a.again(cmd, corrections)
			if len(unset) > 0 {
				failure.Next = machine.Cmd{Args: append([]string{"env"}, unset...)}.String() + " " + failure.Next
			}
		}
	}
}

// ours adds to the error of a file that another version of skiff wrote which version this is. Not every layer that reads one knows it.
func (a *app) ours(err error) error {
	known, newer := errors.AsType[*fail.Error](err)
	other, ok := errors.AsType[*store.OtherError](err)
	if !newer || known.ID != fail.StateNewer || !ok {
		return err
	}
	told := *known
	told.Err = fmt.Errorf("written by skiff %s, this is %s %s: %w", other.By, a.deps.Version, a.deps.Commit, other.Err)
	return &told
}

// passing says whether the same command works once what the error's hint names is done, or over.
func passing(id fail.ID) bool {
	return slices.Contains([]fail.ID{fail.KubeconfigUnreadable, fail.KubeconfigNotWritable, fail.ClusterLocked}, id)
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

// again is this command as a shell takes it, with what is to be corrected.
func (a *app) again(cmd *cobra.Command, corrections []correction) string {
	args := a.args
	for _, one := range corrections {
		args = corrected(args, cmd.Flags(), one)
	}
	return machine.Cmd{Args: append([]string{"skiff"}, args...)}.String()
}

// corrected returns args with one flag changed, added or left out, wherever and however it is written.
func corrected(args []string, flags *pflag.FlagSet, c correction) []string {
	group := []string{c.flag}
	switch c.flag {
	case "driver":
		group = append(group, "vm-driver")
	case "ssh-ip-address":
		group = append(group, "ssh-user", "ssh-port") // they are nothing without it
	}
	meant := func(flag *pflag.Flag) bool { return flag != nil && slices.Contains(group, flag.Name) }
	var out []string
	place := -1
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			if place < 0 {
				place = len(out)
			}
			out = append(out, args[i:]...)
			break
		}
		flag, taken := flagAt(args[i:], flags)
		if !meant(flag) {
			out = append(out, args[i:i+taken]...)
		} else if place < 0 {
			place = len(out)
		}
		i += taken - 1
	}
	if place < 0 {
		place = len(out)
	}
	if c.instead == "" {
		return out
	}
	return slices.Insert(out, place, "--"+c.flag, c.instead)
}

// flagAt returns the flag that args begin with, nil where that is none, and how many of args it takes with its value. Of several
// shorthands in one argument the one with a value counts.
func flagAt(args []string, flags *pflag.FlagSet) (flag *pflag.Flag, taken int) {
	word := args[0]
	attached := false
	switch {
	case strings.HasPrefix(word, "--"):
		var name string
		name, _, attached = strings.Cut(word[2:], "=")
		flag = flags.Lookup(name)
	case strings.HasPrefix(word, "-") && len(word) > 1:
		for i := 1; i < len(word); i++ {
			if flag = flags.ShorthandLookup(word[i : i+1]); flag == nil || flag.NoOptDefVal == "" {
				attached = i+1 < len(word)
				break
			}
		}
	}
	if flag == nil || attached || flag.NoOptDefVal != "" || len(args) == 1 {
		return flag, 1
	}
	return flag, 2
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
