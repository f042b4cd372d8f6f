package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/spare"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
)

// startFlags are the flags that say what a cluster should be and how it is started.
func startFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("start", pflag.ContinueOnError)
	flags.StringP("driver", "d", "auto", "what runs the machine; auto is the first driver that works")
	flags.String("libvirt-uri", "", "with the driver libvirt: qemu:///session (default, needs no group) or qemu:///system")
	flags.String("network", "", "with the driver libvirt at qemu:///system: a network of libvirt that the machine joins")
	flags.StringP("memory", "m", "", "memory: 4096 (MiB), 4g or max (default a quarter of this computer's, 2048 to 6144 MiB)")
	flags.String("cpus", "2", "processors: a number or max")
	flags.String("disk-size", "20g", "size of the disk, which can grow later; it takes only what is used")
	flags.String("kubernetes-version", "", "version of Kubernetes (default that of the guest image)")
	flags.String("image", "", "guest image of a new cluster: a folder, a bundle, or URL@sha256:DIGEST with https:// or oci:// (default the one that was built, loaded or downloaded last)")
	flags.StringSlice("image-mirrors", nil, "where the guest image is downloaded when there is none, as in https://host/path@sha256:DIGEST; asked in this order")
	flags.String("ca-file", "", "certificates (PEM) to trust when the guest image is downloaded, besides the system's")
	flags.StringSlice("addons", nil, "addons to enable, as in a,b")
	flags.StringSlice("apiserver-names", nil, "more names for the API server's certificate")
	flags.StringSlice("apiserver-ips", nil, "more addresses for the API server's certificate")
	flags.String("cert-expiration", config.Duration(config.DefaultCertExpiration).String(), "how long certificates are valid that are made from now on; start renews those with less than 30 days left")
	flags.StringArray("extra-config", nil, "a setting of a component, component.key=value as in kubelet.max-pods=50; repeatable")
	flags.StringSlice("feature-gates", nil, "feature gates of all components, as in A=true,B=false")
	flags.String("wait", "all", "what to wait for: all or none (true, false and minikube's component names are understood)")
	flags.Duration("wait-timeout", 6*time.Minute, "timeout of the wait")
	machineFlags(flags)
	flags.Bool("offline", false, "use no network, not even when pods pull images")
	flags.String("auto-pause", "off", "pause the machine after that long without a request, such as 30m; the next one wakes it, and waits")
	flags.StringSlice("host-access", nil, "ports of this computer's 127.0.0.1 that pods reach as host.skiff.internal, as in 5432,8080, or all, or none (default none)")
	flags.StringSlice("insecure-registry", nil, "registries that may be asked without TLS: HOST[:PORT] as in image names, or a network as in 10.1.0.0/16; in place of those before, or none")
	flags.Bool("no-spare", false, "do not take a warm spare, and do not prepare one")
	flags.String("warm-spare", string(spare.Auto), "prepare a warm spare after a new cluster: auto (where there is hardware virtualisation), true or false")
	flags.Bool("keep-context", false, "do not change kubectl's current context")
	flags.Bool("dry-run", false, "print what would be done, without doing it")
	flags.Bool("force", false, "start even if this computer has too little memory or too few processors")
	flags.Bool("delete-on-failure", false, "remove a cluster whose creation failed, even if a second start could continue")
	flags.SortFlags = false
	return flags
}

