package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
)

func (a *app) prune() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "prune", Short: "Free the disk space of caches and unused guest images", Args: noArgs,
		Long: `Free the disk space of caches and unused guest images, and print the size of each. It removes the container images that
clusters have pulled, which are pulled again when they are needed, what was downloaded of guest images and is part of one by now,
or not complete, and the guest images that no cluster, no warm spare and no new cluster uses. Clusters lose nothing. A cluster with --offline can no longer pull from the cache.

The cache of container images is limited to about 10 GiB: the least recently used ones are removed first.`,
		Example: `  skiff prune --dry-run
  skiff prune`,
		Annotations: map[string]string{annotationFormats: "table json yaml"},
		RunE: func(*cobra.Command, []string) error {
			list, problem := a.manager().Prune(dry)
			if problem != nil && len(list) == 0 {
				return problem
			}
			err := a.out.Data(list, func(w io.Writer) error { return writePruned(w, list, dry) })
			if err != nil {
				return err
			}
			return problem
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print what would be removed, and remove nothing")
	return cmd
}

func writePruned(w io.Writer, list []cluster.Spared, dry bool) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "There is nothing to free.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "WHAT\tSIZE\tFOLDER")
	var sum int64
	for _, one := range list {
		sum += one.Bytes
		fmt.Fprintf(table, "%s\t%s\t%s\n", one.Kind, mebibytes(one.Bytes), one.Path)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	word := "freed"
	if dry {
		word = "can be freed; `skiff prune` frees it"
	}
	_, err := fmt.Fprintf(w, "%s %s.\n", mebibytes(sum), word)
	return err
}
