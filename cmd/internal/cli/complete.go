package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/spare"
)

// completions lets a shell offer what the flags of every command take. Where nothing is known that could be offered, nothing is,
// rather than the files of the current folder, which few flags and arguments mean.
func (a *app) completions(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	values := a.flagValues()
	register := func(cmd *cobra.Command, flags *pflag.FlagSet) {
		flags.VisitAll(func(flag *pflag.Flag) {
			if complete := values[flag.Name]; complete != nil && takesValue(flag) {
				_ = cmd.RegisterFlagCompletionFunc(flag.Name, complete) // fails for a flag that is not there, and it is
			}
		})
	}
	register(root, root.PersistentFlags())
	var below func(cmd *cobra.Command)
	below = func(cmd *cobra.Command) {
		register(cmd, cmd.Flags())
		for _, one := range cmd.Commands() {
			below(one)
		}
	}
	below(root)
}

// takesValue reports whether a word belongs to the flag.
func takesValue(flag *pflag.Flag) bool {
	return flag.Value.Type() != "bool" && flag.Value.Type() != "count" && !flag.Hidden
}

// flagValues are what is offered for flags, by their long names.
func (a *app) flagValues() map[string]cobra.CompletionFunc {
	return map[string]cobra.CompletionFunc{
		// Every command has these.
		"profile": a.completeProfiles, "output": completeFormats, "config": completeFiles,
		// These say what a cluster is and how it is started.
		"driver": a.completeDrivers, "addons": a.completeAddonList, "libvirt-uri": oneOf("qemu:///session", "qemu:///system"),
		"kubernetes-version": oneOf(cluster.KubernetesVersion, "stable", "latest"),
		"memory":             oneOf("2g", "4g", "8g", "max"), "cpus": oneOf("2", "4", "8", "max"), "disk-size": oneOf("20g", "40g", "80g"),
		"wait": oneOf("all", "none"), "auto-pause": oneOf("off", "15m", "30m", "1h"), "host-access": oneOf("all", "none"), "insecure-registry": oneOf("none"),
		"warm-spare": oneOf(string(spare.Auto), string(spare.Always), string(spare.Never)), "ssh-key": completeFiles, "image": completeFiles, "image-mirrors": completeFiles, "ca-file": completeFiles, "ssh-user": oneOf("root"),
		// These are of single commands.
		"node": oneOf("skiff"), "step": a.completeSteps, "file": completeFiles, "filename": completeFiles, "kustomize": completeFolders,
		"dry-run": oneOf("none", "client", "server"), "namespace": a.completeNamespaces,
	}
}

// oneOf offers words that are known beforehand.
func oneOf(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// completeFiles lets the shell offer files.
func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeFolders lets the shell offer folders.
func completeFolders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeFormats offers what the command can print.
func completeFormats(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return append([]string{"text"}, strings.Fields(cmd.Annotations[annotationFormats])...), cobra.ShellCompDirectiveNoFileComp
}

// completeProfiles offers the names of clusters.
func (a *app) completeProfiles(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.prepare(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := a.home.Profiles()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeProfile offers the names of clusters as the only argument.
func (a *app) completeProfile(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeProfiles(cmd, args, word)
}

// completeDrivers offers the names of drivers.
func (a *app) completeDrivers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.prepare(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	auto, named := a.deps.AllDrivers(a.home)
	names := []string{"auto\tthe first that works"}
	for _, driver := range append(auto, named...) {
		names = append(names, driver.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeAddons offers the addons of the cluster that are enabled, or those that are not, and were not named yet.
func (a *app) completeAddons(enabled bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if err := a.prepare(cmd); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		list, err := a.manager().Addons(cmd.Context(), a.profile())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, addon := range list {
			if addon.Enabled == enabled && !slices.Contains(args, addon.Name) {
				names = append(names, cobra.CompletionWithDesc(addon.Name, addon.Description))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeAddonList offers addons for a list as in a,b: those that it does not have yet.
func (a *app) completeAddonList(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	catalog, err := addons.Catalog()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	before := word[:strings.LastIndexByte(word, ',')+1]
	var names []string
	for _, addon := range catalog {
		if !slices.Contains(strings.Split(before, ","), addon.Name) {
			names = append(names, cobra.CompletionWithDesc(before+addon.Name, addon.Description))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSnapshots offers the names of the cluster's snapshots.
func (a *app) completeSnapshots(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.prepare(cmd); err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := a.manager().Snapshots(cmd.Context(), a.profile())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, one := range list {
		names = append(names, cobra.CompletionWithDesc(one.Name, one.Description))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSpares offers the names of the warm spares that were not named yet.
func (a *app) completeSpares(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.prepare(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := a.manager().SpareNames()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) }), cobra.ShellCompDirectiveNoFileComp
}

// completeSteps offers the logs that there are of the cluster.
func (a *app) completeSteps(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.prepare(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	sources, vm, err := a.manager().Logs(cmd.Context(), a.profile())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, source := range sources {
		names = append(names, source.Name)
	}
	if vm != nil {
		names = append(names, "pods")
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSetting offers the names of settings and, after one of them, what its flag takes.
func (a *app) completeSetting(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return settingKeys(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		if flag := startFlags().Lookup(args[0]); flag != nil && flag.Value.Type() == "bool" {
			return []string{"true", "false"}, cobra.ShellCompDirectiveNoFileComp
		}
		if complete := a.flagValues()[args[0]]; complete != nil {
			return complete(cmd, args, word)
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeKeys offers the names of settings.
func completeKeys(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return settingKeys(), cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces offers the namespaces of the cluster.
func (a *app) completeNamespaces(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	if err := a.prepare(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return a.kubectlOffers(cmd.Context(), "get", "--namespace", word)
}

// completeKubectl offers what kubectl itself offers.
func (a *app) completeKubectl(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	args, help, err := a.ownFlags(cmd, args)
	if err != nil || help {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if err := a.prepare(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return a.kubectlOffers(cmd.Context(), append(slices.Clone(args), word)...)
}

// kubectlOffers asks the cluster's kubectl what it offers for the last of its arguments. A cluster that is paused is not woken for
// that.
func (a *app) kubectlOffers(ctx context.Context, args ...string) ([]string, cobra.ShellCompDirective) {
	manager := a.manager()
	if status, err := manager.Status(ctx, a.profile()); err != nil || status.Host != cluster.Running {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	tool, kubeconfig, err := manager.Kubectl(ctx, a.profile())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	command := exec.CommandContext(ctx, tool, append([]string{cobra.ShellCompRequestCmd}, args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	out, err := command.Output()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	// It ends with a line of the directive, as in ":4".
	offers, last, _ := cutLast(bytes.TrimSpace(out), '\n')
	directive, err := strconv.Atoi(strings.TrimPrefix(string(last), ":"))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return strings.Split(string(offers), "\n"), cobra.ShellCompDirective(directive)
}

// cutLast cuts text at its last separator; without one, all of it is after.
func cutLast(text []byte, separator byte) (before, after []byte, found bool) {
	at := bytes.LastIndexByte(text, separator)
	return text[:max(at, 0)], text[at+1:], at >= 0
}
