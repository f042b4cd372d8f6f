package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/skiff-k8s/skiff/agent/mirror"
	"github.com/skiff-k8s/skiff/agent/network"
	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/agent/sleep"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/logfile"
)

// mirrorPort is where containerd asks for images, at the gateway's address inside the virtual network.
const mirrorPort = 5000

// ErrRunning means that another process is this cluster's agent.
var ErrRunning = errors.New("another agent runs for this cluster")

// Run is the agent: it returns when ctx ends or a client asks for the end, and its sockets are gone then. It fails with
// ErrRunning when the cluster has an agent already, and with fail.PortInUse when one of c.Ports is taken. What it does is
// logged to log, one line each.
//
// machines gives the hands on the cluster's machine, by which it is paused and woken; nil when there are none. They reach
// the machine with the Dialer that they are given: connections to the published ports would count as somebody's.
func Run(ctx context.Context, c Config, log io.Writer, machines func(Dialer) sleep.Machine) (err error) {
	logger := slog.New(slog.NewTextHandler(log, nil))
	ready := readyPipe()
	defer func() { ready.failed(err) }()
	logrus.SetOutput(io.Discard) // gvisor-tap-vsock's logger is the process's; its lines say nothing that is not logged here

	if err := c.validate(); err != nil {
		return err
	}
	unlock, err := lock(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	api := &api{stop: cancel}
	defer api.ended() // the last thing that a client hears of
	defer unlock()
	defer cancel()

	a, err := build(ctx, c, logger, machines)
	if err != nil {
		return err
	}
	api.status, api.watch = a.status, func(kubeconfig []byte) error { return a.kubernetes.watch(ctx, kubeconfig) }
	api.published = a.kubernetes.wait
	api.autoPause, api.wake, api.hostAccess = a.sleeper.SetLimit, a.wake, a.setHostAccess
	api.insecure = a.images.SetInsecure
	logger.Info("the agent starts", "profile", c.Profile, "address", c.Address, "pid", os.Getpid(), "offline", c.Offline)
	err = a.serve(ctx, api.handler(), ready)
	logger.Info("the agent ends", "err", err)
	return err
}

// lock makes the folder of the sockets and this process the cluster's only agent.
func lock(c Config) (unlock func(), err error) {
	sockets := []string{c.APISocket}
	if c.SSH == nil {
		sockets = append(sockets, c.NetworkSocket)
	}
	for _, socket := range sockets {
		if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
			return nil, err
		}
	}
	file := flock.New(c.APISocket+".lock", flock.SetPermissions(0o600))
	taken, err := file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", file.Path(), err)
	}
	if !taken {
		return nil, fail.New(fail.AgentFailed, "start the agent of cluster "+c.Profile, "%w", ErrRunning)
	}
	return func() { _ = file.Unlock() }, nil
}

// agent has the parts that a running agent is made of.
type agent struct {
	config     Config
	log        *slog.Logger
	link       link
	sleeper    *sleep.Sleeper
	publisher  *publish.Publisher
	images     *mirror.Mirror
	kubernetes *watcher
}

// Loader is a machine that can tell which container images its user has given it.
type Loader interface {
	// Loaded is as of mirror.Config.
	Loaded(ctx context.Context, image string) ([]byte, error)
}

func build(ctx context.Context, c Config, log *slog.Logger, machines func(Dialer) sleep.Machine) (*agent, error) {
	link, err := newLink(c, log)
	if err != nil {
		return nil, err
	}
	dial := published{config: c, link: link}
	var machine sleep.Machine
	if machines != nil {
		machine = machines(dial.DialContext)
	}
	sleeper := sleep.New(ctx, machine, c.AutoPause, log)
	publisher, err := publish.New(ctx, c.Address, sleep.Watch(link, sleeper, kinds(c)), log)
	if err != nil {
		return nil, err
	}
	sources := mirror.Config{Layout: c.Mirror, Cache: c.Cache, Offline: c.Offline, Logins: c.MirrorTLS != nil, Insecure: c.Insecure, Log: log}
	if loader, ok := machine.(Loader); ok {
		sources.Loaded = loader.Loaded
	}
	images, err := mirror.New(sources)
	if err != nil {
		return nil, err
	}
	return &agent{
		config: c, log: log, link: link, sleeper: sleeper, publisher: publisher, images: images,
		kubernetes: &watcher{config: c, link: link, dial: dial, sleeper: sleeper, publisher: publisher, log: log},
	}, nil
}

