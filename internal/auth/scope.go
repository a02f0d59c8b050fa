package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of what a token is asked for.
const (
	maxScopes    = 32
	maxScopeSize = 512 // bytes; a repository's name has at most 255
	maxActions   = 16
)

// repositoryScope is the only type of scope that anything is granted for.
const repositoryScope = "repository"

// Scope is what a token is asked for: actions on one repository, by the name
// that the client typed.
// https://distribution.github.io/distribution/spec/auth/scope/
type Scope struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// parseScopes reads scope parameters, several of them or separated by spaces:
// "repository:NAME:pull,push". NAME may hold colons (a port). Errors repeat
// nothing of a scope: a client may have put anything there.
func parseScopes(params []string) ([]Scope, error) {
	var all []Scope
	for _, param := range params {
		for text := range strings.FieldsSeq(param) {
			if len(all) == maxScopes {
				return nil, fmt.Errorf("more than %d scopes", maxScopes)
			}
			kind, rest, ok := strings.Cut(text, ":")
			i := strings.LastIndexByte(rest, ':')
			if !ok || i < 0 {
				return nil, fmt.Errorf("scope %d is not type:name:actions", len(all)+1)
			}
			if len(text) > maxScopeSize || strings.Count(rest[i:], ",") >= maxActions {
				return nil, fmt.Errorf("scope %d is longer than %d bytes or has more than %d actions", len(all)+1, maxScopeSize, maxActions)
			}
			all = append(all, Scope{Type: kind, Name: rest[:i], Actions: strings.Split(rest[i+1:], ",")})
		}
	}
	return all, nil
}

// grant cuts what is asked down to what the rules could give the principal. What
// is not asked for is not granted: a plain pull gets a token without push, and
// is treated as a pull.
func (s *Service) grant(may rules, principal string, asked []Scope) []Scope {
	granted := []Scope{}
	for _, scope := range asked {
		if scope.Type != repositoryScope {
			continue
		}
		names := s.Resolve(scope.Name)
		if len(names) == 0 { // leads nowhere, which the registry will say
			names = []string{scope.Name}
		}
		wanted := scope.Actions
		if slices.Contains(wanted, "*") {
			wanted = []string{Pull, Push, Delete}
		}
		given := []string{}
		for _, action := range wanted {
			allowed := slices.ContainsFunc(names, func(name string) bool {
				_, ok := may.allow(principal, action, name)
				return ok
			})
			if allowed && !slices.Contains(given, action) {
				given = append(given, action)
			}
		}
		granted = append(granted, Scope{Type: scope.Type, Name: scope.Name, Actions: given})
	}
	return granted
}

// refusedAll reports whether repositories were asked for and nothing of them was
// granted.
func refusedAll(granted []Scope) bool {
	return len(granted) > 0 && !slices.ContainsFunc(granted, func(s Scope) bool { return len(s.Actions) > 0 })
}
