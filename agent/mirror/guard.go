package mirror

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// errForbidden: a pod that names an image chooses the address that this host asks, and where its registry redirects to.
var errForbidden = errors.New("the registry mirror asks no address of this host itself, nor of its link")

// errNotEncrypted: also a registry that the user named as insecure is not told a login that others could read.
var errNotEncrypted = errors.New("the registry wants a login and has no TLS with a certificate that this host trusts, and a login is sent over such TLS only")

// public reports whether a registry may be there. All of 127.0.0.0/8 is the host, clusters' addresses too.
func public(address netip.Addr) error {
	address = address.Unmap()
	if address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified() {
		return fmt.Errorf("%w: %s", errForbidden, address)
	}
	return nil
}

// guarded reaches registries, and looks at the address of each connection after names are resolved, so that it holds for
// redirects and for names that resolve to something else the second time.
type guarded struct {
	proxy           func(*http.Request) (*url.URL, error)
	allow           func(netip.Addr) error
	direct, proxied http.RoundTripper
}

var _ http.RoundTripper = (*guarded)(nil)

// newGuarded takes certificates as they come where it is lax.
func newGuarded(proxy func(*http.Request) (*url.URL, error), allow func(netip.Addr) error, lax bool) *guarded {
	checked := net.Dialer{Timeout: dialTimeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return allow(to.Addr())
	}}
	plain := net.Dialer{Timeout: dialTimeout} // the proxy is the user's choice, and may well be on this host
	direct := transportOver(checked.DialContext, lax)
	proxied := transportOver(plain.DialContext, lax)
	proxied.Proxy = proxy
	return &guarded{proxy: proxy, allow: allow, direct: direct, proxied: proxied}
}

const dialTimeout = 5 * time.Second

func transportOver(dial func(ctx context.Context, network, address string) (net.Conn, error), lax bool) *http.Transport {
	return &http.Transport{
		DialContext:           dial,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: lax},
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 15 * time.Second,
		IdleConnTimeout:       30 * time.Second,
	}
}

// RoundTrip implements http.RoundTripper. A proxy resolves names by itself: what this host knows of them is looked at
// before it is asked.
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := g.proxy(r)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return g.direct.RoundTrip(r)
	}
	addresses, err := net.DefaultResolver.LookupNetIP(r.Context(), "ip", r.URL.Hostname())
	if err != nil {
		addresses = nil // many a host behind a proxy cannot resolve the names of others
	}
	for _, address := range addresses {
		if err := g.allow(address); err != nil {
			return nil, err
		}
	}
	return g.proxied.RoundTrip(r)
}

// encrypted refuses plain HTTP, and what is over it verifies certificates.
type encrypted struct{ over http.RoundTripper }

var _ http.RoundTripper = encrypted{}

func (e encrypted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%w: %s", errNotEncrypted, r.URL.Host)
	}
	response, err := e.over.RoundTrip(r)
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, fmt.Errorf("%w: %s: %w", errNotEncrypted, r.URL.Host, wrong)
	}
	return response, err
}