func (a *app) start() *cobra.Command {
	cmd := &cobra.Command{
		Use: "start", Short: "Create the cluster, or resume it",
		Long: `Create the cluster if there is none, resume it if it is stopped, and repair what is broken.
On a cluster that runs well it does nothing. It returns when the cluster can be used.`,
		Example: `  skiff start
  skiff start -p dev --memory 4g --cpus 4
  skiff start --addons ingress
  skiff start --dry-run`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFormats: "json", annotationEvents: "yes"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return a.runStart(cmd) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(startFlags())
	accepted(cmd.Flags())
	refuseStart(cmd.Flags())
	return cmd
}

func (a *app) runStart(cmd *cobra.Command) error {
	began := time.Now()
	if err := checkAccepted(cmd); err != nil {
		return err
	}
	manager := a.manager()
	options, err := a.startOptions(cmd, manager)
	if err != nil {
		return err
	}
	when, err := warmSpare(a.settings.text("warm-spare"))
	if err != nil {
		return err
	}
	if err := manager.FindImage(cmd.Context(), options, a.imageSearch(), a.sink(cmd.Context())); err != nil {
		return err
	}
	if options.DryRun {
		started, err := manager.Start(cmd.Context(), options, nil)
		if err != nil {
			return err
		}
		return a.out.Data(planOf(started.Plan), func(w io.Writer) error {
			_, err := fmt.Fprint(w, started.Plan)
			return err
		})
	}
	started, err := a.startLogged(cmd.Context(), manager, options, a.sink(cmd.Context()))
	if err != nil {
		return err
	}
	a.summary(started, time.Since(began))
	a.prepareSpare(cmd, options, when, started)
	return nil
}

// startLogged starts a cluster, and keeps the events in its log.
func (a *app) startLogged(ctx context.Context, manager *cluster.Manager, options cluster.StartOptions, sink cluster.Sink) (cluster.Started, error) {
	log := newEventLog(a.home.Cluster(options.Profile).Events())
	defer log.close()
	started, err := manager.Start(ctx, options, func(e cluster.Event) {
		if e.Step != cluster.StepLock { // until the lock is had, the folder of logs is another command's
			log.write(e)
		}
		sink(e)
	})
	if err != nil {
		log.fail(err)
	}
	return started, err
}

// startOptions puts together what was asked for. All problems are reported at once.
func (a *app) startOptions(cmd *cobra.Command, manager *cluster.Manager) (cluster.StartOptions, error) {
	s := a.settings
	options := cluster.StartOptions{
		Profile: a.profile(), DryRun: s.yes("dry-run"), Force: s.yes("force"), KeepContext: s.yes("keep-context"),
		DeleteOnFailure: s.yes("delete-on-failure"), WaitTimeout: s.viper.GetDuration("wait-timeout"), NoSpare: s.yes("no-spare"),
	}
	if err := config.ValidateProfile(options.Profile); err != nil {
		return options, err
	}
	options.Again = func() (cluster.Wanted, error) {
		_, err := os.Lstat(a.home.Cluster(options.Profile).File())
		return a.wanted(cmd, manager, err == nil)
	}
	var err error
	if options.Wanted, err = options.Again(); err != nil {
		return options, err
	}
	options.NoWait, err = noWait(s.list("wait"))
	return options, err
}

// wanted is what a cluster is to be. On a cluster that exists, what is stored stands in for settings file and defaults.
func (a *app) wanted(cmd *cobra.Command, manager *cluster.Manager, exists bool) (cluster.Wanted, error) {
	s := a.settings
	a.exists = exists
	asked := func(key string) bool {
		return s.from(key) >= fromEnv || s.from(key) == fromFile && !a.stored(key)
	}
	problems := []error{contradictions(cmd, s)}
	for _, key := range settingKeys() {
		if asked(key) && !slices.Contains(machineKeys(), key) {
			problems = append(problems, goodWords(key, s.list(key)))
		}
	}
	var w cluster.Wanted
	problems = append(problems, a.amounts(&w, asked, manager.Facts))
	driver := s.text("driver")
	if asMinikube, _ := cmd.Flags().GetString("vm-driver"); asMinikube != "" {
		driver = asMinikube
	}
	adopts := slices.Contains([]string{"ssh", "generic"}, driver)
	var err error
	w.SSH, err = a.existing(func(key string) bool {
		// In the settings file they are for those clusters that have the driver, and say nothing without an address.
		return asked(key) && (s.from(key) != fromFile || adopts && (key == "ssh-key" || s.text("ssh-ip-address") != ""))
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		return w, err
	}
	for key, field := range map[string]**string{"driver": &w.Driver, "libvirt-uri": &w.LibvirtURI, "network": &w.Network, "kubernetes-version": &w.KubernetesVersion} {
		if text := s.text(key); asked(key) && (key != "driver" || text != "auto" || !exists) {
			*field = &text
		}
	}
	if driver != s.text("driver") {
		w.Driver = &driver
	}
	if !slices.Contains([]string{"libvirt", "kvm2", "kvm"}, driver) {
		for key, field := range map[string]**string{"libvirt-uri": &w.LibvirtURI, "network": &w.Network} {
			if s.from(key) == fromFile {
				*field = nil // in the settings file it is for those clusters that have the driver
			}
		}
	}
	for key, field := range map[string]*[]string{
		"addons": &w.Addons, "apiserver-names": &w.APIServerNames, "apiserver-ips": &w.APIServerIPs,
		"extra-config": &w.ExtraConfig, "feature-gates": &w.FeatureGates,
	} {
		if asked(key) {
			*field = s.list(key)
		}
	}
	if asked("offline") {
		offline := s.yes("offline")
		w.Offline = &offline
	}
	return w, nil
}

// amounts reads what is a number of something: processors, bytes, time, ports or registries.
func (a *app) amounts(w *cluster.Wanted, asked func(key string) bool, facts host.Facts) error {
	s := a.settings
	var problems []error
	if asked("memory") {
		problems = append(problems, into(&w.MemoryMiB)(config.Memory(s.text("memory"), facts)))
	}
	if asked("cpus") {
		problems = append(problems, into(&w.CPUs)(config.CPUs(s.text("cpus"), facts)))
	}
	if asked("disk-size") {
		problems = append(problems, into(&w.DiskBytes)(config.Disk(s.text("disk-size"))))
	}
	if asked("cert-expiration") {
		problems = append(problems, into(&w.CertExpiration)(config.CertExpiration(s.text("cert-expiration"))))
	}
	if asked("auto-pause") {
		problems = append(problems, into(&w.AutoPause)(config.AutoPause(s.text("auto-pause"))))
	}
	if asked("host-access") {
		problems = append(problems, into(&w.HostAccess)(config.ParseHostAccess(s.text("host-access"))))
	}
	if asked("insecure-registry") {
		problems = append(problems, into(&w.InsecureRegistries)(config.ParseRegistries(s.list("insecure-registry"))))
	}
	return errors.Join(problems...)
}

// stored reports whether a setting says what a cluster is, and is kept with the one that is acted on; what the settings file has
// is for new clusters then.
func (a *app) stored(key string) bool {
	return a.exists && !slices.Contains([]string{"profile", "image-mirrors", "ca-file", "wait", "wait-timeout", "warm-spare", "no-spare", "keep-context", "force", "delete-on-failure"}, key)
}

// contradictions refuses flags of which only one can be meant.
func contradictions(cmd *cobra.Command, s *settings) error {
	var problems []error
	flags := cmd.Flags()
	if flag := flags.Lookup("vm-driver"); flag != nil && flag.Changed {
		asMinikube := flag.Value.String()
		switch {
		case asMinikube == "":
			problems = append(problems, badValue("vm-driver", "", errors.New("it is empty; auto is the first driver that works")))
		case s.from("driver") == fromFlag && s.text("driver") != asMinikube:
			problems = append(problems, fail.New(fail.FlagInvalid, cmd.CommandPath(), "--vm-driver %s and --driver %s are the same flag", asMinikube, s.text("driver")).
				WithHint("Give one of them."))
		}
	}
	if flag := flags.Lookup("no-spare"); flag != nil && flag.Changed && s.yes("no-spare") && s.from("warm-spare") == fromFlag && s.text("warm-spare") == string(spare.Always) {
		problems = append(problems, fail.New(fail.FlagInvalid, cmd.CommandPath(), "--no-spare prepares no warm spare, and --warm-spare true does").
			WithHint("Give one of them."))
	}
	return errors.Join(problems...)
}

// into stores a value that was parsed, and hands its error on.
func into[T any](field **T) func(T, error) error {
	return func(value T, err error) error {
		if err == nil {
			*field = &value
		}
		return err
	}
}

// noWait reads --wait. Minikube's names of single components are understood, and all is waited for: it is one condition.
func noWait(names []string) (bool, error) {
	if len(names) == 1 && (names[0] == "none" || names[0] == "false") {
		return true, nil
	}
	known := []string{"all", "true", "apiserver", "system_pods", "default_sa", "apps_running", "node_ready", "kubelet", "extra"}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return false, fail.New(fail.FlagInvalid, fmt.Sprintf("read --wait %q", name), "it is none of all, none and %s", strings.Join(known[2:], ", ")).About("wait")
		}
	}
	return false, nil
}

