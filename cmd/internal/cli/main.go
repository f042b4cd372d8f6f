// Package cli is the command line: it turns arguments, environment and the settings file into calls of package cluster,
// and what comes back into words and an exit code. How anything is done is not its business.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

// Streams is where commands read and write.
type Streams = ui.Streams

// Deps is what the commands work with. Tests hand in fakes.
type Deps struct {
	Version, Commit string
	Build           Build
	Program         string                   // path of this program, links resolved; empty: no guest image comes with it
	ImageIndex      string                   // digest of the index of guest images that it was built for; empty: none
	Env             func(name string) string // the process's environment
	Facts           func() host.Facts
	Drivers         func(context.Context, store.Home) func(name string) (drivers.Driver, error)
	// AllDrivers returns the drivers that "auto" tries, in that order, and those that must be named.
	AllDrivers func(store.Home) (auto, named []drivers.Driver)
	Agents     cluster.Agents
	Kubernetes cluster.Kubernetes
	AwakeGrace time.Duration // as of cluster.Manager
	// RunAgent is the whole life of an agent's process.
	RunAgent func(ctx context.Context, configFile string) error
	// Background, when not nil, starts this program with these arguments so that it outlives the command, and returns at once.
	// What it prints goes to the file log.
	Background func(log string, args ...string) error
	// Observe, when not nil, is told every event before it is shown. A command waits for it to return.
	Observe func(context.Context, cluster.Event)
	// NewID makes the IDs of JSON events; nil for random ones.
	NewID func() string
	// Now is the time of JSON events; nil for the computer's.
	Now func() time.Time
}

// exitError ends the process with a code and no message: what there is to say was said by the command that skiff ran.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit with status %d", e.code) }

// Main runs the command that args (without the program's name) ask for, and returns the exit code. The first Ctrl-C or
// SIGTERM ends the command in order, and so does the end of the terminal; a second Ctrl-C or SIGTERM ends the process at once.
func Main(ctx context.Context, args []string, streams Streams, deps Deps) int {
	hurry := &rush{}
	ctx, stop := untilSignal(ctx, hurry)
	defer stop()

	a := &app{deps: deps, streams: streams, args: args, command: strings.Join(append([]string{"skiff"}, args...), " "), ctx: ctx, hurry: hurry}
	a.out = ui.New(streams, ui.Options{Env: deps.Env})
	root := a.root() //nolint:contextcheck // commands get it from cobra
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.helpProblem
	}
	if failed := a.written.Err(); failed != nil && !fail.Known(err) {
		err = failed
	}
	a.out.Close()
	return a.code(ctx, cmd, err)
}

// codeUnread is the exit code when nobody reads the output any more: the shell's of a process that SIGPIPE ended. There is
// nothing to say, least of all when it was `head` that had enough.
const codeUnread = 128 + int(syscall.SIGPIPE)

// code shows the error and says how the process ends.
func (a *app) code(ctx context.Context, cmd *cobra.Command, err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case ui.Unread(a.streams, err):
		return codeUnread
	}
	if ctx.Err() != nil && !fail.Is(err, fail.Interrupted) {
		err = fail.New(fail.Interrupted, cmd.CommandPath(), "%w", context.Cause(ctx))
	}
	err = a.ours(a.homeUnusable(err))
	a.explain(cmd, err)
	code := a.out.Fail(err)
	if cmd.Name() == statusName {
		return statusCannotTell + code
	}
	return code
}

// app is one run of skiff.
type app struct {
	deps        Deps
	streams     Streams
	args        []string
	command     string          // as it was typed; locks show it
	ctx         context.Context //nolint:containedctx // of the whole run; drivers are looked for in it
	hurry       *rush
	flags       globals
	settings    *settings
	helpProblem error      // of a command whose help was asked for
	written     *ui.Output // what cobra prints by itself
	completing  bool       // a shell asks what a word may become
	exists      bool       // there is a cluster already, whose settings are not those of the settings file
	home        store.Home
	out         *ui.Printer
}

// globals are the flags of every command.
type globals struct {
	profile string
	output  string
	verbose int
	quiet   bool
	config  string
}

