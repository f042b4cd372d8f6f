package cli

import (
	"fmt"
	"io"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// statusName is the command whose exit code is a bitmask; where it cannot tell, it exits with statusCannotTell plus the
// code of the error.
const (
	statusName       = "status"
	statusCannotTell = 64

	hostDown       = 1 // there is no machine that runs or is paused
	clusterDown    = 2 // the API server or the kubelet does not run, or is paused
	kubeconfigLost = 4 // the kubeconfig does not lead to the cluster
)

func (a *app) status() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: statusName, Short: "Show the state of the cluster, in words and as the exit code",
		Long: `Show the state of the cluster. The exit code is the sum of 1 when the machine does not run, 2 when Kubernetes
does not or is paused, and 4 when the kubeconfig does not point to it; 64 and more mean that the state is unknown.`,
		Example: `  skiff status
  skiff status -o json
  skiff status --format '{{.Host}}'`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkNode(cmd); err != nil {
				return err
			}
			status, err := a.manager().Status(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			if status.Note != "" {
				a.out.Warn(status.Name, "%s", status.Note)
			}
			if err := a.out.Data(status, func(w io.Writer) error { return writeStatus(w, status, format) }); err != nil {
				return err
			}
			if code := bitmask(status); code != 0 {
				return &exitError{code}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "a Go template with the names of -o json")
	nodeFlag(cmd.Flags(), "n")
	return cmd
}

func writeStatus(w io.Writer, status cluster.Status, format string) error {
	if format != "" {
		parsed, err := template.New("format").Option("missingkey=error").Parse(format)
		if err == nil {
			err = parsed.Execute(w, status)
		}
		if err != nil {
			return fail.New(fail.FlagInvalid, "read --format", "%w", err).
				WithHint("It is a template of Go, with the names that -o json prints, as in {{.Host}}.").WithNext("skiff status -o json")
		}
		_, err = fmt.Fprintln(w)
		return err
	}
	access := ""
	if status.HostAccess != "" {
		access = "hostaccess: " + status.HostAccess + "\n"
	}
	_, err := fmt.Fprintf(w, "%s\ntype: Control Plane\nhost: %s\nkubelet: %s\napiserver: %s\nkubeconfig: %s\n%s",
		status.Name, status.Host, status.Kubelet, status.APIServer, status.Kubeconfig, access)
	return err
}

func bitmask(status cluster.Status) int {
	code := 0
	up := status.Host == cluster.Running || status.Host == cluster.Paused
	if !up {
		code |= hostDown
	}
	if status.Kubelet != cluster.Running || status.APIServer != cluster.Running {
		code |= clusterDown
	}
	if !up || status.Kubeconfig != cluster.Configured { // an entry leads nowhere while nothing runs
		code |= kubeconfigLost
	}
	return code
}

func (a *app) ip() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ip", Short: "Print the cluster's address, and nothing else",
		Long: `Print the address at which the cluster answers, and nothing else. A stopped cluster has no address to answer at; it gets the
same one when it is started, and "skiff profile list" shows it.`,
		Example: `  skiff ip
  curl -k https://$(skiff ip)/`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkNode(cmd); err != nil {
				return err
			}
			address, err := a.manager().Address(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			return a.out.Data(map[string]string{"IP": address.String()}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, address)
				return err
			})
		},
	}
	nodeFlag(cmd.Flags(), "n")
	return cmd
}
