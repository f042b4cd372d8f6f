// Package publish makes ports of the guest answer on the cluster's loopback address: listeners on the host, and what
// carries their connections into the virtual network. Which ports these are is decided by others.
package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/fail"
)

// Protocol is what a port speaks.
type Protocol string

// The protocols that can be published.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Request is one port that should be published.
type Request struct {
	Name      string // of the port: "ssh", "http"; unique within its Service
	Namespace string // of the Service; empty for the ports that every cluster has
	Service   string
	Protocol  Protocol
	Port      uint16         // on the cluster's address
	Guest     netip.AddrPort // where it leads, inside the virtual network
	Refused   string         // why it cannot be published, when that is known beforehand; it is listed with this error
}

func (r Request) owner() string {
	if r.Service == "" {
		return "skiff's own " + r.Name
	}
	return "Service " + r.Namespace + "/" + r.Service
}

// Published is one port as it stands.
type Published struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace,omitempty"`
	Service   string         `json:"service,omitempty"`
	Protocol  Protocol       `json:"protocol"`
	Host      netip.AddrPort `json:"host"` // where it answers, or would
	Guest     netip.AddrPort `json:"guest"`
	Error     string         `json:"error,omitempty"` // why it is not published; tried again every few seconds
	Note      string         `json:"note,omitempty"`  // what is odd about Host, and the command that mends it
}

// Network is the virtual network as this package needs it.
type Network interface {
	// DialContext connects to a TCP address. It gives up by itself when nothing answers there: clients wait as long.
	DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error)
	ForwardUDP(host, guest netip.AddrPort) (io.Closer, error)
}

// retry is how often a port that was taken or refused is tried again.
const retry = 3 * time.Second

// Publisher publishes ports on one loopback address. It is safe for concurrent use.
type Publisher struct {
	ctx     context.Context // ends all connections; a listener outlives the call that opened it
	address netip.Addr
	network Network
	log     *slog.Logger
	listen  func(ctx context.Context, network, address string) (net.Listener, error)

	mu       sync.Mutex
	fixed    []*port
	services []*port
	serving  sync.WaitGroup
}

// port is a Request and what became of it.
type port struct {
	Request
	host netip.AddrPort
	open io.Closer // nil: not published
	err  error
	note string
}

// New returns a Publisher on address, which must be a loopback address: nothing is ever published to other machines. All
// that it opens ends with ctx.
func New(ctx context.Context, address netip.Addr, network Network, log *slog.Logger) (*Publisher, error) {
	if !address.IsLoopback() {
		return nil, fmt.Errorf("refusing to publish on %q: it is not a loopback address", address)
	}
	var config net.ListenConfig
	return &Publisher{ctx: ctx, address: address, network: network, log: log, listen: config.Listen}, nil
}

// Fix publishes the ports that the cluster cannot do without, all or none. A taken one is a fail.PortInUse that names the
// port and, where it can be found out, its holder.
func (p *Publisher) Fix(requests []Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, request := range requests {
		one := &port{Request: request}
		p.open(one, false)
		if one.err != nil {
			for _, opened := range p.fixed {
				opened.close()
			}
			p.fixed = nil
			return p.explain(one)
		}
		p.fixed = append(p.fixed, one)
	}
	return nil
}

func (p *Publisher) explain(one *port) error {
	op := fmt.Sprintf("publish %s (port %d of the guest) at %s", one.Name, one.Guest.Port(), one.host)
	if !errors.Is(one.err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %w", op, one.err)
	}
	failure := &fail.Error{ID: fail.PortInUse, Op: op, Err: one.err}
	return failure.WithHint("End the process that holds %s and run the same command again.", one.host).
		WithNext("ss -ltnp 'sport = :%d'", one.host.Port())
}

// Set makes requests the whole of what is published for Services. Ports that stay are not touched, nor are their
// connections. A port that cannot be opened is listed with its error and tried again by Run.
func (p *Publisher) Set(requests []Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var next []*port
	for _, request := range requests {
		at := slices.IndexFunc(p.services, func(one *port) bool { return one.Request == request })
		if at < 0 {
			next = append(next, &port{Request: request, host: netip.AddrPortFrom(p.address, request.Port)})
			continue
		}
		next = append(next, p.services[at])
		p.services = slices.Delete(p.services, at, at+1)
	}
	for _, gone := range p.services {
		if gone.open != nil {
			p.log.Info("unpublished", "host", gone.host, "service", gone.Namespace+"/"+gone.Service)
		}
		gone.close()
	}
	p.services = next
	for _, one := range next {
		if one.open == nil {
			p.try(one)
		}
	}
}

// Run tries again, until ctx ends, what could not be opened, and closes everything then.
func (p *Publisher) Run(ctx context.Context) {
	ticker := time.NewTicker(retry)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.close()
			return
		case <-ticker.C:
			p.again() //nolint:contextcheck // listeners end with the Publisher's own context
		}
	}
}

func (p *Publisher) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.services {
		switch {
		case one.open == nil:
			p.try(one)
		case one.note != "" && p.allowed(one.Port):
			one.close()
			p.try(one)
		}
	}
}

// allowed reports whether the low port could be had by now.
func (p *Publisher) allowed(number uint16) bool {
	listener, err := p.listen(p.ctx, "tcp", netip.AddrPortFrom(p.address, number).String())
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}

// try opens a Service's port and logs what has changed by that.
func (p *Publisher) try(one *port) {
	before := one.err
	p.open(one, true)
	log := p.log.With("host", one.host, "guest", one.Guest, "service", one.Namespace+"/"+one.Service)
	switch {
	case one.err == nil && one.note != "":
		log.Info("published", "note", one.note)
	case one.err == nil:
		log.Info("published")
	case before == nil || before.Error() != one.err.Error():
		log.Warn("not published", "err", one.err)
	}
}

// Published lists every port: those that every cluster has first, then those of Services in the order of Set.
func (p *Publisher) Published() []Published {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Published, 0, len(p.fixed)+len(p.services))
	for _, one := range slices.Concat(p.fixed, p.services) {
		published := Published{
			Name: one.Name, Namespace: one.Namespace, Service: one.Service, Protocol: one.Protocol,
			Host: one.host, Guest: one.Guest, Note: one.note,
		}
		if one.err != nil {
			published.Error = one.err.Error()
		}
		list = append(list, published)
	}
	return list
}

// close ends all listeners and connections and waits for them.
func (p *Publisher) close() {
	p.mu.Lock()
	for _, one := range slices.Concat(p.fixed, p.services) {
		one.close()
	}
	p.fixed, p.services = nil, nil
	p.mu.Unlock()
	p.serving.Wait()
}

func (o *port) close() {
	if o.open != nil {
		_ = o.open.Close()
	}
	o.open, o.err, o.note = nil, nil, ""
}