// prepare reads the settings, once flags are parsed and before a command runs.
func (a *app) prepare(cmd *cobra.Command) error {
	format, err := formatOf(cmd, a.flags.output)
	if err != nil {
		return err
	}
	a.out = ui.New(a.streams, ui.Options{
		Format: format, Events: cmd.Annotations[annotationEvents] != "", Quiet: a.flags.quiet, Verbose: a.flags.verbose,
		Env: a.deps.Env, NewID: a.deps.NewID, Now: a.deps.Now,
	})
	if cmd.Annotations[annotationFlows] == "" {
		outlivePipes()
	}
	if err := unsupported(cmd); err != nil {
		return err
	}
	if a.home, err = store.Locate(a.deps.Env); err != nil {
		return fail.New(fail.FlagInvalid, "find skiff's folder", "%w", err)
	}
	if err := a.homeIsFolder(); err != nil {
		return err
	}
	if err := a.home.CheckRun(); err != nil && cmd.Name() != "doctor" { // which says it among all else, and repairs the mode
		return err
	}
	fresh := cmd.Annotations[annotationMakesSettings] != ""
	if a.settings, err = readSettings(a.home, a.flags.config, a.deps.Env, cmd.Flags(), fresh); err != nil {
		return err
	}
	if slices.Contains([]string{cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, cmd.Name()) {
		a.completing = true // the command whose words are completed is prepared too
	}
	if err := a.settle(cmd); err != nil || a.completing || !cmd.HasParent() {
		return err
	}
	return fail.About(config.ValidateProfile(a.profile()), "profile")
}

// profile is the cluster to act on.
func (a *app) profile() string { return a.settings.text("profile") }

// manager returns the cluster manager of this run.
func (a *app) manager() *cluster.Manager {
	built := cmp.Or(cluster.NamedImage(a.home, a.imageSearch()), a.home.Built())
	auto, named := a.deps.AllDrivers(a.home)
	return &cluster.Manager{
		Home:       a.home,
		Drivers:    a.deps.Drivers(a.ctx, a.home),
		Every:      append(auto, named...),
		HostKeys:   a.hostKey,
		Agents:     a.deps.Agents,
		Kubernetes: a.deps.Kubernetes,
		AwakeGrace: a.deps.AwakeGrace,
		Facts:      a.deps.Facts(),
		Version:    a.deps.Version + " " + a.deps.Commit,
		Command:    a.command,
		Kubeconfig: a.deps.Env("KUBECONFIG"),
		Built:      built,
		Hurry:      a.hurry.listen,
	}
}

// imageSearch is where this run looks for a guest image.
func (a *app) imageSearch() cluster.ImageSearch {
	return cluster.ImageSearch{
		Image: a.settings.text("image"), Program: a.deps.Program, Mirrors: a.settings.list("image-mirrors"), Index: digest.Digest(a.deps.ImageIndex),
		Offline: a.settings.yes("offline"), CAFile: a.settings.text("ca-file"), Env: a.deps.Env,
	}
}

// sink shows events, after those who observe them.
func (a *app) sink(ctx context.Context) cluster.Sink {
	return func(e cluster.Event) {
		if a.deps.Observe != nil {
			a.deps.Observe(ctx, e)
		}
		a.out.Event(e)
	}
}

// Annotations of commands.
const (
	annotationFormats = "formats" // formats of --output besides text
	annotationEvents  = "events"  // with -o json, stdout is a stream of events
	// annotationMakesSettings is of commands that make the settings file when it is not there.
	annotationMakesSettings = "makes-settings"
	annotationFlows         = "flows" // it only passes on what comes, so it ends as soon as nobody reads that
)

// formatOf checks --output against what the command can print.
func formatOf(cmd *cobra.Command, output string) (ui.Format, error) {
	if output == "" {
		return ui.Text, nil
	}
	allowed := append([]string{"text"}, strings.Fields(cmd.Annotations[annotationFormats])...)
	if slices.Contains(allowed, output) {
		return ui.Format(output), nil
	}
	return "", fail.New(fail.FlagInvalid, "read --output "+output, "%s prints %s", cmd.CommandPath(), strings.Join(allowed, ", "))
}