// summary ends a start: what there is now, and what to do with it.
func (a *app) summary(started cluster.Started, took time.Duration) {
	c := started.Config
	where := fmt.Sprintf("context %q, address %s", c.Profile, c.Address)
	if c.NetworkAddress.IsValid() {
		where += fmt.Sprintf(", in network %s %s", c.Network, c.NetworkAddress.Addr())
	}
	if len(started.Plan.Steps) == 0 {
		a.out.Info(c.Profile, "Cluster %s is running already: %s.", c.Profile, where)
		return
	}
	own := ""
	if c.Profile != a.currentDefault() {
		own = " -p " + c.Profile
	}
	a.out.Info(c.Profile, "Cluster %s is ready after %s: %s.", c.Profile, ui.Duration(took), where)
	a.out.Info(c.Profile, "Next:  skiff kubectl%s -- get pods -A\n       skiff addons enable ingress%s\n       skiff stop%s", own, own, own)
}

// currentDefault is the profile that commands without -p act on.
func (a *app) currentDefault() string {
	if profile := a.deps.Env("SKIFF_PROFILE"); profile != "" {
		return profile
	}
	if a.settings.viper.InConfig("profile") {
		// A flag hides the file's value from viper, so this asks without flags.
		if plain, err := readSettings(a.home, a.flags.config, a.deps.Env, pflag.NewFlagSet("", pflag.ContinueOnError), false); err == nil {
			return plain.text("profile")
		}
	}
	return defaultProfile
}

