package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// privateDomains are the ends of names that the public DNS does not have: RFC 6762, RFC 8375, and
// those that ICANN keeps out of it or that routers use.
var privateDomains = []string{".local", ".lan", ".home", ".home.arpa", ".internal"}

// hostNames are the names that porthole answers to. Any page of the internet can have its own name
// lead to this board once the page is loaded (DNS rebinding). Then browsers take porthole for the
// page's server, and the page may read the picture and change settings. But Host, which no page
// can set, still has the page's name. So without a password, porthole answers only to names that
// others cannot have.
type hostNames struct {
	own     string   // this machine's, without a domain
	allowed []string // more of them, in lower case
}

// newHostNames returns the names of a machine that calls itself own, and more.
func newHostNames(own string, allowed []string) hostNames {
	own, _, _ = strings.Cut(strings.ToLower(own), ".")
	if own == "localhost" {
		own = "" // anybody has it
	}
	return hostNames{own, allowed}
}

// parseAllowHost reads an -allow-host.
func (o *options) parseAllowHost(name string) error {
	if name == "" || strings.ContainsAny(name, "/:*@ ") {
		return errors.New("must be a name like cam.example.com, without a port")
	}
	o.allowHosts = append(o.allowHosts, canonicalName(name))
	return nil
}

// canonicalName returns a name as it is compared with others.
func canonicalName(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// check reports why a request is not answered. Over TLS every name is: of a name that is not in
// the certificate, browsers do not ask anything.
func (n hostNames) check(r *http.Request) error {
	host, port := splitHost(r.Host)
	if r.TLS != nil || n.has(host) || isFromProxy(r, port) {
		return nil
	}
	return fmt.Errorf("porthole does not answer to the name %s, which might be a stranger's: use the board's IP address, or start porthole with -allow-host %[1]s, or with a password (-auth)", host)
}

// has reports whether nobody else can have a name.
func (n hostNames) has(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") {
		return true // an address, a name without a domain, localhost, or none at all, as in HTTP/1.0
	}
	first, _, _ := strings.Cut(name, ".")
	isEnd := func(domain string) bool { return strings.HasSuffix(name, domain) }
	return n.own != "" && first == n.own || slices.ContainsFunc(privateDomains, isEnd) || slices.Contains(n.allowed, name)
}

// splitHost splits a Host into the name or address and the port, which may be "".
func splitHost(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return canonicalName(host), port
}

// isFromProxy reports whether a request came through a proxy on this machine, which may have any
// name. Which names the proxy itself answers to is set there.
//
// A browser on this machine comes from the same addresses, and a page can add all that proxies do,
// like X-Forwarded-Host, but not choose Host. A browser that asks us has our port there. If
// it has another, or none, the browser has asked a proxy, because porthole has this port. The one
// proxy that this does not find keeps its port in Host, and it is that of porthole, at another
// address: it needs -allow-host.
func isFromProxy(r *http.Request, port string) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return true // over a unix socket, which browsers don't use
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	from := peer.Addr().Unmap()
	sameMachine := from.IsLoopback() || from == local.AddrPort().Addr().Unmap()
	return sameMachine && cmp.Or(port, "80") != strconv.Itoa(local.Port)
}
