package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

// advice is what `skiff` alone prints: how the cluster is, and the commands that make sense then.
type advice struct {
	state string
	next  []suggestion
}

// suggestion is a command and what it does.
type suggestion struct{ command, does string }

// whatNext prints what to do next. Whatever state the cluster is in, that is an answer and no failure.
func (a *app) whatNext(cmd *cobra.Command) error {
	profile := a.profile()
	if err := config.ValidateProfile(profile); err != nil {
		return fail.About(err, "profile")
	}
	status, err := a.manager().Status(cmd.Context(), profile)
	if ctx := cmd.Context(); ctx.Err() != nil {
		return ctx.Err()
	}
	own := ""
	if profile != a.currentDefault() {
		own = " -p " + profile
	}
	var advice advice
	switch {
	case err != nil:
		advice = a.ofProblem(profile, err)
	case status.Host == cluster.Nonexistent && status.Kubelet == cluster.Nonexistent:
		if advice, err = a.ofNone(profile, own); err != nil {
			return err
		}
	default:
		advice = a.ofStatus(status, own)
	}
	return advice.write(a.written)
}

func (s advice) write(w io.Writer) error {
	fmt.Fprintln(w, s.state)
	table := tabwriter.NewWriter(w, 0, 0, 4, ' ', 0)
	head := "Next:  "
	for _, one := range append(s.next, suggestion{"skiff --help", "list all commands"}) {
		fmt.Fprintf(table, "%s%s\t# %s\n", head, one.command, one.does)
		head = "       "
	}
	return table.Flush()
}

// ofNone is for a cluster that does not exist.
func (a *app) ofNone(profile, own string) (advice, error) {
	others, err := a.home.Profiles()
	if err != nil {
		return advice{}, err
	}
	if len(others) == 0 {
		return advice{"There is no cluster yet.", []suggestion{
			{"skiff start" + own, "create one"}, {"skiff doctor", "check first that this computer has what it needs"},
		}}, nil
	}
	return advice{fmt.Sprintf("There is no cluster %s; there are: %s.", profile, strings.Join(others, ", ")), []suggestion{
		{"skiff start" + own, "create it"}, {"skiff profile set " + others[0], "use that one from now on"},
	}}, nil
}

// ofProblem is for a cluster of which no one can tell how it is.
func (a *app) ofProblem(profile string, err error) advice {
	next := suggestion{"skiff doctor", "check everything that skiff needs"}
	if known, ok := errors.AsType[*fail.Error](err); ok && known.Next != "" {
		next = suggestion{known.Next, "fix that"}
	}
	return advice{fmt.Sprintf("Cluster %s cannot be used: %s.", profile, ui.Clean([]byte(err.Error()))), []suggestion{next}}
}

// ofStatus is for a cluster that exists.
func (a *app) ofStatus(status cluster.Status, own string) advice {
	say := func(format string, args ...any) string {
		text := fmt.Sprintf("Cluster "+status.Name+" "+format, args...)
		if status.Note != "" {
			return text + ": " + status.Note + "."
		}
		return text + "."
	}
	start := suggestion{"skiff start" + own, "repair it"}
	logs := suggestion{"skiff logs" + own, "see what happened"}
	switch status.Host {
	case cluster.Running:
		if oneWord(status) != cluster.Running {
			return advice{say("is running, but Kubernetes does not answer"), []suggestion{start, logs}}
		}
		where := ""
		if c, err := a.manager().Load(status.Name); err == nil {
			where = " at " + c.IP().String()
		}
		return advice{say("is running%s", where), []suggestion{
			{"skiff kubectl" + own + " -- get pods -A", "see what runs in it"}, {"skiff dashboard" + own, "see it in the browser"}, {"skiff stop" + own, "save it for later"},
		}}
	case cluster.Paused:
		status.Note = "" // it repeats the command
		return advice{say("is paused"), []suggestion{{"skiff unpause" + own, "resume it"}}}
	case cluster.Stopped:
		return advice{say("is stopped"), []suggestion{{"skiff start" + own, "resume it"}, {"skiff delete" + own, "remove it"}}}
	case cluster.Nonexistent:
		return advice{say("has no machine; its first start was interrupted, or the machine was removed"), []suggestion{start, {"skiff delete" + own, "remove what is left"}}}
	}
	return advice{say("does not work"), []suggestion{start, {"skiff doctor", "check everything that skiff needs"}}}
}
