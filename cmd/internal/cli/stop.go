package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

func (a *app) stop() *cobra.Command {
	var all, shutdown bool
	cmd := &cobra.Command{
		Use: "stop", Short: "Suspend the cluster, so that start resumes it within seconds",
		Long: `Suspend the cluster and end its machine. The memory is saved on disk, so that the next start resumes the cluster within
seconds. With --shutdown the machine is powered off instead, the next start boots it, and memory that an earlier stop saved
is discarded. Drivers that cannot save memory always power off.`,
		Example: `  skiff stop
  skiff stop --shutdown    # power it off
  skiff stop --all`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			profiles := []string{a.profile()}
			if all {
				err := a.notBoth(cmd)
				if err != nil {
					return err
				}
				if profiles, err = a.home.Profiles(); err != nil {
					return err
				}
				if len(profiles) == 0 {
					a.out.Info("", "There are no clusters.")
				}
			}
			return a.each(cmd.Context(), profiles, func(ctx context.Context, profile string) error {
				return a.stopOne(ctx, cluster.StopOptions{Profile: profile, Shutdown: shutdown})
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "stop every cluster; not together with -p")
	cmd.Flags().BoolVar(&shutdown, "shutdown", false, "power the machine off instead of saving its memory")
	return cmd
}

// notBoth refuses --all beside a cluster that the command line names: who writes both may well mean that one alone. That of
// the environment or the settings is another matter, as it is there for all commands.
func (a *app) notBoth(cmd *cobra.Command) error {
	if a.settings.from("profile") != fromFlag {
		return nil
	}
	return fail.New(fail.FlagInvalid, cmd.CommandPath(), "--all is for every cluster, and -p for %s alone", a.profile()).
		WithHint("Leave one of them off.").WithNext("%s -p %s", cmd.CommandPath(), a.profile())
}

// each does one thing for several clusters: one that fails does not keep it from the others, Ctrl-C does.
func (a *app) each(ctx context.Context, profiles []string, do func(context.Context, string) error) error {
	var problems []error
	for _, profile := range profiles {
		if err := do(ctx, profile); err != nil {
			problems = append(problems, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(problems...)
}

func (a *app) stopOne(ctx context.Context, o cluster.StopOptions) error {
	stopped, err := a.manager().Stop(ctx, o, a.sink(ctx))
	if err != nil {
		return err
	}
	text := "Cluster %s is stopped"
	if !stopped.Changed {
		text += " already"
	}
	if stopped.Suspended {
		text += "; start resumes it in seconds"
	}
	a.out.Info(o.Profile, text+".", o.Profile)
	return nil
}

// deletion is what `delete` was asked for.
type deletion struct{ all, purge, force, dryRun bool }

func (a *app) delete() *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use: "delete", Short: "Remove the cluster: machine, disk, keys, logs and kubeconfig entry",
		Example: `  skiff delete
  skiff delete -p dev
  skiff delete --all --purge    # also warm spares, the guest image and the settings`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.all {
				if err := a.notBoth(cmd); err != nil {
					return err
				}
			}
			return a.runDelete(cmd.Context(), d)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&d.all, "all", false, "delete every cluster; not together with -p")
	flags.BoolVar(&d.purge, "purge", false, "with --all: also remove every other file of skiff's")
	flags.BoolVar(&d.force, "force", false, "continue when a part cannot be removed cleanly, and delete a cluster of a newer skiff")
	flags.BoolVar(&d.dryRun, "dry-run", false, "print what would be removed, and do nothing")
	return cmd
}

func (a *app) runDelete(ctx context.Context, d deletion) error {
	if d.purge && !d.all {
		return fail.New(fail.FlagInvalid, "skiff delete", "--purge removes every file of skiff's, so it needs --all").WithNext("skiff delete --all --purge")
	}
	profiles := []string{a.profile()}
	if d.all {
		var err error
		if profiles, err = a.leftovers(); err != nil {
			return err
		}
	}
	if d.dryRun {
		return a.showDeletion(profiles, d.purge)
	}
	if d.all && len(profiles) == 0 {
		a.out.Info("", "There are no clusters.")
	}
	err := a.each(ctx, profiles, func(ctx context.Context, profile string) error {
		deleted, err := a.manager().Delete(ctx, cluster.DeleteOptions{Profile: profile, Force: d.force}, a.sink(ctx))
		switch {
		case err != nil:
			return err
		case deleted:
			a.out.Info(profile, "Cluster %s is deleted.", profile)
		default:
			a.out.Info(profile, "There is no cluster %s.", profile)
		}
		return nil
	})
	if err != nil || !d.purge {
		return err
	}
	if _, err := a.manager().DeleteSpares(ctx, nil, a.sink(ctx)); err != nil {
		return err
	}
	return a.purge()
}

// leftovers are all clusters, also those of which only a folder is left.
func (a *app) leftovers() ([]string, error) {
	entries, err := os.ReadDir(a.home.Clusters())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var profiles []string
	for _, entry := range entries {
		if entry.IsDir() && config.ValidateProfile(entry.Name()) == nil {
			profiles = append(profiles, entry.Name())
		}
	}
	return profiles, nil
}

// folders are all places where skiff keeps files.
func (a *app) folders() []string {
	return []string{a.home.State, a.home.Cache, a.home.Run, a.home.Config}
}

// purge removes every file of skiff's.
func (a *app) purge() error {
	var problems []error
	for _, folder := range a.folders() {
		if err := os.RemoveAll(folder); err != nil {
			problems = append(problems, fmt.Errorf("remove %s: %w", folder, err))
		}
	}
	if home := a.deps.Env(homeVariable); home != "" {
		_ = os.Remove(filepath.Clean(home)) // only when nothing else is in it
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	a.out.Info("", "Every file of skiff's is removed.")
	return nil
}

// removal is what a deletion would remove.
type removal struct {
	Profile string   `json:"profile,omitempty"`
	Paths   []string `json:"paths"`
	Context string   `json:"context,omitempty"` // of the kubeconfig
}

func (a *app) showDeletion(profiles []string, purge bool) error {
	removals := []removal{}
	for _, profile := range profiles {
		if err := config.ValidateProfile(profile); err != nil {
			return err
		}
		files := a.home.Cluster(profile)
		if _, err := os.Lstat(files.Dir); err == nil {
			removals = append(removals, removal{Profile: profile, Paths: []string{files.Dir, files.Run}, Context: profile})
		}
	}
	if purge {
		removals = append(removals, removal{Paths: a.folders()})
	}
	return a.out.Data(removals, func(w io.Writer) error {
		if len(removals) == 0 {
			fmt.Fprintln(w, "Nothing to delete.")
		}
		for _, one := range removals {
			if one.Profile != "" {
				fmt.Fprintf(w, "cluster %s: its machine and its kubeconfig entry, and\n", one.Profile)
			}
			for _, path := range one.Paths {
				fmt.Fprintf(w, "  %s\n", path)
			}
		}
		return nil
	})
}
