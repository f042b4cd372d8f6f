// Command coredns is CoreDNS with the plugins that a cluster's DNS uses and no others. Upstream's own program links
// every plugin there is, cloud SDKs included, and is several times as large.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/debug"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/whoami"
)

func main() {
	// The order of the directives decides the order of the plugins in the chain: CoreDNS' plugin.cfg.
	dnsserver.Directives = []string{
		"reload", "debug", "ready", "health", "prometheus", "errors", "log", "loadbalance", "rewrite", "cache",
		"template", "hosts", "kubernetes", "loop", "forward", "whoami",
	}
	coremain.Run()
}
