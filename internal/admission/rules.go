package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/internal/gate"
)

// rules are a configuration, ready for use. They never change: a reload makes
// new ones.
type rules struct {
	Config
	selectors []selector
	anchore   anchoreText // that they were made of
	kinds     map[string][]path
	unrewrite map[string]string // host and path in place of a registry, back to the registry
}

// selector is one of the rules, compiled.
type selector struct {
	Match
	key, value *regexp.Regexp
	byName     bool // the key is "name": the object's own name counts too
	settings
}

// settings are how an image is judged.
type settings struct {
	selector string
	mode     string
	policy   string
	dryRun   bool
	analyse  bool // what is not known is asked for
	answers  map[gate.State]string
}

// compile checks a configuration and the files that it names, and says all that
// is wrong with them. Warnings are for the log.
func compile(c Config) (*rules, []string, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	r := &rules{Config: c, kinds: map[string][]path{}, unrewrite: map[string]string{}}
	own, warnings := slices.Clone(c.Selectors), []string(nil)
	if c.Anchore.Config != "" {
		text, err := c.Anchore.read()
		if err != nil {
			return nil, nil, err
		}
		theirs, said, err := parseAnchore(text)
		if err != nil {
			return nil, nil, err
		}
		own, warnings, r.anchore = append(own, theirs...), said, text
		if r.NoSelector == "" {
			r.NoSelector = Warn
		}
	}
	if len(own) == 0 && c.Anchore.Config == "" {
		own = []Selector{{Name: "every image", Match: Match{Type: MatchImage, Value: ".*"}}}
	}
	if r.NoSelector == "" {
		r.NoSelector = Deny
	}
	for i, s := range own {
		compiled, err := s.compile(i, c.RequestAnalysis)
		if err != nil {
			return nil, nil, err
		}
		r.selectors = append(r.selectors, compiled)
	}
	r.index()
	return r, append(warnings, r.doubts()...), nil
}

// index prepares what is looked up.
func (r *rules) index() {
	for _, k := range r.Kinds {
		for _, p := range k.Paths {
			r.kinds[k.Group+"/"+k.Kind] = append(r.kinds[k.Group+"/"+k.Kind], path(strings.Split(p, ".")))
		}
	}
	for host, to := range r.Mutation.Rewrite {
		r.unrewrite[to] = host
	}
}

// doubts are what is allowed and rarely meant.
func (r *rules) doubts() []string {
	var all []string
	for _, s := range r.selectors {
		if s.Type == MatchResource && s.mode == gate.ModePassive && len(s.Users)+len(s.Groups) == 0 {
			all = append(all, fmt.Sprintf("selector %q: everybody who may write the object can put on it what turns refusals off; set users or groups, or use break_glass", s.settings.selector))
		}
	}
	for _, g := range r.BreakGlass.Grants {
		if g.Until.Before(time.Now()) {
			all = append(all, fmt.Sprintf("break-glass grant %q ran out at %s", g.ID, g.Until.Format(time.RFC3339)))
		}
	}
	return all
}

func (s Selector) compile(i int, analyse bool) (selector, error) {
	c := selector{Match: s.Match, byName: strings.EqualFold(s.Match.Key, "name"), settings: settings{
		selector: s.Name, mode: s.Mode, policy: s.Policy, dryRun: s.DryRun, analyse: analyse && !s.quiet,
	}}
	if c.settings.selector == "" {
		c.settings.selector = fmt.Sprintf("selectors[%d]", i)
	}
	if c.mode == "" {
		c.mode = gate.ModePolicy
	}
	c.answers = answersOf(c.mode)
	for state, answer := range s.Answers.byState() {
		if *answer != "" {
			c.answers[state] = *answer
		}
	}
	var keyErr, valueErr error
	c.key, keyErr = s.Match.regexp(s.Match.Key)
	c.value, valueErr = s.Match.regexp(s.Match.Value)
	return c, errors.Join(keyErr, valueErr)
}

// regexp compiles an expression so that it has to match the whole, unless the
// match is loose.
func (m Match) regexp(expression string) (*regexp.Regexp, error) {
	if m.Loose {
		return regexp.Compile(expression)
	}
	return regexp.Compile(`^(?:` + expression + `)$`)
}

// answersOf gives the answers that a mode has by itself.
func answersOf(mode string) map[gate.State]string {
	answers := map[gate.State]string{
		gate.StatePass: Allow, gate.StateWarn: Warn, gate.StateFail: Deny,
		gate.StatePending: Deny, gate.StateUnknown: Deny, gate.StateUnmapped: Deny, gate.StateError: Fail,
	}
	switch mode {
	case gate.ModeAnalysis:
		answers[gate.StateFail] = Warn
	case gate.ModePassive:
		for state := range maps.Clone(answers) {
			answers[state] = Allow
		}
		answers[gate.StateFail], answers[gate.StateWarn] = Warn, Warn
	}
	return answers
}

// subject is what selectors look at, beside the image.
type subject struct {
	name                string
	namespace           string
	labels, annotations map[string]string
	user                user
	// lookUp reads the namespace; once for an object.
	lookUp func(ctx context.Context) (Namespace, error)
}

// choose finds the settings for an image: those of the first selector that
// matches. An error is a namespace that could not be looked at, where that
// matters: nobody knows then which settings hold.
func (r *rules) choose(ctx context.Context, s *subject, p pull) (settings, bool, error) {
	for _, sel := range r.selectors {
		matches, err := sel.matches(ctx, s, p)
		if err != nil {
			return settings{}, false, fmt.Errorf("selector %q: %w", sel.settings.selector, err)
		}
		if matches {
			return sel.settings, true, nil
		}
	}
	return settings{selector: "none"}, false, nil
}

func (s *selector) matches(ctx context.Context, sub *subject, p pull) (bool, error) {
	if !permits(s.Users, s.Groups, sub.user) && len(s.Users)+len(s.Groups) > 0 {
		return false, nil
	}
	switch s.Type {
	case MatchImage:
		if s.Loose {
			return s.value.MatchString(p.written), nil
		}
		return s.value.MatchString(p.full), nil
	case MatchResource:
		return s.matchesMeta(sub.name, sub.labels, sub.annotations), nil
	}
	// A name is known without the namespace, also while nobody can be asked.
	if s.byName && sub.namespace != "" && s.value.MatchString(sub.namespace) {
		return true, nil
	}
	if sub.namespace == "" {
		return false, nil // of the whole cluster: in no namespace
	}
	ns, err := sub.lookUp(ctx)
	if err != nil {
		return false, fmt.Errorf("look at namespace %q: %w", sub.namespace, err)
	}
	return s.matchesMeta(ns.Name, ns.Labels, ns.Annotations), nil
}

func (s *selector) matchesMeta(name string, labels, annotations map[string]string) bool {
	for _, pairs := range []map[string]string{labels, annotations} {
		for k, v := range pairs {
			if s.key.MatchString(k) && s.value.MatchString(v) {
				return true
			}
		}
	}
	return s.byName && s.value.MatchString(name)
}

// exempt reports whether nothing is judged in a namespace.
func (r *rules) exempt(namespace string) bool { return matchesAny(r.ExemptNamespaces, namespace) }

func matchesAny(patterns []string, s string) bool {
	return s != "" && slices.ContainsFunc(patterns, func(p string) bool { return gate.Wildcard(p, s) })
}
