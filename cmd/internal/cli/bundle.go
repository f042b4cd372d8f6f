package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
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
		Use: "load FILE|DIR", Short: "Make the guest image of a bundle the one of new clusters", Args: countArgs(1, 1), ValidArgsFunction: completeFiles,
		Long: `Make the guest image of a bundle, or of the folder of an OCI image layout, the one that new clusters get, and print
its version of Kubernetes and its folder. Every byte is held to its digest: a file that is cut off or changed is refused, and
then nothing is changed. Clusters that are there keep their image.`,
		Example:     `  skiff bundle load skiff-image.tar`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, args []string) error {
			manager := a.manager()
			loaded, err := manager.LoadBundle(cmd.Context(), args[0], a.sink(cmd.Context()))
			if err != nil {
				return err
			}
			if manager.Built != a.home.Built() {
				a.out.Warn("", "New clusters do not get it, as the setting image names another: %s.", a.settings.text("image"))
			}
			return a.out.Data(loaded, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Kubernetes %s\t%s\n", loaded.KubernetesVersion, loaded.Folder)
				return err
			})
		},
	}
}
