package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (a *app) tunnel() *cobra.Command {
	return &cobra.Command{
		Use: "tunnel", Short: "Show what is published (no tunnel is needed)", Args: noArgs,
		Long: `Show what of the cluster is published on this computer, and where. No tunnel is needed: the agent publishes
ingress and every Service of type LoadBalancer on the cluster's address, in the background.`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager := a.manager()
			c, err := manager.Load(a.profile())
			if err != nil {
				return err
			}
			a.out.Info(a.profile(), "No tunnel is needed: Services of type LoadBalancer and ingress are published on %s.", c.Address)
			published, err := manager.Published(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			return a.out.Data(published, func(w io.Writer) error {
				table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
				for _, one := range published {
					what := one.Name
					if one.Service != "" {
						what = one.Namespace + "/" + one.Service + " " + one.Name
					}
					fmt.Fprintf(table, "%s\t%s/%s\t%s\n", what, one.Host, one.Protocol, or(one.Error, one.Note))
				}
				return table.Flush()
			})
		},
	}
}
