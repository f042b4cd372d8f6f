package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
)

func (a *app) doctor() *cobra.Command {
	var driver string
	var fix bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the host for everything skiff needs, and print how to fix what is missing",
		Long: `Check the host for everything skiff needs. Every check passes, warns or fails, and one that does not pass names the
command that fixes it, if there is one. Hardware acceleration is tested by running a guest. Drivers are checked with the
settings of new clusters and with those of existing ones.

--fix does what needs no root, prints each thing that it does, and lists the rest with their commands. It removes what
deleted clusters left behind (machines, agents, sockets, locks, contexts of the kubeconfig), stale locks on the kubeconfig,
and incomplete or broken guest images that nothing uses; it reinstalls broken ones that are used. It denies other users
access to folders and kubeconfigs that hold keys, and gives you access to your own files.

The exit code is 0 when nothing fails and 4 when something does. A driver that does not work is not a failure while
--driver auto finds another one, unless --driver names it or a cluster uses it.`,
		Example: `  skiff doctor
  skiff doctor --driver qemu
  skiff doctor --fix
  skiff doctor -o json`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			subject, err := a.subject(driver)
			if err != nil {
				return err
			}
			return a.runDoctor(cmd.Context(), subject, fix)
		},
	}
	cmd.Flags().StringVarP(&driver, "driver", "d", "", "check this driver only")
	cmd.Flags().BoolVar(&fix, "fix", false, "fix what needs no root")
	return cmd
}

// subject is this host as the doctor looks at it.
func (a *app) subject(driver string) (doctor.Host, error) {
	manager := a.manager()
	auto, named := a.deps.AllDrivers(a.home)
	subject := doctor.Host{
		Version: manager.Version, Home: a.home, Built: manager.Built, Facts: manager.Facts, Env: a.deps.Env, Kubeconfig: manager.Kubeconfig,
		Drivers: auto, Named: named, Settings: a.driverSettings(), Agents: a.deps.Agents,
		SSHAddress: a.settings.text("ssh-ip-address"), SSHKey: a.settings.text("ssh-key"),
		Now: time.Now, Synchronized: host.Synchronized, FreeBytes: host.FreeBytes, Listen: new(net.ListenConfig).Listen,
	}
	if driver == "" || driver == "auto" {
		return subject, nil
	}
	one, err := manager.Drivers(driver)
	if err != nil {
		return subject, err
	}
	subject.Only = one.Name()
	return subject, nil
}

// driverSettings are those that the next cluster would have.
func (a *app) driverSettings() drivers.Settings {
	return drivers.Settings{LibvirtURI: a.settings.text("libvirt-uri"), Network: a.settings.text("network")}
}

func (a *app) runDoctor(ctx context.Context, subject doctor.Host, fix bool) error {
	report, err := subject.Examine(ctx)
	if err != nil {
		return err
	}
	if fix {
		report, err = subject.Fix(ctx, report, func(one doctor.Fixed) {
			if one.Error != "" {
				a.out.Warn("", "Not fixed: %s %s", one.Text, one.Error)
				return
			}
			a.out.Info("", "%s", one.Text)
		})
		if err != nil {
			return err
		}
	}
	if err := a.out.Data(report, func(w io.Writer) error { return writeReport(w, report, fix) }); err != nil {
		return err
	}
	if report.Failed() {
		return &exitError{fail.CodeHost} // the report has said why
	}
	return nil
}

// writeReport writes a report for people.
func writeReport(w io.Writer, report doctor.Report, fixed bool) error {
	for _, driver := range report.Drivers {
		if err := writeFindings(w, headline(driver), driver.Findings); err != nil {
			return err
		}
	}
	if err := writeFindings(w, "This host", report.Checks); err != nil {
		return err
	}
	failures, warnings := report.Count(drivers.Failure), report.Count(drivers.Warning)
	verdict := "Nothing fails"
	if report.Failed() {
		verdict = plural(failures, "check fails", "checks fail")
	}
	if warnings > 0 {
		verdict += "; " + plural(warnings, "warning", "warnings")
	}
	verdict += "."
	if mendable := countFix(report); mendable > 0 && !fixed {
		verdict += fmt.Sprintf(" `skiff doctor --fix` fixes %d of them.", mendable)
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

// headline says of a driver whether it works and whether that matters.
func headline(driver doctor.Driver) string {
	switch {
	case driver.Healthy && driver.NeedsImprovement:
		return "Driver " + driver.Name + " works, and could do better"
	case driver.Healthy:
		return "Driver " + driver.Name + " works"
	case driver.Needed:
		return "Driver " + driver.Name + " does not work"
	}
	return "Driver " + driver.Name + " does not work here; it is not needed"
}

// writeFindings writes a line for each finding, and one below it for the command that mends it.
func writeFindings(w io.Writer, title string, findings []doctor.Finding) error {
	if _, err := fmt.Fprintf(w, "%s\n", title); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, one := range findings {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", one.Level, one.Name, one.Text)
		if one.Level != drivers.Good && one.Remedy != "" {
			fmt.Fprintf(table, "\t\t-> %s\n", one.Remedy)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func countFix(report doctor.Report) int {
	n := 0
	for _, one := range report.Checks {
		if one.Fix {
			n++
		}
	}
	return n
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// driverState is one driver of `skiff drivers`.
type driverState struct {
	Name   string `json:"name"`
	State  string `json:"state"`  // ready, limited or unusable
	Auto   bool   `json:"auto"`   // new clusters get it unless they name another
	Reason string `json:"reason"` // why it is not ready; empty when it is
	Remedy string `json:"remedy"` // the command that mends that; may be empty
}

// drivers lists the drivers as their own checks find them, which run no guest.
func (a *app) drivers() *cobra.Command {
	return &cobra.Command{
		Use: "drivers", Short: "List the drivers, whether each works here, and how to fix those that do not",
		Long: `List the drivers: first those that --driver auto tries, in its order, then those that must be named. With the settings
of new clusters a driver is ready, limited (it works, and could do better) or unusable. The one that new clusters get is
marked; skiff doctor checks more.

With -o json it is a list of objects with these fields: name; state (ready, limited or unusable); auto (whether new
clusters get it unless they name another, so at most one has true); reason (why it is not ready, one sentence) and remedy
(the command that fixes it). The last two are always present, and may be empty.`,
		Example: `  skiff drivers
  skiff drivers -o json`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "table json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			states := a.driverStates(cmd.Context())
			return a.out.Data(states, func(w io.Writer) error { return writeDrivers(w, states) })
		},
	}
}

func (a *app) driverStates(ctx context.Context) []driverState {
	states, chosen := []driverState{}, false
	auto, named := a.deps.AllDrivers(a.home)
	for i, driver := range append(auto, named...) {
		summary := doctor.Quick(ctx, doctor.With(driver, a.driverSettings()))
		one := driverState{Name: summary.Name, State: "ready", Reason: summary.Reason, Remedy: summary.Fix, Auto: summary.Healthy && !chosen && i < len(auto)}
		switch {
		case !summary.Healthy:
			one.State = "unusable"
		case summary.NeedsImprovement:
			one.State = "limited"
		}
		chosen = chosen || one.Auto
		states = append(states, one)
	}
	return states
}

func writeDrivers(w io.Writer, states []driverState) error {
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tAUTO\tREASON\tREMEDY")
	for _, one := range states {
		auto := ""
		if one.Auto {
			auto = "*"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.Name, one.State, auto, or(strings.TrimSuffix(one.Reason, "."), "-"), or(one.Remedy, "-"))
	}
	return table.Flush()
}
