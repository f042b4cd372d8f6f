package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/images"
)

// versions is what `version -o json` prints.
type versions struct {
	Skiff      string            `json:"skiffVersion"`
	Commit     string            `json:"commit"`
	Kubernetes string            `json:"kubernetesVersion"`
	Components map[string]string `json:"components,omitempty"`
}

func (a *app) version() *cobra.Command {
	var short, components bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of skiff and of Kubernetes", Args: noArgs,
		Example: `  skiff version --short
  skiff version --components -o json`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(*cobra.Command, []string) error {
			v := versions{Skiff: a.deps.Version, Commit: a.deps.Commit, Kubernetes: cluster.KubernetesVersion}
			if components {
				manifest, err := images.ReadManifest(a.manager().Built)
				if err != nil {
					return err
				}
				v.Kubernetes, v.Components = manifest.KubernetesVersion, map[string]string{}
				for _, one := range manifest.Components {
					v.Components[one.Name] = one.Version
				}
			}
			return a.out.Data(v, func(w io.Writer) error { return v.write(w, short) })
		},
	}
	cmd.Flags().BoolVar(&short, "short", false, "the version of skiff alone")
	cmd.Flags().BoolVar(&components, "components", false, "also the programs of the guest image")
	return cmd
}

func (v versions) write(w io.Writer, short bool) error {
	if short {
		_, err := fmt.Fprintln(w, v.Skiff)
		return err
	}
	fmt.Fprintf(w, "skiff %s\ncommit: %s\nkubernetes: %s\n", v.Skiff, v.Commit, v.Kubernetes)
	for _, name := range slices.Sorted(maps.Keys(v.Components)) {
		fmt.Fprintf(w, "%s: %s\n", name, v.Components[name])
	}
	return nil
}