func (a *agent) serve(ctx context.Context, api http.Handler, ready *pipe) error {
	fixed := make([]publish.Request, 0, len(a.config.Ports))
	for _, port := range a.config.Ports {
		fixed = append(fixed, publish.Request{
			Name: port.Name, Protocol: publish.TCP, Port: port.Host, Guest: netip.AddrPortFrom(a.config.Guest, port.Guest),
		})
	}
	group, ctx := errgroup.WithContext(ctx)
	// From here on everything is closed by ctx, also when a later step fails.
	err := a.publisher.Fix(fixed) //nolint:contextcheck // listeners end with the Publisher's context, which is Run's
	group.Go(func() error { a.publisher.Run(ctx); return nil })
	group.Go(func() error { a.sleeper.Run(ctx); return nil })
	group.Go(func() error { a.boundLogs(ctx); return nil })
	if err == nil {
		err = a.open(ctx, group, api)
	}
	if err == nil {
		ready.succeeded()
	} else {
		group.Go(func() error { return err }) // ends the group's ctx, and so the rest
	}
	err = group.Wait()
	a.kubernetes.stop()
	return err
}

// boundLogs rotates the logs of agent and machine: both may run for months.
func (a *agent) boundLogs(ctx context.Context) {
	paths := slices.DeleteFunc([]string{a.config.LogFile, a.config.Console}, func(path string) bool { return path == "" })
	logfile.Bound(ctx, func(path string, err error) { a.log.Warn("the log cannot be rotated", "file", path, "err", err) }, paths...)
}

// open makes the sockets and starts what is behind them.
func (a *agent) open(ctx context.Context, group *errgroup.Group, api http.Handler) error {
	images, err := a.link.open(ctx, group)
	if err != nil {
		return err
	}
	if a.config.MirrorTLS != nil {
		images = tls.NewListener(images, a.config.MirrorTLS.server())
	}
	serveHTTP(ctx, group, "registry mirror", pulling(a.images, a.sleeper), images)
	clients, err := listen(a.config.APISocket)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	serveHTTP(ctx, group, "API", api, clients)
	return nil
}

func (a *agent) status(ctx context.Context) Status {
	health, watching := a.kubernetes.health(ctx)
	return Status{
		PID: os.Getpid(), Version: version(), Profile: a.config.Profile, Address: a.config.Address, LogFile: a.config.LogFile,
		Published: a.publisher.Published(), Connected: a.link.Connected(), Offline: a.config.Offline,
		Watching: watching, Health: health, AutoPause: a.sleeper.Limit(), Asleep: a.sleeper.Asleep(), Trouble: sentence(a.sleeper.Trouble()),
		HostAccess: a.hostAccess(), InsecureRegistries: a.images.Insecure(),
	}
}

// hostReacher is a link by which the machine may reach services of this host.
type hostReacher interface {
	Access() network.Access
	SetAccess(access network.Access)
}

var _ hostReacher = virtualLink{}

// hostAccess is what the machine may reach of this host.
func (a *agent) hostAccess() network.Access {
	if reacher, ok := a.link.(hostReacher); ok {
		return reacher.Access()
	}
	return network.Access{}
}

func (a *agent) setHostAccess(access network.Access) error {
	reacher, ok := a.link.(hostReacher)
	if ok {
		reacher.SetAccess(access)
		a.log.Info("what the machine reaches of this host's 127.0.0.1 has changed", "all", access.All, "ports", access.Ports)
		return nil
	}
	if access.All || len(access.Ports) > 0 {
		return errors.New("the machine is reached over SSH, and does not reach this host")
	}
	return nil
}

func (a *agent) wake(ctx context.Context) error {
	end, err := a.sleeper.Begin(ctx)
	if err != nil {
		return err
	}
	end()
	return nil
}

func version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		return build.Main.Version
	}
	return ""
}

const headerTimeout = 10 * time.Second
