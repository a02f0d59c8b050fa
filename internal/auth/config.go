package auth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config says who may use the registry and the API.
type Config struct {
	// Anonymous is what a client without credentials may do, and everybody else
	// at least: none, pull, or push (pull and push, not delete). Default: while
	// registry and API listen on loopback alone and there is no users_file,
	// everything but break-glass; else none.
	Anonymous string `yaml:"anonymous"`
	// UsersFile holds users and robots; `pratique auth` edits it. A change is in
	// force within seconds. Default: nobody has a name.
	UsersFile string `yaml:"users_file"`
	// Token configures the token service.
	Token TokenConfig `yaml:"token"`
	// Rules say what users and robots may do. They add up: what one rule allows,
	// no other takes away. Default: all of them may pull and push everywhere.
	Rules []Rule `yaml:"rules"`
}

// TokenConfig configures the token service.
type TokenConfig struct {
	// KeyFile holds the key that signs tokens, at least 32 bytes. Empty: a new
	// key at every start, so that tokens end with the process.
	KeyFile string `yaml:"key_file"`
	// TTL is how long a token is good. Default 5m.
	TTL time.Duration `yaml:"ttl"`
	// Realm is the address of the token service as clients reach it, for example
	// https://registry.example.org/auth/token. Default: /auth/token on the host
	// that the client spoke to, which is wrong behind a proxy that ends TLS.
	Realm string `yaml:"realm"`
}

// Rule allows some principals some actions on some repositories.
type Rule struct {
	// Who holds names (alice, robot+ci, anonymous) and patterns; "*" is everybody
	// with a name. A * matches any run of characters.
	Who []string `yaml:"who"`
	// Repositories holds patterns over the canonical name of a repository,
	// "docker.io/library/nginx". A * matches any run of characters, slashes too.
	Repositories []string `yaml:"repositories"`
	// Actions holds pull, push (includes pull), delete, admin, break-glass.
	Actions []string `yaml:"actions"`
}

// maxRules bounds what every request is held against.
const maxRules = 1000

// whoShape is the shape of a name or pattern in a rule.
var whoShape = regexp.MustCompile(`^[a-z0-9._+*-]{1,128}$`)

// Validate checks the configuration; loopback tells whether registry and API
// listen on loopback alone.
func (c Config) Validate(loopback bool) error {
	var problems []error
	switch c.Anonymous {
	case "", None, Pull, Push:
	default:
		problems = append(problems, fmt.Errorf("auth.anonymous: %q is none of none, pull, push", c.Anonymous))
	}
	forAnonymous := slices.ContainsFunc(c.Rules, func(r Rule) bool { return slices.Contains(r.Who, Anonymous) })
	switch {
	case c.UsersFile != "":
	case c.Anonymous == "" && !loopback:
		problems = append(problems, errors.New("auth.anonymous: nobody could use the registry: it or the API listens on an address that is not loopback, and nothing says who may. "+
			"Set auth.users_file (`pratique auth user add NAME` makes the file), set auth.anonymous to pull or push in so many words if everybody who can reach it may use it, or listen on 127.0.0.1"))
	case c.Anonymous == None && !forAnonymous:
		problems = append(problems, errors.New("auth.anonymous: nobody could use the registry: there is no auth.users_file, and no rule for anonymous. "+
			"Set auth.users_file (`pratique auth user add NAME` makes the file), or auth.anonymous to pull or push"))
	case c.Anonymous == "" && len(c.Rules) > 0:
		problems = append(problems, errors.New("auth.rules: without auth.users_file and auth.anonymous everybody on this machine may do everything, and no rule changes that. Set one of the two"))
	}
	if c.Token.TTL < 0 || (c.Token.TTL > 0 && c.Token.TTL < time.Minute) {
		problems = append(problems, errors.New("auth.token.ttl: at least 1m"))
	}
	if err := validRealm(c.Token.Realm); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(append(problems, c.validateRules()...)...)
}

func (c Config) validateRules() (problems []error) {
	if len(c.Rules) > maxRules {
		return []error{fmt.Errorf("auth.rules: %d are too many, at most %d", len(c.Rules), maxRules)}
	}
	for i, r := range c.Rules {
		if err := r.validate(c.UsersFile != ""); err != nil {
			problems = append(problems, fmt.Errorf("auth.rules[%d].%w", i, err))
		}
	}
	return problems
}

// validate says what is wrong with a rule; named tells whether anybody can have
// a name.
func (r Rule) validate(named bool) error {
	if len(r.Who) == 0 || len(r.Repositories) == 0 || len(r.Actions) == 0 {
		return errors.New("who, repositories, actions: none of them may be empty")
	}
	for _, w := range r.Who {
		if !whoShape.MatchString(w) {
			return fmt.Errorf("who: %q is no name and no pattern: a-z 0-9 . _ - + *", w)
		}
		if w != Anonymous && !named {
			return fmt.Errorf("who: nobody can be %q without auth.users_file", w)
		}
	}
	for _, p := range r.Repositories {
		if p == "" || strings.ContainsAny(p, " \t\r\n") {
			return fmt.Errorf("repositories: %q is no pattern; \"*\" stands for all", p)
		}
	}
	for _, a := range r.Actions {
		if !slices.Contains(actions(), a) {
			return fmt.Errorf("actions: %q is none of %s", a, strings.Join(actions(), ", "))
		}
		if a == BreakGlass && slices.Contains(r.Who, Anonymous) {
			return errors.New("actions: break-glass needs a name, anonymous has none")
		}
	}
	return nil
}

func validRealm(realm string) error {
	if realm == "" {
		return nil
	}
	u, err := url.Parse(realm)
	// What was parsed is not repeated: it may hold a password.
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Fragment != "" || quotable(realm) != realm {
		return errors.New("auth.token.realm: want https://HOST/auth/token, as clients reach it, without user or fragment")
	}
	return nil
}

// Level returns what everybody may do.
func (c Config) Level(loopback bool) string {
	switch {
	case c.Anonymous != "":
		return c.Anonymous
	case c.open(loopback):
		return Push
	}
	return None
}

// open reports whether everybody who reaches this machine's loopback may do
// everything that needs no name.
func (c Config) open(loopback bool) bool {
	return loopback && c.Anonymous == "" && c.UsersFile == ""
}

// Loopback reports whether a listen address is on loopback alone.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
