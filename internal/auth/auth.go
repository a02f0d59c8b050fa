// Package auth says who a registry client is and what it may do: the token
// service of the distribution protocol and the check of its tokens.
//
// It knows no repository's content and no policy. Start with Service.
package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Actions of the distribution protocol.
const (
	Pull   = "pull"
	Push   = "push"
	Delete = "delete"
)

// Levels that configuration can grant to everybody.
const (
	None = "none"
)

// Anonymous is the name of a client that did not say who it is.
const Anonymous = "anonymous"

// Config says who may use the registry. Users come with a later version: what
// can be chosen is what everybody may do.
type Config struct {
	// Anonymous is what a client without credentials may do: none, pull, or
	// push (pull, push and delete). Default: push while registry and API listen
	// on loopback alone; none otherwise, and then serve refuses to start, since
	// nobody could use it.
	Anonymous string `yaml:"anonymous"`
	// Token configures the token service.
	Token TokenConfig `yaml:"token"`
}

// TokenConfig configures the token service.
type TokenConfig struct {
	// KeyFile holds the key that signs tokens, at least 32 bytes. Empty: a new
	// key at every start, so that tokens end with the process.
	KeyFile string `yaml:"key_file"`
	// TTL is how long a token is good. Default 5m.
	TTL time.Duration `yaml:"ttl"`
}

// Validate checks the configuration; loopback tells whether registry and API
// listen on loopback alone.
func (c Config) Validate(loopback bool) error {
	switch c.Anonymous {
	case "", None, Pull, Push:
	default:
		return fmt.Errorf("auth.anonymous: %q is none of none, pull, push", c.Anonymous)
	}
	if c.Level(loopback) == None {
		return errors.New("auth.anonymous: nobody could use the registry: it listens on an address that is not loopback, " +
			"and this version knows no users. Set auth.anonymous to pull or push in so many words if everybody who can reach it may use it, or listen on 127.0.0.1")
	}
	if c.Token.TTL < 0 || (c.Token.TTL > 0 && c.Token.TTL < time.Minute) {
		return errors.New("auth.token.ttl: at least 1m")
	}
	return nil
}

// Level returns what everybody may do.
func (c Config) Level(loopback bool) string {
	switch {
	case c.Anonymous != "":
		return c.Anonymous
	case loopback:
		return Push
	}
	return None
}

// Service grants and checks tokens. It is safe for concurrent use.
type Service struct {
	key   []byte
	ttl   time.Duration
	level string
}

const audience = "pratique"

// New makes the service.
func New(c Config, loopback bool) (*Service, error) {
	s := &Service{ttl: c.Token.TTL, level: c.Level(loopback)}
	if s.ttl == 0 {
		s.ttl = 5 * time.Minute
	}
	if c.Token.KeyFile == "" {
		s.key = make([]byte, 32)
		rand.Read(s.key)
		return s, nil
	}
	key, err := os.ReadFile(c.Token.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("auth.token.key_file: %w", err)
	}
	if len(key) < 32 {
		return nil, fmt.Errorf("auth.token.key_file: %d bytes are too few, at least 32", len(key))
	}
	s.key = key
	return s, nil
}

// Caller is who sends a request, and what it may do.
type Caller struct {
	Name   string
	access []Scope
	// Token is true when the request carried a valid token.
	Token bool
	level string
}

// Can reports whether the caller's token carries the action on the repository.
// A request without a token is served as pull.
func (c Caller) Can(action, repository string) bool {
	if !c.Token {
		return action == Pull && c.level != None
	}
	for _, s := range c.access {
		if s.Name == repository && slices.Contains(s.Actions, action) {
			return true
		}
	}
	return false
}

// Scope is what a token is asked for: actions on one repository.
// https://distribution.github.io/distribution/spec/auth/scope/
type Scope struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

type claims struct {
	jwt.RegisteredClaims
	Access []Scope `json:"access"`
}

// ErrToken: the token is not one of ours, or has run out.
var ErrToken = errors.New("token is not valid")

// Caller reads the Authorization header. Basic credentials are no token: they
// are for the token service.
func (s *Service) Caller(r *http.Request) (Caller, error) {
	c := Caller{Name: Anonymous, level: s.level}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return c, nil
	}
	var cl claims
	_, err := jwt.ParseWithClaims(strings.TrimSpace(token), &cl, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Second))
	if err != nil {
		return Caller{}, ErrToken
	}
	c.Name, c.access, c.Token = cl.Subject, cl.Access, true
	return c, nil
}

// Challenge is the WWW-Authenticate header that sends a client to the token
// service on the host it spoke to. Scopes may be empty.
func Challenge(r *http.Request, scopes ...Scope) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	h := fmt.Sprintf(`Bearer realm="%s://%s/auth/token",service="%s"`, scheme, r.Host, audience)
	for _, s := range scopes {
		h += fmt.Sprintf(`,scope="%s:%s:%s"`, s.Type, s.Name, strings.Join(s.Actions, ","))
	}
	return h
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
