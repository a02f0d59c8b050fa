package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errForbidden: an address that no answer of a registry may lead to.
var errForbidden = errors.New("address is not allowed")

type proxyFunc func(*http.Request) (*url.URL, error)

// dialer connects to the configured registry anywhere, and to hosts that the
// registry names (redirects, token realms, upload locations) only at public
// addresses. The check is on the address after DNS, just before connecting, so
// a name cannot pass it and then resolve to something else.
type dialer struct {
	trusted  map[string]bool // configured hosts, lower case, without port
	loopback bool            // the registry itself is on this machine
	proxy    proxyFunc

	mu      sync.Mutex
	proxies map[string]bool // host:port of the proxies in use; few, from the environment
}

func newDialer(host string, allow []string, proxy proxyFunc) *dialer {
	d := &dialer{
		trusted:  map[string]bool{strings.ToLower(host): true},
		loopback: isLoopback(host),
		proxy:    proxy,
		proxies:  map[string]bool{},
	}
	for _, h := range allow {
		d.trusted[strings.ToLower(h)] = true
	}
	return d
}

// distrust takes back what newDialer grants the registry's own host, unless it
// is among the allowed ones.
func (d *dialer) distrust(host string, allow []string) {
	if slices.ContainsFunc(allow, func(h string) bool { return strings.EqualFold(h, host) }) {
		return
	}
	delete(d.trusted, strings.ToLower(host))
	d.loopback = false
}

// DialContext connects to addr, which is a registry, a host that it named, or
// the operator's proxy.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	nd := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !d.isProxy(addr) {
		nd.Control = func(_, address string, _ syscall.RawConn) error { return d.check(host, address) }
	}
	return nd.DialContext(ctx, network, addr)
}

// check decides about one resolved address of host.
func (d *dialer) check(host, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", errForbidden, address)
	}
	return d.checkIP(host, ap.Addr())
}

func (d *dialer) checkIP(host string, ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if d.trusted[strings.ToLower(host)] || d.loopback && ip.IsLoopback() || isPublic(ip) {
		return nil
	}
	return fmt.Errorf("%w: %s is %s, a private address of a host that is not configured", errForbidden, host, ip)
}

// reserved are ranges that netip has no word for: shared (RFC 6598), IETF
// (RFC 6890), benchmarking (RFC 2544), former class E, and the IPv6 forms that
// carry an IPv4 address (NAT64 RFC 6052 and 8215, 6to4 RFC 3056).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
}

func isPublic(ip netip.Addr) bool {
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}

// proxyFor asks the environment for a proxy. Behind one, DNS is the proxy's
// business; what can still be refused is an address written as such, and the
// proxy itself as a target.
func (d *dialer) proxyFor(req *http.Request) (*url.URL, error) {
	proxy, err := d.proxy(req)
	if err != nil || proxy == nil {
		return nil, err
	}
	key := hostPort(proxy)
	d.mu.Lock()
	d.proxies[key] = true
	d.mu.Unlock()
	host := req.URL.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if err := d.checkIP(host, ip); err != nil {
			return nil, err
		}
	}
	if !d.trusted[strings.ToLower(host)] && (hostPort(req.URL) == key || isLoopback(host) && !d.loopback) {
		return nil, fmt.Errorf("%w: %s", errForbidden, host)
	}
	return proxy, nil
}

func (d *dialer) isProxy(addr string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proxies[strings.ToLower(addr)]
}

// hostPort is the host and port that a connection for u goes to.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
