// Package dashboard serves the page of `skiff dashboard`: the frontend in web/, a reverse proxy to the cluster's API server,
// and what the page asks of skiff itself, such as to start the cluster. It listens on loopback alone, and the cluster's
// credentials never reach the browser. Which address it listens on and how a browser is opened is the caller's business.
package dashboard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
)

// HostName is the name under which the page is served. A name of its own keeps its cookie away from everything else on this
// computer: a cookie of 127.0.0.1 goes to every port of that address (RFC 6265, section 8.5), and so to every application that
// a cluster publishes. Names below localhost are loopback in every browser (RFC 6761, section 6.3).
const HostName = "skiff.localhost"

// Clusters is what the page can do with a cluster; *cluster.Manager has it.
type Clusters interface {
	Load(profile string) (config.Cluster, error)
	Status(ctx context.Context, profile string) (cluster.Status, error)
	Kubectl(ctx context.Context, profile string) (tool, kubeconfig string, err error)
	Addons(ctx context.Context, profile string) ([]cluster.AddonStatus, error)
	EnableAddon(ctx context.Context, profile, name string, sink cluster.Sink) error
	DisableAddon(ctx context.Context, profile, name string, sink cluster.Sink) error
	Snapshots(ctx context.Context, profile string) ([]cluster.Snapshot, error)
	SaveSnapshot(ctx context.Context, o cluster.SaveOptions, sink cluster.Sink) (cluster.Snapshot, error)
	RestoreSnapshot(ctx context.Context, o cluster.RestoreOptions, sink cluster.Sink) (cluster.Started, error)
	DeleteSnapshot(ctx context.Context, profile, name string, sink cluster.Sink) error
}

var _ Clusters = (*cluster.Manager)(nil)

// Options is what a Server works with.
type Options struct {
	Profile    string
	Version    string // of skiff
	Port       int    // that the listener of Serve has; it is part of the only Host and Origin that are let in
	Clusters   Clusters
	Kubeconfig string // path of the cluster's own kubeconfig; it need not exist yet
	// Start does what `skiff start` does for the profile, with the user's settings.
	Start  func(ctx context.Context, sink cluster.Sink) error
	Assets fs.FS // the built page, each file compressed with gzip and named .gz; nil for the one in the program
}

// Server is the dashboard of one cluster. It is safe for concurrent use.
type Server struct {
	options  Options
	host     string
	tokens   *tokens
	jobs     *jobs
	forwards *forwards
	drains   *drains
	handler  http.Handler
	work     sync.WaitGroup // jobs
}

// New returns a Server that has begun nothing yet.
func New(o Options) *Server {
	if o.Assets == nil {
		o.Assets = built()
	}
	s := &Server{options: o, host: net.JoinHostPort(HostName, strconv.Itoa(o.Port)), tokens: newTokens(time.Now), jobs: newJobs()}
	apis := &transports{path: o.Kubeconfig}
	s.forwards = newForwards(apis)
	s.drains = newDrains()
	s.handler = s.guard(s.routes(apis))
	return s
}

// URL returns an address that lets one browser in. It can be used once, within ten minutes.
func (s *Server) URL() string {
	return "http://" + s.host + openPath + "?" + tokenParameter + "=" + s.tokens.mint()
}

// Handler returns what answers requests; Serve uses it.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on the listener until ctx ends, and then returns nil. What the page has begun by then, such as a start, is
// interrupted as by Ctrl-C, and Serve waits for that; port forwards end too.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          silent(),
	}
	s.jobs.within(ctx, &s.work)
	s.forwards.within(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = server.Close() // watches have no end of their own, so there is nothing to wait for
		err = <-ended
	}
	cancel()
	s.work.Wait()
	s.forwards.close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the dashboard: %w", err)
}

func (s *Server) routes(apis *transports) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config", s.config)
	mux.Handle("/clusters/{cluster}/", s.api(apis))
	s.own(mux)
	s.forwarding(mux)
	s.draining(mux)
	mux.Handle("/", pages(s.options.Assets))
	return mux
}
