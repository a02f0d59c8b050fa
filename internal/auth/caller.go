package auth

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken bounds a token that is looked at, in bytes. The largest that is
// granted is smaller.
const maxToken = 64 << 10

// ErrToken: the token is not one of ours, or is no longer good.
var ErrToken = errors.New("token is not valid")

// Caller is who sends a request, and what it may do.
type Caller struct {
	// Name is a user, a robot ("robot+ci") or Anonymous.
	Name string
	// Token is true when the request carried a valid token.
	Token bool
	// Open is true while everybody who reaches this machine's loopback may do
	// everything that needs no name.
	Open bool

	access  []Scope
	service *Service
}

// Caller reads the Authorization header. Basic credentials are no token: they
// are for the token service.
func (s *Service) Caller(r *http.Request) (Caller, error) {
	now := s.state.Load()
	c := Caller{Name: Anonymous, Open: now.config.open(s.loopback), service: s}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return c, nil
	}
	if len(token) > maxToken {
		return Caller{}, ErrToken
	}
	var cl claims
	_, err := jwt.ParseWithClaims(strings.TrimSpace(token), &cl, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(audience), jwt.WithExpirationRequired(),
		jwt.WithLeeway(5*time.Second), jwt.WithTimeFunc(s.Now))
	if err != nil || !s.inForce(now, cl) {
		return Caller{}, ErrToken
	}
	c.Name, c.access, c.Token = cl.Subject, cl.Access, true
	return c, nil
}

// inForce reports whether the principal of a token is still there, with the
// secret that the token was granted for.
func (s *Service) inForce(now *state, cl claims) bool {
	if cl.Subject == Anonymous {
		return true
	}
	stored, ok := now.people.stored(cl.Subject, s.Now())
	return ok && cl.Generation == s.generation(cl.Subject, stored)
}

// Anonymous reports whether the caller did not say who it is.
func (c Caller) Anonymous() bool { return c.Name == Anonymous }

// Asked reports whether the caller's token carries the action on the repository
// as the client typed its name. A request without a token asks for pull.
func (c Caller) Asked(action, typed string) bool {
	if !c.Token {
		return action == Pull
	}
	return slices.ContainsFunc(c.access, func(s Scope) bool {
		return s.Type == repositoryScope && s.Name == typed && slices.Contains(s.Actions, action)
	})
}

// Can reports whether the caller asked for the action on the typed name, and the
// rules as they are now allow it on the repository that this name resolved to.
func (c Caller) Can(action, typed, repository string) bool {
	return c.service != nil && c.Asked(action, typed) && c.service.May(c.Name, action, repository)
}
