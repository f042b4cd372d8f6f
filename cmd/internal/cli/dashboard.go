package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/dashboard"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// dashboardFlags are the flags of the command.
type dashboardFlags struct {
	url, licenses bool
	port          uint16
}

func (a *app) dashboard() *cobra.Command {
	var flags dashboardFlags
	cmd := &cobra.Command{
		Use: "dashboard", Short: "Show the cluster in the browser", Args: noArgs,
		Long: `Show the cluster in the browser, and work with it there. The page is served by this command at skiff.localhost, for
this computer alone, until the command ends; nothing runs in the cluster for it. A cluster that is stopped or paused can be
started from the page. A second "skiff dashboard" of the same cluster opens the page of the first.`,
		Example: `  skiff dashboard
  skiff dashboard --url             # print the address; it lets one browser in, once
  skiff dashboard --port 8443 -p dev`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.licenses {
				return a.dashboardLicenses()
			}
			return a.runDashboard(cmd, flags)
		},
	}
	cmd.Flags().BoolVar(&flags.url, "url", false, "print the address, and open no browser")
	cmd.Flags().Uint16Var(&flags.port, "port", 0, "port to serve the page on (default a free one)")
	cmd.Flags().BoolVar(&flags.licenses, "licenses", false, "print the licences of everything in the page")
	return cmd
}

func (a *app) dashboardLicenses() error {
	text, err := dashboard.Licenses()
	if errors.Is(err, dashboard.ErrNotBuilt) {
		return fail.New(fail.DashboardMissing, "print the dashboard's licences", "%w", err)
	}
	if err != nil {
		return err
	}
	return a.out.Data(string(text), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func (a *app) runDashboard(cmd *cobra.Command, flags dashboardFlags) error {
	ctx, profile := cmd.Context(), a.profile()
	manager := a.manager()
	if _, err := manager.Load(profile); err != nil {
		return err
	}
	if err := a.home.SecureRun(); err != nil {
		return err
	}
	files := a.home.Cluster(profile)
	release, err := store.TryLock(files.DashboardLock(), store.Holder{Command: a.command, PID: os.Getpid(), Since: time.Now()})
	if held, ok := errors.AsType[*store.HeldError](err); ok {
		return a.otherDashboard(ctx, files, flags, held)
	}
	if err != nil {
		return err
	}
	defer release()
	defer func() { _ = os.Remove(files.DashboardLock()) }() // deferred last, so it is held still

	listener, err := listenLocal(ctx, flags.port)
	if err != nil {
		return err
	}
	address, _ := netip.ParseAddrPort(listener.Addr().String()) // it is one
	server := dashboard.New(dashboard.Options{
		Profile: profile, Version: a.deps.Version, Port: int(address.Port()), Clusters: manager, Kubeconfig: files.Kubeconfig(),
		Start: func(ctx context.Context, sink cluster.Sink) error {
			options, err := a.startOptions(cmd, manager)
			if err == nil {
				_, err = a.startLogged(ctx, manager, options, sink)
			}
			return err
		},
	})
	closeSocket, err := server.Share(ctx, files.Dashboard())
	if err != nil {
		_ = listener.Close()
		return err
	}
	defer closeSocket()
	defer func() { _ = os.Remove(files.DashboardPage()) }()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { ended <- server.Serve(ctx, listener) }() // a browser comes as soon as it has the address
	if err := a.showDashboard(ctx, files, server.URL(), flags.url); err != nil {
		return err
	}
	a.out.Info(profile, "The dashboard of cluster %s is open until this command ends; Ctrl-C ends it.", profile)
	return <-ended
}

// listenLocal binds a port of 127.0.0.1; 0 is a free one.
func listenLocal(ctx context.Context, port uint16) (net.Listener, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fail.New(fail.PortInUse, "open the dashboard", "port %d of 127.0.0.1 is taken", port).
			WithHint("Name another port, or none for a free one.").Retry("port", "")
	}
	if err != nil {
		return nil, fail.New(fail.FlagInvalid, "open the dashboard", "%w", err).WithHint("Name another port, or none for a free one.").Retry("port", "")
	}
	return listener, nil
}

// dashboardGrace is how long a dashboard that has just begun may take until it can be asked.
const dashboardGrace = 10 * time.Second

// otherDashboard opens the page of the dashboard that is open already.
func (a *app) otherDashboard(ctx context.Context, files store.Cluster, flags dashboardFlags, held *store.HeldError) error {
	limit, cancel := context.WithTimeout(ctx, dashboardGrace)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		url, err := dashboard.Ask(limit, files.Dashboard())
		if err == nil {
			a.out.Info(files.Profile, "The dashboard of cluster %s is open already; this is another way into it.", files.Profile)
			return a.showDashboard(ctx, files, url, flags.url)
		}
		if !errors.Is(err, dashboard.ErrNone) {
			return err
		}
		select {
		case <-limit.Done():
			return fail.New(fail.ClusterLocked, "open the dashboard", "it is %w, which does not answer", held).WithHint("End that command, and run this one again.")
		case <-again.C:
		}
	}
}

// showDashboard opens a browser. Where there is none to open, and where only the address is wanted, it prints that.
func (a *app) showDashboard(ctx context.Context, files store.Cluster, url string, only bool) error {
	if !only {
		err := dashboard.LeadOn(files.DashboardPage(), url)
		if err == nil {
			err = a.browse(ctx, files.DashboardPage())
		}
		if err == nil {
			return nil
		}
		a.out.Info(files.Profile, "No browser could be opened (%v). Open this address; it lets one browser in, once, within ten minutes:", err)
	}
	_, err := fmt.Fprintln(a.streams.Out, url)
	return err
}

// browserGrace is how long the program that opens a browser is waited for: some return at once, others with the browser.
const browserGrace = 3 * time.Second

// browse opens a file in the user's browser.
func (a *app) browse(ctx context.Context, path string) error {
	opener := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		opener = "open"
	case a.deps.Env("DISPLAY") == "" && a.deps.Env("WAYLAND_DISPLAY") == "":
		return errors.New("this session has no screen") // xdg-open would start a browser for terminals
	}
	program, err := exec.LookPath(opener)
	if err != nil {
		return fmt.Errorf("there is no %s", opener)
	}
	command := exec.Command(program, path)                   //nolint:noctx // the browser outlives this command
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for the browser
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	limit := time.NewTimer(browserGrace)
	defer limit.Stop()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("%s: %w", opener, err)
		}
	case <-limit.C:
	case <-ctx.Done():
	}
	return nil
}
