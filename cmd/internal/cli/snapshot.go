package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
)

func (a *app) snapshot() *cobra.Command {
	return group(&cobra.Command{
		Use: "snapshot", Short: "Save, restore and delete states of the whole cluster",
		Long: `Save states of the whole cluster, disk and memory, and restore them. A snapshot has its own copy of the memory; of the
disk it takes only what changes afterwards.`,
		Example: `  skiff snapshot save clean --description "before the upgrade"
  skiff snapshot restore clean
  skiff snapshot list`,
	}, a.snapshotSave(), a.snapshotRestore(), a.snapshotList(), a.snapshotDelete())
}

func (a *app) snapshotSave() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use: "save [NAME]", Short: "Save the state of the cluster", Args: countArgs(0, 1),
		Long: `Save the state of the cluster, disk and memory. A running cluster continues to run; it freezes for less than a
second. Without NAME the snapshot is named after the time. Its name and size are printed.`,
		Example: `  skiff snapshot save
  skiff snapshot save clean --description "before the upgrade"`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.ContainsFunc(description, unicode.IsControl) {
				return badValue("description", description, errors.New("it has control characters; it is one line of text"))
			}
			options := cluster.SaveOptions{Profile: a.profile(), Description: description}
			if len(args) == 1 {
				options.Name = args[0]
			}
			saved, err := a.manager().SaveSnapshot(cmd.Context(), options, a.sink(cmd.Context()))
			if err != nil {
				return err
			}
			if saved.Unquiet != "" {
				a.out.Warn(a.profile(), "snapshot %s was saved while Kubernetes ran on: %s", saved.Name, saved.Unquiet)
			}
			if saved.Frozen > 0 {
				a.out.Info(a.profile(), "Cluster %s stood still for %s.", a.profile(), ui.Duration(saved.Frozen))
			}
			return a.out.Data(saved, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s\t%s\n", saved.Name, mebibytes(saved.Size))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "one line about it, for the list")
	return cmd
}

func (a *app) snapshotRestore() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "restore NAME", Short: "Restore a snapshot", Args: countArgs(1, 1),
		Long: `Restore a snapshot, disk and memory. A cluster that ran when it was saved runs afterwards. The present state of the
cluster is lost; save a snapshot of it first to be able to return to it.`,
		Example: `  skiff snapshot restore clean
  skiff snapshot restore clean --dry-run`,
		Annotations:       map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		ValidArgsFunction: a.completeSnapshots,
		RunE: func(cmd *cobra.Command, args []string) error {
			began := time.Now()
			options := cluster.RestoreOptions{Profile: a.profile(), Name: args[0], DryRun: dryRun, WaitTimeout: 6 * time.Minute}
			if dryRun {
				restored, err := a.manager().RestoreSnapshot(cmd.Context(), options, nil)
				if err != nil {
					return err
				}
				return a.out.Data(planOf(restored.Plan), func(w io.Writer) error {
					_, err := fmt.Fprint(w, restored.Plan)
					return err
				})
			}
			if _, err := a.manager().RestoreSnapshot(cmd.Context(), options, a.sink(cmd.Context())); err != nil {
				return err
			}
			a.out.Info(a.profile(), "Cluster %s is back at snapshot %s after %s.", a.profile(), args[0], ui.Duration(time.Since(began)))
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done, without doing it")
	return cmd
}

func (a *app) snapshotList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the cluster's snapshots and their sizes on disk", Args: noArgs,
		Example:     `  skiff snapshot list -o json`,
		Annotations: map[string]string{annotationFormats: "table json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.manager().Snapshots(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			for _, one := range list {
				if one.Problem != "" {
					a.out.Warn(a.profile(), "snapshot %s cannot be restored: %s", one.Name, one.Problem)
				}
			}
			return a.out.Data(list, func(w io.Writer) error { return writeSnapshots(w, list) })
		},
	}
}

func writeSnapshots(w io.Writer, list []cluster.Snapshot) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "There are no snapshots.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tCREATED\tSIZE\tKUBERNETES\tSTATE\tDESCRIPTION")
	for _, one := range list {
		state := cluster.Stopped
		switch {
		case one.Problem != "":
			state = "Broken"
		case one.Unquiet != "":
			state = cluster.Running + " (not quiesced)"
		case one.Running:
			state = cluster.Running
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", one.Name, one.Created.Local().Format(time.DateTime), mebibytes(one.Size), one.KubernetesVersion, state, ui.Line(one.Description))
	}
	return table.Flush()
}

// mebibytes writes an amount of bytes as people read it.
func mebibytes(bytes int64) string {
	const half = 1 << 19
	return fmt.Sprintf("%d MiB", (bytes+half)>>20)
}

func (a *app) snapshotDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Remove a snapshot; the cluster and the other snapshots stay", Args: countArgs(1, 1),
		Example:           `  skiff snapshot delete clean`,
		Annotations:       map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		ValidArgsFunction: a.completeSnapshots,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.manager().DeleteSnapshot(cmd.Context(), a.profile(), args[0], a.sink(cmd.Context())); err != nil {
				return err
			}
			a.out.Info(a.profile(), "Snapshot %s is deleted.", args[0])
			return nil
		},
	}
}
