// Package dns is CoreDNS with the plugins that the cluster's DNS uses, and no others: CoreDNS' own
// program brings along those of three clouds, which take longer to compile than all the rest of it.
package dns

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

// Main reads what CoreDNS reads: `coredns -conf COREFILE`.
func Main() error {
	// The order in which a query passes through them.
	dnsserver.Directives = []string{"bind", "health", "errors", "cache", "template", "kubernetes"}
	coremain.Run()
	return nil
}
