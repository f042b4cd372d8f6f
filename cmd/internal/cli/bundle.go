package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/images/download"
)

func (a *app) bundle() *cobra.Command {
	return group(&cobra.Command{
		Use: "bundle", Short: "Carry the guest image to computers without a network, as one file",
		Long: `Carry the guest image to computers without a network, as one file. With it and the program skiff a cluster is made
there with "skiff start --offline".`,
		Example: `  skiff bundle save skiff-image.tar     # where the guest image is
  skiff bundle load skiff-image.tar     # where there is no network
  skiff start --offline`,
	}, a.bundleSave(), a.bundleLoad())
}

func (a *app) bundleSave() *cobra.Command {
	return &cobra.Command{
		Use: "save FILE", Short: "Write the guest image to a file", Args: countArgs(1, 1), ValidArgsFunction: completeFiles,
		Long: `Write the guest image that new clusters get to a file, and print its name and size. The file is a tar archive of an
OCI image layout; registries and their tools can carry it too. A file of that name is replaced once the new one is whole.
Beside it as much room again is needed for a moment. The same image gives the same file.`,
		Example:     `  skiff bundle save skiff-image.tar`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, args []string) error {
			saved, err := a.manager().SaveBundle(cmd.Context(), args[0], a.sink(cmd.Context()))
			if err != nil {
				return err
			}
			return a.out.Data(saved, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s\t%s\n", saved.File, mebibytes(saved.Bytes))
				return err
			})
		},
	}
}

func (a *app) bundleLoad() *cobra.Command {
	return &cobra.Command{
		Use: "load FILE|DIR|URL", Short: "Make the guest image of a bundle the one of new clusters", Args: countArgs(1, 1), ValidArgsFunction: completeFiles,
		Long: `Make the guest image of a bundle, or of the folder of an OCI image layout, the one that new clusters get, and print
its version of Kubernetes and its folder. Every byte is held to its digest: a file that is cut off or changed is refused, and
then nothing is changed. Clusters that are there keep their image.

A URL is that of such a folder, or of a repository (oci://), and is written with the digest of its index.json. What is cut off
continues when the command is run again.`,
		Example: `  skiff bundle load skiff-image.tar
  skiff bundle load https://images.lan/skiff@sha256:DIGEST`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := a.loadImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if named := cluster.NamedImage(a.home, a.imageSearch()); named != "" && named != loaded.Folder {
				a.out.Warn("", "New clusters do not get it, as %s.", a.namer())
			}
			return a.out.Data(loaded, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Kubernetes %s\t%s\n", loaded.KubernetesVersion, loaded.Folder)
				return err
			})
		},
	}
}

// loadImage loads what is at a path, or downloads what is at a URL.
func (a *app) loadImage(ctx context.Context, from string) (cluster.Bundle, error) {
	reference, err := download.ParseReference(from)
	if err == nil && reference.Network() {
		return a.manager().PullImage(ctx, from, a.imageSearch(), a.sink(ctx))
	}
	return a.manager().LoadBundle(ctx, from, a.sink(ctx))
}

// namer says what names another image than the one that was built or loaded last.
func (a *app) namer() string {
	if named := a.settings.text("image"); named != "" {
		if reference, err := download.ParseReference(named); err == nil {
			named = reference.String() // without a login
		}
		return "the setting image names another: " + named
	}
	return "the one that came with skiff counts before it: " + cluster.BesideProgram(a.deps.Program)
}
