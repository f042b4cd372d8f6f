package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// AllowLowPorts is the command that lets ordinary users of Linux listen on ports from 80 up (Linux, Documentation/networking/
// ip-sysctl.rst, "ip_unprivileged_port_start").
const AllowLowPorts = "sudo sysctl net.ipv4.ip_unprivileged_port_start=80"

// open opens one port and notes host, error and note in it. A port below 1024 that is refused to this user is opened
// further up when another will do.
func (p *Publisher) open(one *port, another bool) {
	one.host, one.note = netip.AddrPortFrom(p.address, one.Port), ""
	if one.Refused != "" {
		one.err = errors.New(one.Refused)
		return
	}
	one.open, one.err = p.bind(one)
	if one.err == nil || !another || !errors.Is(one.err, syscall.EACCES) || one.Port >= 1024 {
		return
	}
	one.host = netip.AddrPortFrom(p.address, instead(one.Port))
	one.open, one.err = p.bind(one)
	reason := fmt.Sprintf("port %d is refused to ordinary users; to allow it: %s", one.Port, AllowLowPorts)
	if one.err != nil {
		one.err = fmt.Errorf("%s; and %w", reason, one.err)
		return
	}
	one.note = fmt.Sprintf("published at %d instead: %s", one.host.Port(), reason)
}

// instead is the port that stands in for one below 1024.
func instead(number uint16) uint16 {
	if number == 443 {
		return 8443
	}
	return number + 8000
}

func (p *Publisher) bind(one *port) (io.Closer, error) {
	closer, err := p.bindTo(one)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return closer, err
	}
	return nil, fmt.Errorf("%s is held by %s: %w", one.host, p.holder(one), syscall.EADDRINUSE)
}

func (p *Publisher) bindTo(one *port) (io.Closer, error) {
	if one.Protocol == UDP {
		// The network opens the socket itself and answers in words; this one tells the reason apart.
		var config net.ListenConfig
		probe, err := config.ListenPacket(p.ctx, "udp", one.host.String())
		if err != nil {
			return nil, err
		}
		_ = probe.Close()
		return p.network.ForwardUDP(one.host, one.Guest)
	}
	listener, err := p.listen(p.ctx, "tcp", one.host.String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.serving.Go(func() {
		defer cancel()
		p.serve(ctx, listener, one.Guest)
	})
	return closer(func() error {
		cancel()
		return listener.Close()
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

// holder says in words who has the port that one wants.
func (p *Publisher) holder(one *port) string {
	for _, other := range slices.Concat(p.fixed, p.services) {
		if other != one && other.open != nil && other.host == one.host && other.Protocol == one.Protocol {
			return other.owner()
		}
	}
	if process := Holder(one.Protocol, one.host); process != "" {
		return process
	}
	return "another process"
}
