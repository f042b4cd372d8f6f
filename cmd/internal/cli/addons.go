package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/cluster"
)

func (a *app) addons() *cobra.Command {
	return group(&cobra.Command{Use: "addons", Short: "List, enable and disable addons"}, a.addonsList(),
		a.addonsChange("enable", "Enable addons; returns when they are ready", "is enabled", (*cluster.Manager).EnableAddon),
		a.addonsChange("disable", "Disable addons", "is disabled", (*cluster.Manager).DisableAddon))
}

func (a *app) addonsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the addons and whether they are enabled", Args: noArgs,
		Example:     `  skiff addons list -o json`,
		Annotations: map[string]string{annotationFormats: "table json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.settings.from("profile") >= fromEnv { // without one that was named it is the catalog that is asked for
				if _, err := a.manager().Load(a.profile()); err != nil {
					return err
				}
			}
			list, err := a.manager().Addons(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			type shape struct{ Profile, Status string }
			shapes := map[string]shape{}
			for _, addon := range list {
				shapes[addon.Name] = shape{addon.Profile, enabledWord(addon.Enabled)}
			}
			return a.out.Data(shapes, func(w io.Writer) error {
				table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
				fmt.Fprintln(table, "NAME\tSTATUS\tDESCRIPTION")
				for _, addon := range list {
					fmt.Fprintf(table, "%s\t%s\t%s\n", addon.Name, enabledWord(addon.Enabled), addon.Description)
				}
				return table.Flush()
			})
		},
	}
}

func enabledWord(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

// addonsChange makes the command that does one thing to the addons named.
func (a *app) addonsChange(name, short, done string, do func(*cluster.Manager, context.Context, string, string, cluster.Sink) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " NAME...", Short: short, Args: countArgs(1, -1),
		Example:           "  skiff addons " + name + " ingress",
		Annotations:       map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		ValidArgsFunction: a.completeAddons(name == "disable"),
		RunE: func(cmd *cobra.Command, names []string) error {
			var problems []error
			for _, addon := range names { // all names are checked before the first is changed
				_, err := addons.Find(addon)
				problems = append(problems, err)
			}
			if err := errors.Join(problems...); err != nil {
				return err
			}
			for _, addon := range names {
				if err := do(a.manager(), cmd.Context(), a.profile(), addon, a.sink(cmd.Context())); err != nil {
					return err
				}
				a.out.Info(a.profile(), "Addon %s %s.", addon, done)
			}
			return nil
		},
	}
}
