package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/spare"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/config"
)

func (a *app) spare() *cobra.Command {
	return group(&cobra.Command{
		Use: "spare", Short: "Prepare clusters in advance, for the next start to take",
		Long: `Prepare clusters in advance, for the next start to take. A warm spare is a fresh cluster with its own address, keys and
tokens, suspended at the moment it became ready. The next start of a new profile with the same size, driver and certificate
takes it, and is ready within seconds. Each spare is taken once.

Where guests run with hardware virtualisation, a start that made a cluster prepares one in the background: at the lowest
priority, not on a battery, and not where memory or disk are short. ` + "`skiff config set warm-spare false`" + ` switches that off.
Spares of another version of skiff, guest image or QEMU, and old ones, are removed by the next command.`,
		Example: `  skiff spare build --memory 4g
  skiff spare list
  skiff spare delete`,
	}, a.spareList(), a.spareBuild(), a.spareDelete())
}

// spareFlags are those of start that say what a cluster is.
func spareFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("spare build", pflag.ContinueOnError)
	startFlags().VisitAll(func(flag *pflag.Flag) {
		if slices.Contains([]string{
			"driver", "memory", "cpus", "disk-size", "kubernetes-version", "addons", "apiserver-names", "apiserver-ips", "extra-config", "feature-gates",
			"cert-expiration", "offline", "dry-run", "force",
		}, flag.Name) {
			flags.AddFlag(flag)
		}
	})
	flags.SortFlags = false
	return flags
}

// unasked is how a start asks for a spare in the background. Nobody wants that spare for sure, so it ages sooner.
const unasked = "unasked"

func (a *app) spareBuild() *cobra.Command {
	cmd := &cobra.Command{
		Use: "build", Short: "Prepare a warm spare now", Args: noArgs,
		Long: `Prepare a warm spare now, for the next start with the same flags and settings, and return when it is ready. If there is
one already it does nothing. It takes as long as a start; meanwhile it uses the memory of a cluster, and afterwards only disk
space.`,
		Example: `  skiff spare build
  skiff spare build --memory 4g --addons ingress    # as for an image of a CI machine
  skiff start --memory 4g --addons ingress          # takes it`,
		Annotations: map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return a.buildSpare(cmd) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(spareFlags())
	cmd.Flags().Bool(unasked, false, "")
	_ = cmd.Flags().MarkHidden(unasked)
	return cmd
}

func (a *app) buildSpare(cmd *cobra.Command) error {
	began := time.Now()
	manager := a.manager()
	// A cluster that exists has no part in it: the settings count as for a new one.
	wanted, err := a.wanted(cmd, manager, false)
	if err != nil {
		return err
	}
	options := cluster.SpareOptions{Wanted: wanted, Force: a.settings.yes("force"), DryRun: a.settings.yes("dry-run")}
	if options.Asked, err = cmd.Flags().GetBool(unasked); err != nil {
		return err
	}
	options.Asked = !options.Asked
	built, err := manager.BuildSpare(cmd.Context(), options, a.sink(cmd.Context()))
	switch {
	case err != nil:
		return err
	case options.DryRun:
		return a.out.Data(planOf(built.Plan), func(w io.Writer) error {
			_, err := fmt.Fprint(w, built.Plan)
			return err
		})
	case !built.Built:
		a.out.Info(built.Name, "Warm spare %s is there already; the next start like it takes it.", built.Name)
	default:
		a.out.Info(built.Name, "Warm spare %s is ready after %s; the next start like it takes it.", built.Name, ui.Duration(time.Since(began)))
	}
	return nil
}

func (a *app) spareList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the warm spares and their sizes on disk", Args: noArgs,
		Example:     `  skiff spare list -o json`,
		Annotations: map[string]string{annotationFormats: "table json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.manager().Spares(cmd.Context())
			if err != nil {
				return err
			}
			for _, one := range list {
				if one.Problem != "" {
					a.out.Warn("", "warm spare %s is not taken: %s", one.Name, one.Problem)
				}
			}
			return a.out.Data(list, func(w io.Writer) error { return writeSpares(w, list) })
		},
	}
}

