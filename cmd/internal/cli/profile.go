package cli

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

func (a *app) profileCommand() *cobra.Command {
	set := &cobra.Command{
		Use: "set NAME", Short: "Select NAME as the cluster that commands without -p use", Args: countArgs(1, 1),
		Example:           `  skiff profile set dev`,
		ValidArgsFunction: a.completeProfile,
		RunE:              func(_ *cobra.Command, args []string) error { return a.setProfile(args[0]) },
	}
	cmd := group(&cobra.Command{
		Use: "profile [NAME]", Short: "List clusters, and select the one that commands use",
		Example: `  skiff profile list
  skiff profile dev    # the same as: skiff profile set dev
  skiff profile        # which one it is`,
		ValidArgsFunction: a.completeProfile,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.setProfile(args[0])
			}
			return a.out.Data(map[string]string{"Profile": a.profile()}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, a.profile())
				return err
			})
		},
	}, a.profileList(), set)
	cmd.Args = countArgs(0, 1)
	return cmd
}

// setProfile writes the default profile to the settings. Only a cluster that exists can be chosen, or the first default.
func (a *app) setProfile(name string) error {
	if err := config.ValidateProfile(name); err != nil {
		return err
	}
	if name != defaultProfile {
		if _, err := a.manager().Load(name); err != nil && !fail.Is(err, fail.StateCorrupt) {
			return err
		}
	}
	if err := editSettings(a.settings.path, "profile", &name); err != nil {
		return err
	}
	a.out.Info(name, "Commands without -p now act on cluster %s.", name)
	return nil
}

// listedProfile is a cluster as minikube's list has it.
type listedProfile struct {
	Name              string
	Status            string
	Config            config.Cluster
	Active            bool
	ActiveKubeContext bool
	Error             string `json:",omitempty"`
}

type profileList struct {
	Valid   []listedProfile `json:"valid"`
	Invalid []listedProfile `json:"invalid"`
}

func (a *app) profileList() *cobra.Command {
	var light bool
	cmd := &cobra.Command{
		Use: "list", Short: "List all clusters", Args: noArgs,
		Example:     `  skiff profile list -o json`,
		Annotations: map[string]string{annotationFormats: "table json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			listed, err := a.manager().List(cmd.Context(), !light)
			if err != nil {
				return err
			}
			list := a.shapeList(listed)
			return a.out.Data(list, func(w io.Writer) error { return writeProfiles(w, list) })
		},
	}
	cmd.Flags().BoolVarP(&light, "light", "l", false, "only what is in files, without the state")
	return cmd
}

func (a *app) shapeList(listed []cluster.Listed) profileList {
	list := profileList{Valid: []listedProfile{}, Invalid: []listedProfile{}}
	for _, one := range listed {
		shape := listedProfile{Name: one.Config.Profile, Config: one.Config, Active: one.Config.Profile == a.profile()}
		if one.Err != nil {
			shape.Status, shape.Error = "Error", one.Err.Error()
			list.Invalid = append(list.Invalid, shape)
			continue
		}
		shape.Status = oneWord(one.Status)
		if own, err := os.ReadFile(a.home.Cluster(shape.Name).Kubeconfig()); err == nil {
			if seen, err := kubeconfig.Look(a.deps.Env("KUBECONFIG"), shape.Name, own); err == nil {
				shape.ActiveKubeContext = seen.Current
			}
		}
		list.Valid = append(list.Valid, shape)
	}
	return list
}

// oneWord says how a cluster is.
func oneWord(status cluster.Status) string {
	if status.Host == cluster.Running && (status.APIServer != cluster.Running || status.Kubelet != cluster.Running) {
		return "Degraded"
	}
	return status.Host
}

func writeProfiles(w io.Writer, list profileList) error {
	if len(list.Valid)+len(list.Invalid) == 0 {
		_, err := fmt.Fprintln(w, "There are no clusters; `skiff start` makes one.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tDRIVER\tIP\tVERSION\tNODES\tSTATUS\tACTIVE")
	for _, one := range append(list.Valid, list.Invalid...) {
		active, ip := "", "-"
		if one.Active {
			active = "*"
		}
		if address := one.Config.IP(); address.IsValid() {
			ip = address.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t1\t%s\t%s\n", one.Name, or(one.Config.Driver, "-"), ip, or(one.Config.KubernetesVersion, "-"), or(one.Status, "-"), active)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, one := range list.Invalid {
		if _, err := fmt.Fprintf(w, "%s: %s\n", one.Name, ui.Clean([]byte(one.Error))); err != nil {
			return err
		}
	}
	return nil
}

// or is text, or otherwise when there is none.
func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
