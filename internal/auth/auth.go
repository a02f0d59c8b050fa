// Package auth says who a client is and what it may do: users and robots of a
// file, rules, the token service of the distribution protocol and the check of
// its tokens.
//
// It knows no repository's content and no policy, and writes no secret to a
// log, an error or an address. Start with Service.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Actions that rules speak of. Push includes pull; nothing includes delete,
// admin or break-glass.
const (
	Pull       = "pull"
	Push       = "push"
	Delete     = "delete"
	Admin      = "admin"
	BreakGlass = "break-glass"
)

// None is the level that grants everybody nothing.
const None = "none"

// Anonymous is the name of a client that did not say who it is.
const Anonymous = "anonymous"

// watchInterval is how often Run looks at the users file.
const watchInterval = 2 * time.Second

// Service knows who may do what, grants tokens and checks them. It is safe for
// concurrent use.
type Service struct {
	// Resolve gives the canonical names that a name as the client typed it may
	// stand for: a mirror's name can lead to several upstreams. A token carries
	// an action that is allowed for any of them; what counts in the end is
	// Caller.Can with the one that was meant. Default: the typed name itself.
	Resolve func(typed string) []string
	Log     *slog.Logger
	Now     func() time.Time

	key      []byte // signs tokens
	ttl      time.Duration
	loopback bool
	logins   *logins

	mu    sync.Mutex            // held while state is replaced
	state atomic.Pointer[state] // what is in force
}

// state is the configuration in force and the users that it speaks of. It is
// never changed, only replaced.
type state struct {
	config Config
	rules  rules
	file   fileStamp // of the users file as it was last looked at
	people *directory
}

// New makes the service.
func New(c Config, loopback bool) (*Service, error) {
	s := &Service{
		Resolve: func(typed string) []string { return []string{typed} }, Log: slog.Default(), Now: time.Now,
		ttl: c.Token.TTL, loopback: loopback, logins: newLogins(),
	}
	if s.ttl == 0 {
		s.ttl = 5 * time.Minute
	}
	if err := s.readKey(c.Token.KeyFile); err != nil {
		return nil, err
	}
	next, err := s.load(c)
	if err != nil {
		return nil, err
	}
	s.state.Store(next)
	return s, nil
}

func (s *Service) readKey(file string) (err error) {
	if file == "" {
		s.key = make([]byte, 32)
		rand.Read(s.key)
		return nil
	}
	if s.key, err = os.ReadFile(file); err != nil {
		return fmt.Errorf("auth.token.key_file: %w", err)
	}
	if len(s.key) < 32 {
		return fmt.Errorf("auth.token.key_file: %d bytes are too few, at least 32", len(s.key))
	}
	return nil
}

// load reads what a configuration speaks of.
func (s *Service) load(c Config) (*state, error) {
	next := &state{config: c, rules: newRules(c, s.loopback), people: newDirectory(Users{})}
	if c.UsersFile == "" {
		return next, nil
	}
	next.file = stampOf(c.UsersFile) // before reading: a later change is seen
	users, err := ReadUsers(c.UsersFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("auth.users_file: %w (`pratique auth user add NAME` makes it)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("auth.users_file: %w", err)
	}
	next.people = newDirectory(users)
	return next, nil
}

// Run watches the users file until the context ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	told := "" // a file that stays bad is tried again, and logged once
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := s.state.Load()
		if now.config.UsersFile == "" || now.file.same(stampOf(now.config.UsersFile)) {
			continue
		}
		err := s.Reload()
		if err == nil {
			told = ""
		} else if err.Error() != told {
			told = err.Error()
			s.Log.Error("users file not reloaded: the last good one stays in force", "error", err)
		}
	}
}

// Reload reads the users file now. A file that cannot be read changes nothing.
func (s *Service) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(s.state.Load().config)
}

// Reconfigure puts rules, anonymous level, realm and users file of c in force at
// once; the key and the life of tokens stay. On an error nothing changes.
func (s *Service) Reconfigure(c Config) error {
	if err := c.Validate(s.loopback); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(c)
}

// replace is called with mu held.
func (s *Service) replace(c Config) error {
	next, err := s.load(c)
	if err != nil {
		return err
	}
	s.state.Store(next)
	if c.UsersFile != "" {
		s.Log.Info("users file read", "users", len(next.people.users), "robots", len(next.people.robots))
	}
	return nil
}

// May reports whether the rules allow a principal an action on a repository,
// given by its canonical name, "prefix/repository". The empty name asks for a
// right on everything, which only a rule for "*" gives.
func (s *Service) May(principal, action, repository string) bool {
	_, ok := s.state.Load().rules.allow(principal, action, repository)
	return ok
}

// Open reports whether everybody who reaches this machine's loopback may do
// everything that needs no name.
func (s *Service) Open() bool { return s.state.Load().config.open(s.loopback) }

// Closed reports whether no rule gives anything to those who do not say who they
// are.
func (s *Service) Closed() bool {
	return !slices.ContainsFunc(s.state.Load().rules, func(r namedRule) bool { return r.speaksOf(Anonymous) })
}

// generation is a mark of the secret that a principal has now. A token that
// bears another one is refused: the secret it was granted for is no more.
func (s *Service) generation(name, stored string) string {
	mac := hmac.New(sha256.New, s.key)
	// The text signed for a token never begins like this.
	fmt.Fprintf(mac, "generation\x00%s\x00%s", name, stored)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}

// Challenge is the WWW-Authenticate header that sends a client to the token
// service: at the configured realm, else on the host that it spoke to. Scopes
// may be empty.
func (s *Service) Challenge(r *http.Request, scopes ...Scope) string {
	realm := s.state.Load().config.Token.Realm
	if realm == "" {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		realm = scheme + "://" + r.Host + "/auth/token"
	}
	h := fmt.Sprintf(`Bearer realm="%s",service="%s"`, quotable(realm), audience)
	for _, sc := range scopes {
		h += fmt.Sprintf(`,scope="%s"`, quotable(sc.Type+":"+sc.Name+":"+strings.Join(sc.Actions, ",")))
	}
	return h
}

// quotable leaves out what cannot stand in a quoted string of a header. Neither
// hosts nor names hold any of it.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == '\\' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
