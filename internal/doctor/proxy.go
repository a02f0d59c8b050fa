package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/pratique/pratique/internal/upstream"
)

const (
	maxSkew    = 30 * time.Second    // between the clocks, which tokens bear
	expirySoon = 14 * 24 * time.Hour // of a certificate
	apiVersion = "registry/2.0"
)

// checkProxy asks for the version of the registry API, and reports whether there is
// any sense in asking further.
func (d *doctor) checkProxy(ctx context.Context) bool {
	const name = "proxy answers"
	d.progress("asking %s", d.base)
	a, err := d.registry.send(ctx, question{method: http.MethodGet}, "")
	if err != nil {
		why, next := unreachable(err)
		d.report.failed(name, next, "%s: %s", d.base, why)
		return false
	}
	version := a.header.Get("Docker-Distribution-Api-Version")
	switch {
	case a.status >= 300 && a.status < 400:
		d.report.failed(name, "give --proxy the address that it leads to", "%s redirects to %s", d.base, a.header.Get("Location"))
		return false
	case a.status != http.StatusOK && a.status != http.StatusUnauthorized || version != apiVersion:
		d.report.failed(name, "--proxy is the registry's address (port 5000 unless configured), not that of the pages and the API (8228)",
			"%s/v2/ is no registry: %s, API version %q", d.base, a, version)
		return false
	}
	d.report.ok(name, d.inTheClear(), "%s/v2/: HTTP %d, API version %s", d.base, a.status, version)
	d.checkCertificate(a.tls)
	d.checkClock(a.header.Get("Date"))
	d.checkLogin(ctx, a)
	return true
}

// inTheClear says what is wrong with http:// to another machine.
func (d *doctor) inTheClear() string {
	host := d.base.Hostname()
	if ip := net.ParseIP(host); d.base.Scheme == "https" || host == "localhost" || ip != nil && ip.IsLoopback() {
		return ""
	}
	return "http:// to another machine: whoever stands between can answer in the proxy's place; give it a certificate (registry.tls)"
}

// unreachable says why there was no answer, and what to do.
func unreachable(err error) (why, next string) {
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch why = err.Error(); {
	case errors.As(err, &authority):
		next = "the certificate's authority is not trusted: name it with --ca, and give it to nodes (ca in hosts.toml)"
	case errors.As(err, &hostname):
		next = "use a name that the certificate has, or make one for this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		next = "renew the certificate, or set this machine's clock"
	case errors.As(err, &record), strings.Contains(why, "server gave HTTP response to HTTPS client"):
		why, next = "it does not speak TLS", "use http://, or give the proxy a certificate (registry.tls)"
	case errors.As(err, &dns):
		next = "nodes do not know names of Services: use one that their resolver knows"
	case errors.Is(err, syscall.ECONNREFUSED):
		next = "nobody listens there: is `pratique serve` running, and is registry.listen an address that is reached from here?"
	case errors.Is(err, context.DeadlineExceeded):
		why, next = "no answer in time", "look for a firewall or network policy in between; --timeout allows more"
	}
	return why, next
}

func (d *doctor) checkCertificate(state *tls.ConnectionState) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	next, left := "", leaf.NotAfter.Sub(d.Now())
	if left < expirySoon {
		next = fmt.Sprintf("the certificate runs out on %s: renew it", leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	if d.Insecure {
		d.report.gap("certificate", "name its authority with --ca in place of --insecure", "not verified (--insecure)")
		return
	}
	d.report.ok("certificate", next, "issued by %q, good until %s", leaf.Issuer.CommonName, leaf.NotAfter.UTC().Format(time.DateOnly))
}

func (d *doctor) checkClock(date string) {
	const name = "clock"
	theirs, err := http.ParseTime(date)
	if err != nil {
		d.report.gap(name, "", "the answer has no date")
		return
	}
	if skew := d.Now().Sub(theirs).Abs(); skew > maxSkew {
		d.report.failed(name, "set the clocks (NTP): tokens and certificates depend on them", "this machine's and the proxy's differ by %s", skew.Round(time.Second))
		return
	}
	d.report.ok(name, "", "the proxy's is this machine's within %s", maxSkew)
}

// checkLogin has the token service give a token, as a client does.
func (d *doctor) checkLogin(ctx context.Context, ping answer) {
	const name = "log in"
	who := "anonymous"
	if d.Username != "" {
		who = d.Username
	}
	if ping.status == http.StatusOK {
		d.report.ok(name, "", "the proxy asks nobody who he is")
		return
	}
	scheme, params := upstream.Challenge(ping.header)
	if scheme == "" {
		d.report.failed(name, "something in between takes the header WWW-Authenticate away, or this is no Pratique", "HTTP 401 without a challenge that clients know")
		return
	}
	a, err := d.registry.ask(ctx, question{method: http.MethodGet})
	switch {
	case errors.Is(err, errRealm):
		d.report.failed(name, "give --proxy the address that clients use, or mend auth.token.realm", "%v", err)
	case errors.Is(err, errAnonymous):
		d.report.gap(name, advice(err), "%v", err)
	case errors.Is(err, errLogin):
		d.report.failed(name, "`pratique auth` makes users and robots; --user and --password-file name one", "%s: %v", who, err)
	case err != nil:
		d.report.failed(name, "clients cannot log in either", "%s: %v", who, err)
	case a.status == http.StatusOK:
		d.report.ok(name, "", "%s: %s challenge, tokens from %s", who, scheme, params["realm"])
	case d.Username == "":
		d.report.gap(name, toldWho, "anonymous clients are let nowhere: %s", a)
	default:
		d.report.failed(name, "", "%s: %s", who, a)
	}
}

const toldWho = "name a user or robot that may pull with --user and --password-file"

// advice is what to do about an answer that did not come.
func advice(err error) string {
	if errors.Is(err, errLogin) || errors.Is(err, errAnonymous) {
		return toldWho
	}
	return ""
}

// checkMirrors asks for every registry whether the proxy answers for it as a
// mirror. The image that is asked for need not be there.
func (d *doctor) checkMirrors(ctx context.Context, reachable bool) {
	for _, host := range d.registries() {
		name := "mirror of " + host
		if !reachable {
			d.report.gap(name, "", "the proxy does not answer")
			continue
		}
		d.progress("asking for %s", host)
		a, err := d.registry.ask(ctx, manifest(http.MethodHead, "pratique-doctor/probe", "latest", host))
		switch {
		case err != nil:
			d.report.gap(name, advice(err), "%v", err)
		case a.header.Get("OCI-Namespace") == host:
			d.report.ok(name, "", "answers for ns=%s", host)
		case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
			d.report.gap(name, toldWho, "these credentials are not told: %s", a)
		default:
			d.report.failed(name, fmt.Sprintf("add an upstream with prefix: %s (or with it among hostnames)", host), "the proxy does not know the registry %s: HTTP %d", host, a.status)
		}
	}
}
