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

// Build says how the program was built, and so whether it has the driver for libvirt, which loads libvirt's library.
type Build string

// The builds that there are.
const (
	BuildLibvirt Build = "libvirt" // with that driver; needs the C library that it was linked with, or a newer one
	BuildStatic  Build = "static"  // without it; runs on every Linux
	BuildPlain   Build = "plain"   // without it, on macOS or by `go build` alone
)

// words says the same to people.
func (b Build) words() string {
	switch b {
	case BuildLibvirt:
		return "with the driver for libvirt"
	case BuildStatic:
		return "static, without the driver for libvirt"
	case BuildPlain:
		return "without the driver for libvirt"
	}
	return string(b)
}

// versions is what `version -o json` prints.
type versions struct {
	Skiff      string            `json:"skiffVersion"`
	Commit     string            `json:"commit"`
	Build      Build             `json:"build"`
	Kubernetes string            `json:"kubernetesVersion"`
	Components map[string]string `json:"components,omitempty"`
}

func (a *app) version() *cobra.Command {
	var short, components bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of skiff and of Kubernetes", Args: noArgs,
		Long: `Print the version of skiff and of Kubernetes, and which build of skiff it is: static, which runs on every Linux, or with the
driver for libvirt. In -o json that is libvirt, static or, on macOS, plain.`,
		Example: `  skiff version --short
  skiff version --components -o json`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(*cobra.Command, []string) error {
			v := versions{Skiff: a.deps.Version, Commit: a.deps.Commit, Build: a.deps.Build, Kubernetes: cluster.KubernetesVersion}
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
	fmt.Fprintf(w, "skiff %s\ncommit: %s\nbuild: %s\nkubernetes: %s\n", v.Skiff, v.Commit, v.Build.words(), v.Kubernetes)
	for _, name := range slices.Sorted(maps.Keys(v.Components)) {
		fmt.Fprintf(w, "%s: %s\n", name, v.Components[name])
	}
	return nil
}
