package mirror

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
)

// insecure are the registries that the user named as such: anybody on the way to them may answer in their place.
type insecure struct{ list atomic.Pointer[[]string] }

// set takes the place of what was set before: hosts as image names have them, with their port, or networks as in 10.1.0.0/16.
func (i *insecure) set(list []string) { i.list.Store(&list) }

func (i *insecure) get() []string {
	if list := i.list.Load(); list != nil {
		return *list
	}
	return nil
}

// has reports whether a host, with its port where it has one, was named. Networks are of addresses in image names; names
// are not resolved for it.
func (i *insecure) has(host string) bool {
	address, _ := netip.ParseAddr((&url.URL{Host: host}).Hostname())
	for _, one := range i.get() {
		network, err := netip.ParsePrefix(one)
		if strings.EqualFold(one, host) || err == nil && network.Contains(address.Unmap()) {
			return true
		}
	}
	return false
}

// naming are the options by which go-containerregistry tries plain HTTP too, where TLS does not answer.
func (i *insecure) naming(registry string) []name.Option {
	if i.has(registry) {
		return []name.Option{name.Insecure}
	}
	return nil
}

// secure asks registries over TLS with a certificate that this host trusts, and those that the user named for it in any way.
// go-containerregistry would try plain HTTP for private addresses too (pkg/name, Registry.Scheme), and follow a redirect there.
type secure struct {
	verifying, lax http.RoundTripper
	insecure       *insecure
}

var _ http.RoundTripper = secure{}

// RoundTrip implements http.RoundTripper. It fails with *plainError rather than ask by plain HTTP.
func (s secure) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case s.insecure.has(r.URL.Host):
		return s.lax.RoundTrip(r)
	case r.URL.Scheme != "https":
		return nil, &plainError{host: r.URL.Host, answered: r.Response != nil}
	}
	response, err := s.verifying.RoundTrip(r)
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(header.RecordHeader[:]) == "HTTP/" {
		return nil, &plainError{host: r.URL.Host, answered: true}
	}
	return response, err
}

// plainError is that of a host that would have to be asked by plain HTTP. answered says that it, or the registry that redirects
// there, has answered; else it is a guess of go-containerregistry that it may.
type plainError struct {
	host     string
	answered bool
}

func (p *plainError) Error() string {
	return fmt.Sprintf("%s is not asked without TLS, as anybody on the way there could answer: `skiff start --insecure-registry %s` allows it", p.host, p.host)
}
