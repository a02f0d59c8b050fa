package upstream

import (
	"net/http"
	"net/netip"
	"net/url"
)

// NewWithProxy is New with a proxy for loopback too.
func NewWithProxy(cfg Config, proxy func(*http.Request) (*url.URL, error)) (*Registry, error) {
	return newRegistry(cfg, proxy)
}

// MayDial says whether a registry at configured may lead to host at ip.
func MayDial(configured string, allow []string, host, ip string) bool {
	return newDialer(configured, allow, nil).checkIP(host, netip.MustParseAddr(ip)) == nil
}

// RealmTrusted says whether credentials for the registry may go to realm.
func RealmTrusted(registry, realm string) bool {
	base, err := parseBase(registry)
	if err != nil {
		return false
	}
	_, err = parseRealm(base, realm)
	return err == nil
}

// Challenges are the schemes and parameters of WWW-Authenticate headers.
func Challenges(headers ...string) (schemes []string, params []map[string]string) {
	for _, c := range parseChallenges(headers) {
		schemes, params = append(schemes, c.scheme), append(params, c.params)
	}
	return schemes, params
}