// planned is a plan as JSON has it.
type planned struct {
	Profile string        `json:"profile"`
	Steps   []plannedStep `json:"steps"`
}

type plannedStep struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	Why  string `json:"why"`
}

func planOf(plan cluster.Plan) planned {
	out := planned{Profile: plan.Profile, Steps: []plannedStep{}}
	for _, step := range plan.Steps {
		out.Steps = append(out.Steps, plannedStep{step.ID, step.Text, step.Why})
	}
	return out
}

// eventLog keeps the events of a start in a file beside the cluster's other logs. It is a help for later: what cannot be
// written, as on a full disk, is left out.
type eventLog struct {
	path string
	file *os.File
	sink cluster.Sink
}

func newEventLog(path string) *eventLog { return &eventLog{path: path} }

func (l *eventLog) write(e cluster.Event) {
	if l.file == nil {
		if os.MkdirAll(filepath.Dir(l.path), 0o700) != nil {
			return
		}
		file, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return
		}
		l.file, l.sink = file, ui.Lines(file, uuid.NewString, time.Now)
	}
	l.sink(e)
}

// fail notes why a start failed; one that failed before its first step has no log.
func (l *eventLog) fail(err error) {
	if l.file != nil {
		l.sink(cluster.Event{Kind: cluster.Warning, Step: "failed", Text: err.Error()})
	}
}

func (l *eventLog) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}
