// Package upstream speaks to remote registries: the OCI distribution API as a
// client, with tokens, redirects and streams handled the way a proxy needs.
//
// It must not know policy, who asks, or what is done with the bytes. Start with
// Registry; client.go has the one path that every request takes, auth.go how it
// is authorised, dial.go where it may go.
package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/image"
)

// Config describes one remote registry.
type Config struct {
	// Name is how logs, errors and rules call the upstream. Required; lower-case
	// letters, digits and dashes.
	Name string `yaml:"name"`
	// Prefix is the first segment of the names that go to this upstream, as in
	// docker.io/library/nginx. Empty for a default upstream.
	Prefix string `yaml:"prefix"`
	// URL is the registry's root, for example https://registry-1.docker.io.
	// http:// sends everything in the clear; with credentials it is refused
	// unless the host is this machine.
	URL string `yaml:"url"`
	// Hostnames are the registry names that policies see and that ns= may ask
	// for. Default: the prefix, or else the host of the URL.
	Hostnames []string `yaml:"hostnames"`
	// CAFile is a PEM file of certificate authorities that are trusted for this
	// upstream in addition to the system's.
	CAFile string `yaml:"ca_file"`
	// AllowHosts are further hosts (names or addresses, without port) that this
	// registry may name as token realm or redirect target although they are
	// private addresses: the token server and the object store beside it.
	// Public hosts need no entry.
	AllowHosts []string `yaml:"allow_hosts"`
	// IdleTimeout ends a transfer in which no byte moves for so long. Default 60s.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// Credentials are what Pratique shows this registry and its token server.
	Credentials Credentials `yaml:"credentials"`
	// Foreign is for callers in the process: somebody other than the operator
	// named the registry (a pod that is to be admitted). Its own host is then
	// connected to at public addresses alone, unless AllowHosts has it.
	Foreign bool `yaml:"-"`
}

// Credentials are an account at a registry.
type Credentials struct {
	// Type is empty (anonymous) or basic (user name and password, also where the
	// registry wants them exchanged for a token).
	Type string `yaml:"type"`
	// Username is the account.
	Username string `yaml:"username"`
	// PasswordFile holds the password or access token; white space at its end is
	// ignored. It is read anew for each use, so that it can be rotated.
	PasswordFile string `yaml:"password_file"`
	// Password is for callers in the process that know it; it is never read from
	// settings.
	Password string `yaml:"-"`
}

const (
	defaultIdleTimeout = 60 * time.Second
	maxPasswordSize    = 64 << 10 // bytes; registry tokens are a few KiB
)

var nameRE = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$`)

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nameRE.MatchString(c.Name) {
		refuse("name %q: want lower-case letters, digits and dashes", c.Name)
	}
	if c.Prefix != "" && (!image.ValidHost(c.Prefix) || !image.IsHost(c.Prefix)) {
		refuse("prefix %q: want a host name with a dot, a port, or localhost", c.Prefix)
	}
	for _, h := range c.Hostnames {
		if !image.ValidHost(h) {
			refuse("hostnames: %q is no host name", h)
		}
	}
	for _, h := range c.AllowHosts {
		if _, err := netip.ParseAddr(h); err != nil && (!image.ValidHost(h) || strings.Contains(h, ":")) {
			refuse("allow_hosts: %q is no host name or address without port", h)
		}
	}
	if c.IdleTimeout < 0 {
		refuse("idle_timeout: negative")
	}
	errs = append(errs, c.Credentials.validate())
	u, err := parseBase(c.URL)
	if err != nil {
		errs = append(errs, err)
	} else if u.Scheme == "http" && c.Credentials.Type != "" && !isLoopback(u.Hostname()) {
		refuse("url: credentials are not sent over http:// to another machine")
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("upstream %q: %w", c.Name, err)
	}
	return nil
}

// Names returns the registry names of the upstream for policies and ns=.
func (c Config) Names() []string {
	if len(c.Hostnames) > 0 {
		return c.Hostnames
	}
	if c.Prefix != "" {
		return []string{c.Prefix}
	}
	u, err := parseBase(c.URL)
	if err != nil {
		return nil
	}
	return []string{u.Host}
}

func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil: // its text would repeat the address, which may hold a password
		return nil, errors.New("url: not an address")
	case u.User != nil:
		return nil, errors.New("url: put user and password under credentials")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("url: want https:// or http://")
	case !image.ValidHost(u.Host) || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("url: %q is not scheme, host and port alone", s)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

func (c Credentials) validate() error {
	switch {
	case c.Type == "" && (c.Username != "" || c.PasswordFile != "" || c.Password != ""):
		return errors.New("credentials: user or password without type: basic")
	case c.Type == "":
		return nil
	case c.Type != "basic":
		return fmt.Errorf("credentials: type %q is not known: want basic", c.Type)
	case c.Username == "" || strings.Contains(c.Username, ":"):
		return errors.New("credentials: username is missing or has a colon")
	case (c.PasswordFile == "") == (c.Password == ""):
		return errors.New("credentials: password_file is missing (a password cannot stand in the configuration itself)")
	}
	return nil
}

// String keeps the password out of logs.
func (c Credentials) String() string { return "credentials of " + c.Username }

// GoString keeps the password out of %#v.
func (c Credentials) GoString() string { return c.String() }

// password reads the password.
func (c Credentials) password() (string, error) {
	if c.PasswordFile == "" {
		return c.Password, nil
	}
	f, err := os.Open(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPasswordSize))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return strings.TrimRight(string(b), " \t\r\n"), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
