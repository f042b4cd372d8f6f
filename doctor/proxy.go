package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
)

// published holds the addresses of all clusters.
var published = netip.MustParsePrefix("127.77.0.0/16") //nolint:gochecknoglobals // a constant of a type that has none

// proxy looks at the variables that lead programs to a proxy. skiff, kubectl and all else that is written in Go never use
// one for loopback addresses (golang.org/x/net/http/httpproxy, ProxyFunc); curl, Python and others do, unless NO_PROXY
// keeps them from it, and then they ask the proxy for a cluster that only this host has.
func (h Host) proxy(context.Context) []Finding {
	var findings []Finding
	var names []string
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		value := h.Env(name)
		if value == "" {
			continue
		}
		names = append(names, name)
		if strings.EqualFold(name, "ALL_PROXY") {
			continue // images are not pulled through it (net/http, ProxyFromEnvironment)
		}
		if problem := badProxy(value); problem != "" {
			findings = append(findings, warning("unset "+name, "%s %s, so no images are pulled through it.", name, problem))
		}
	}
	if len(names) == 0 {
		return []Finding{good("No proxy is set.")}
	}
	no := h.Env("NO_PROXY")
	if no == "" {
		no = h.Env("no_proxy")
	}
	if !h.spared(no) {
		both := machine.Quote(strings.TrimPrefix(no+",127.77.0.0/16", ","))
		findings = append(findings, warning(fmt.Sprintf("export NO_PROXY=%s no_proxy=%s", both, both),
			"%s is set, and NO_PROXY does not spare 127.77.0.0/16: curl and others would ask the proxy for a cluster, which only this host has.", strings.Join(names, ", ")))
	}
	if len(findings) == 0 {
		pulled := "images are pulled from registries without a proxy, as HTTPS_PROXY is not set"
		if h.Env("HTTPS_PROXY") != "" || h.Env("https_proxy") != "" {
			pulled = "images are pulled through HTTPS_PROXY"
		}
		return []Finding{good("%s is set; clusters are reached without a proxy, and %s. Programs in pods use none.", strings.Join(names, ", "), pulled)}
	}
	return findings
}

// badProxy says what is wrong with the address of a proxy. The address itself may hold a password and is not shown.
func badProxy(value string) string {
	if !strings.Contains(value, "://") {
		value = "http://" + value // as Go and curl take it
	}
	parsed, err := url.Parse(value)
	if err != nil || parsed.Hostname() == "" {
		return "is not the address of a proxy"
	}
	switch parsed.Scheme {
	case "http", "https", "socks5", "socks5h":
		return ""
	}
	return fmt.Sprintf("begins with %s://, which is none of http, https and socks5", parsed.Scheme)
}

// spared reports whether NO_PROXY, a list, holds the addresses of all clusters: the network, or one around it, or every
// cluster that there is.
func (h Host) spared(list string) bool {
	var single []netip.Addr
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(entry); err == nil && prefix.Bits() <= published.Bits() && prefix.Overlaps(published) {
			return true
		}
		if address, err := netip.ParseAddr(entry); err == nil {
			single = append(single, address)
		}
	}
	if len(single) == 0 {
		return false
	}
	for _, cluster := range h.described() {
		if cluster.err == nil && !slices.Contains(single, cluster.config.Address) {
			return false
		}
	}
	return len(h.described()) > 0
}
