package auth

import (
	"fmt"
	"slices"
	"strings"
)

// actions lists all that a rule can allow.
func actions() []string { return []string{Pull, Push, Delete, Admin, BreakGlass} }

// rules are those of the configuration and those that follow from it without
// being written down.
type rules []namedRule

type namedRule struct {
	Rule
	name string // where it comes from, for people
}

func newRules(c Config, loopback bool) rules {
	var all rules
	everybody, everywhere := []string{"*", Anonymous}, []string{"*"}
	switch level := c.Level(loopback); {
	case c.open(loopback):
		all = append(all, namedRule{Rule{everybody, everywhere, []string{Push, Delete, Admin}},
			"everything is open on loopback without auth.users_file and auth.anonymous"})
	case level != None:
		all = append(all, namedRule{Rule{everybody, everywhere, []string{level}}, "auth.anonymous: " + level})
	}
	if len(c.Rules) == 0 {
		all = append(all, namedRule{Rule{[]string{"*"}, everywhere, []string{Push}}, "without auth.rules all users and robots may pull and push"})
	}
	for i, r := range c.Rules {
		all = append(all, namedRule{r, fmt.Sprintf("auth.rules[%d]", i)})
	}
	return all
}

// allow names the first rule that allows a principal an action on a repository.
func (rs rules) allow(principal, action, repository string) (rule string, ok bool) {
	if principal == "" || (action == BreakGlass && principal == Anonymous) {
		return "", false
	}
	for _, r := range rs {
		if r.speaksOf(principal) && r.includes(action) && r.covers(repository) {
			return r.name, true
		}
	}
	return "", false
}

// speaksOf reports whether the rule is for a principal. No pattern stands for
// anonymous: it has to be named.
func (r Rule) speaksOf(principal string) bool {
	return slices.ContainsFunc(r.Who, func(w string) bool {
		return w == principal || (principal != Anonymous && wildcard(w, principal))
	})
}

func (r Rule) includes(action string) bool {
	return slices.Contains(r.Actions, action) || (action == Pull && slices.Contains(r.Actions, Push))
}

func (r Rule) covers(repository string) bool {
	return slices.ContainsFunc(r.Repositories, func(p string) bool { return wildcard(p, repository) })
}

// Explain says whether the rules of a configuration allow a principal an action
// on a repository, and which rule does. It does not ask whether there is such a
// principal.
func (c Config) Explain(loopback bool, principal, action, repository string) (rule string, ok bool) {
	return newRules(c, loopback).allow(principal, action, repository)
}

// KnownAction reports whether rules can speak of an action.
func KnownAction(action string) bool { return slices.Contains(actions(), action) }

// wildcard matches the whole of s; a * in the pattern stands for any run.
func wildcard(pattern, s string) bool {
	first, rest, many := strings.Cut(pattern, "*")
	if !many {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := len(parts) - 1
	for _, part := range parts[:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[last])
}
