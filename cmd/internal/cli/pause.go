package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/cluster"
)

func (a *app) pause() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pause", Short: "Freeze the whole machine: it keeps its memory and uses no processor",
		Long: `Freeze the whole machine: it keeps its memory and uses no processor. Only "skiff unpause" and "skiff start" resume it.
A machine that was paused by "skiff start --auto-pause 30m" resumes by itself at the next request.`,
		Example: `  skiff pause
  skiff unpause`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.halt(cmd.Context(), (*cluster.Manager).Pause, "Cluster %s is paused.", "Cluster %s is paused already.")
		},
	}
	ignoredNamespaces(cmd.Flags())
	return cmd
}

func (a *app) unpause() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unpause", Short: "Resume a paused cluster, and set its clock",
		Example:     `  skiff unpause`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.halt(cmd.Context(), (*cluster.Manager).Unpause, "Cluster %s is resumed.", "Cluster %s is not paused.")
		},
	}
	ignoredNamespaces(cmd.Flags())
	return cmd
}

// halt pauses or unpauses, and says what came of it.
func (a *app) halt(
	ctx context.Context, do func(*cluster.Manager, context.Context, string, cluster.Sink) (bool, error), done, already string,
) error {
	changed, err := do(a.manager(), ctx, a.profile(), a.sink(ctx))
	if err != nil {
		return err
	}
	if !changed {
		done = already
	}
	a.out.Info(a.profile(), done, a.profile())
	return nil
}

// ignoredNamespaces adds minikube's flags that choose namespaces: the machine is paused as a whole.
func ignoredNamespaces(flags *pflag.FlagSet) {
	flags.BoolP("all-namespaces", "A", false, "has no effect: the whole machine is paused")
	flags.StringSliceP("namespaces", "n", nil, "has no effect: the whole machine is paused")
	_ = flags.MarkHidden("all-namespaces") // fails for a flag that is not there, and it is
	_ = flags.MarkHidden("namespaces")
}