func writeSpares(w io.Writer, list []cluster.Spare) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "There are no warm spares.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tCREATED\tSIZE\tDRIVER\tCPUS\tMEMORY\tKUBERNETES\tADDONS")
	for _, one := range list {
		if one.Created.IsZero() {
			fmt.Fprintf(table, "%s\t%s\t-\t%s\t-\t-\t-\t-\t-\n", one.Name, one.State, mebibytes(one.Size))
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d MiB\t%s\t%s\n", one.Name, one.State, one.Created.Local().Format(time.DateTime),
			mebibytes(one.Size), one.Driver, one.CPUs, one.MemoryMiB, one.KubernetesVersion, or(strings.Join(one.Addons, ","), "-"))
	}
	return table.Flush()
}

func (a *app) spareDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete [NAME]...", Short: "Remove the named warm spares, or all of them", Args: countArgs(0, -1),
		Long:              `Remove the named warm spares, or all of them. One that is being prepared is removed too.`,
		Example:           `  skiff spare delete`,
		Annotations:       map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		ValidArgsFunction: a.completeSpares,
		RunE: func(cmd *cobra.Command, args []string) error {
			removed, err := a.manager().DeleteSpares(cmd.Context(), args, a.sink(cmd.Context()))
			for _, name := range removed {
				a.out.Info(name, "Warm spare %s is deleted.", name)
			}
			if err != nil {
				return err
			}
			for _, name := range args {
				if !slices.Contains(removed, name) {
					a.out.Info(name, "There is no warm spare %s.", name)
				}
			}
			if len(args)+len(removed) == 0 {
				a.out.Info("", "There are no warm spares.")
			}
			return nil
		},
	}
}

// prepareSpare lets a warm spare be prepared in the background, for the next start that asks for the same as this one did.
// Who goes on with a cluster has no use for it, only who makes one. It is a favour: what keeps it from being done is told to
// those who ask with -v.
func (a *app) prepareSpare(cmd *cobra.Command, options cluster.StartOptions, when spare.When, started cluster.Started) {
	if !started.Created || options.NoSpare || a.deps.Background == nil {
		return
	}
	c := started.Config
	refusal := a.manager().WantsSpare(cmd.Context(), c, when)
	if refusal == "" {
		if err := a.deps.Background(a.home.SpareLog(), a.spareArgs(c)...); err != nil {
			refusal = err.Error()
		}
	}
	switch {
	case refusal == "":
		a.out.Info(c.Profile, "A warm spare is being prepared in the background, so that the next new cluster takes seconds; `skiff config set warm-spare false` switches this off.")
	case a.flags.verbose > 0:
		a.out.Info(c.Profile, "No warm spare is prepared: %s.", refusal)
	}
}

// spareArgs are the arguments of the command that prepares a spare like c. They name all that settings could say otherwise.
func (a *app) spareArgs(c config.Cluster) []string {
	args := []string{
		"spare", "build", "--" + unasked, "--driver", c.Driver, "--cpus", strconv.Itoa(c.CPUs), "--memory", strconv.Itoa(c.MemoryMiB),
		"--disk-size", fmt.Sprintf("%db", c.DiskBytes), "--offline=" + strconv.FormatBool(c.Offline),
		"--addons=" + strings.Join(c.Addons, ","), "--cert-expiration", c.CertExpiration.String(),
		"--apiserver-names=" + strings.Join(c.APIServerNames, ","), "--apiserver-ips=" + strings.Join(c.APIServerIPs, ","),
	}
	args = append(args, "--feature-gates="+strings.Join(c.FeatureGates, ","), "--extra-config=")
	for _, setting := range c.ExtraConfig {
		args = append(args, "--extra-config", setting)
	}
	if a.flags.config != "" {
		args = append(args, "--config", a.flags.config)
	}
	return args
}

// warmSpare reads the setting of that name.
func warmSpare(text string) (spare.When, error) {
	when, err := spare.ParseWhen(text)
	if err != nil {
		return when, badValue("warm-spare", text, err)
	}
	return when, nil
}
