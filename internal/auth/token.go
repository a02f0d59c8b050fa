package auth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxScopes   = 32
	maxFormSize = 64 << 10 // bytes of a POST to the token service
)

// ServeHTTP is the token service: GET as docker and others send it, and the
// OAuth2 form POST that containerd tries first.
// https://distribution.github.io/distribution/spec/auth/token/ and /oauth/
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "the token service answers GET and POST", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxFormSize)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	scopes, err := parseScopes(r.Form["scope"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	token, err := s.sign(Anonymous, s.grant(scopes), now)
	if err != nil {
		http.Error(w, "the token could not be signed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// A client that has gone away needs no error.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token, "expires_in": int(s.ttl.Seconds()), "issued_at": now.UTC().Format(time.RFC3339), "token_type": "Bearer",
	})
}

func (s *Service) sign(subject string, access []Scope, now time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: subject, Audience: jwt.ClaimStrings{audience}, Issuer: audience,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.ttl)),
		},
		Access: access,
	}).SignedString(s.key)
}

// grant cuts what is asked down to what everybody may have. What is not asked
// for is not granted: a plain pull gets a token without push, and is treated as
// a pull.
func (s *Service) grant(asked []Scope) []Scope {
	may := map[string][]string{Pull: {Pull}, Push: {Pull, Push, Delete}}[s.level]
	var granted []Scope
	for _, scope := range asked {
		if scope.Type != "repository" {
			continue
		}
		if slices.Contains(scope.Actions, "*") {
			scope.Actions = []string{Pull, Push, Delete}
		}
		var actions []string
		for _, a := range scope.Actions {
			if slices.Contains(may, a) && !slices.Contains(actions, a) {
				actions = append(actions, a)
			}
		}
		granted = append(granted, Scope{Type: scope.Type, Name: scope.Name, Actions: actions})
	}
	return granted
}

// parseScopes reads scope parameters, several of them or separated by spaces:
// "repository:NAME:pull,push". NAME may hold colons (a port).
func parseScopes(params []string) ([]Scope, error) {
	var all []Scope
	for _, text := range strings.Fields(strings.Join(params, " ")) {
		kind, rest, ok := strings.Cut(text, ":")
		i := strings.LastIndexByte(rest, ':')
		if !ok || i < 0 {
			return nil, fmt.Errorf("scope %q is not type:name:actions", text)
		}
		all = append(all, Scope{Type: kind, Name: rest[:i], Actions: strings.Split(rest[i+1:], ",")})
		if len(all) > maxScopes {
			return nil, fmt.Errorf("more than %d scopes", maxScopes)
		}
	}
	return all, nil
}
