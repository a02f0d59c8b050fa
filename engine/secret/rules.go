package secret

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/zricethezav/gitleaks/v8/config"
)

// rule is one compiled rule.
type rule struct {
	id, kind, description string
	keywords              []string // lower case
	re                    *regexp.Regexp
	path                  *regexp.Regexp // nil: every path
	entropy               float64
	group                 int
	allow                 []allowlist
	// before and after are how much of the text round a keyword a match may
	// take, in bytes.
	before, after int
	assignment    *assignment                      // nil: the rule is not about one
	valueIsSecret bool                             // what is assigned is the secret
	lettersPass   bool                             // a secret of letters alone is none
	variety       int                              // fewer different bytes have not the entropy
	apart         apart                            // its bit is 0 where a keyword is part of every match
	guess         bool                             // says less than other rules about the same secret
	own           bool                             // not of gitleaks
	follows       map[string][]follow              // by keyword: one of them must hold; none: nothing is known
	pre           func(text []byte, stop int) bool // as follows, by hand; nil: none
	options       []string                         // one must be in the window; none: nothing is wanted
	check         func(secret string) bool         // nil: every match counts
}

// allowlist says what is no secret.
type allowlist struct {
	paths, regexes []*regexp.Regexp
	stopwords      *keywords // nil: none
	target         string    // what regexes look at: "" (the secret), "match", "line"
	all            bool      // every kind of entry must apply
}

// gitleaksRules is the set that gitleaks itself uses by default.
func gitleaksRules() string { return config.DefaultConfig }

// document is the part of gitleaks' configuration that is used.
// https://github.com/gitleaks/gitleaks#configuration
type document struct {
	Allowlist tomlAllowlist
	Rules     []tomlRule
}

type tomlRule struct {
	ID, Description, Regex, Path string
	Entropy                      float64
	SecretGroup                  int
	Keywords                     []string
	Allowlists                   []tomlAllowlist
}

type tomlAllowlist struct {
	Paths, Regexes, Stopwords []string
	RegexTarget, Condition    string
}

func loadRules() ([]*rule, allowlist, error) {
	var doc document
	if err := toml.Unmarshal([]byte(gitleaksRules()), &doc); err != nil {
		return nil, allowlist{}, fmt.Errorf("read gitleaks' rules: %w", err)
	}
	global, err := compileAllowlist(doc.Allowlist)
	if err != nil {
		return nil, allowlist{}, err
	}
	var rules []*rule
	for _, t := range doc.Rules {
		if leftOut[t.ID] != "" {
			continue
		}
		r, err := compileRule(t)
		if err != nil {
			return nil, allowlist{}, err
		}
		rules = append(rules, r)
	}
	for _, own := range ownRules {
		r, err := compileRule(own.tomlRule)
		if err != nil {
			return nil, allowlist{}, err
		}
		r.kind, r.check, r.pre, r.guess, r.own = own.kind, own.check, own.pre, own.guess, true
		rules = append(rules, r)
	}
	return rules, global, nil
}

func compileRule(t tomlRule) (*rule, error) {
	r := &rule{id: t.ID, kind: kindOf(t.ID), description: t.Description, entropy: t.Entropy, group: t.SecretGroup}
	var err error
	if r.re, err = regexp.Compile(t.Regex); err != nil {
		return nil, fmt.Errorf("compile secret rule %s: %w", t.ID, err)
	}
	if t.Path != "" {
		if r.path, err = regexp.Compile(t.Path); err != nil {
			return nil, fmt.Errorf("compile secret rule %s: %w", t.ID, err)
		}
	}
	for _, a := range t.Allowlists {
		list, err := compileAllowlist(a)
		if err != nil {
			return nil, fmt.Errorf("compile secret rule %s: %w", t.ID, err)
		}
		r.allow = append(r.allow, list)
	}
	for _, word := range t.Keywords {
		r.keywords = append(r.keywords, strings.ToLower(word))
	}
	if len(r.keywords) == 0 || slices.ContainsFunc(r.keywords, func(word string) bool { return len(word) < 2 }) {
		return nil, fmt.Errorf("compile secret rule %s: it has no keyword, or too short a one", t.ID)
	}
	re, err := syntax.Parse(t.Regex, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("compile secret rule %s: %w", t.ID, err)
	}
	r.apart, r.pre, r.options = keywordApart[t.ID], beginnings[t.ID], options[t.ID]
	r.guess = r.id == "generic-api-key"
	r.variety = int(math.Ceil(math.Exp2(r.entropy - 1e-6)))
	r.before, r.after = windowOf(re)
	r.follows = map[string][]follow{}
	for _, word := range append(slices.Clip(r.keywords), r.apart.anchors...) {
		r.follows[word] = followsOf(re, word)
	}
	r.assignment = assignmentOf(re, r.keywords)
	r.valueIsSecret = r.assignment != nil && r.assignment.group == max(r.group, 1)
	for _, a := range r.allow {
		r.lettersPass = r.lettersPass || !a.all && a.target == "" && slices.ContainsFunc(a.regexes, func(re *regexp.Regexp) bool { return re.String() == lettersOnly })
	}
	return r, nil
}

// window gives the part of the text in which a match round a keyword at
// text[at:stop] can lie; false when there can be none. It errs on the side of
// yes.
func (r *rule) window(keyword string, text []byte, at, stop int) (window, bool) {
	w := window{from: max(at-r.before, 0), to: min(stop+r.after, len(text))}
	if r.assignment != nil {
		if name, named := r.assignment.names[keyword]; named {
			return r.assigned(text, at, stop, name)
		}
	}
	if r.pre != nil {
		return w, r.pre(text, stop)
	}
	return w, r.followed(keyword, text, at, stop)
}

// followed reports whether a keyword stands where a match may lie.
func (r *rule) followed(keyword string, text []byte, at, stop int) bool {
	all := r.follows[keyword]
	for i := range all {
		if all[i].holds(text, at, stop) {
			return true
		}
	}
	return len(all) == 0
}

// Sizes of windows, in bytes. A private key of 16,384 bits takes 12,500.
const (
	boundedWindow = 1 << 10
	wideWindow    = 16 << 10
	context       = 16 // more, so that a word's border is seen
)

// windowOf tells how far from a keyword a match may reach. Where an expression
// has no bound, and its keyword stands at its beginning, most lies behind.
func windowOf(re *syntax.Regexp) (before, after int) {
	n, bounded := longest(re)
	if bounded && n <= boundedWindow {
		return n + context, n + context
	}
	return boundedWindow, wideWindow
}

// longest is the length of the longest match, in bytes, where classes that say what they
// hold are of ASCII; false when
// there is no bound.
func longest(re *syntax.Regexp) (n int, bounded bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune), true
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax, true
	case syntax.OpCharClass:
		if re.Rune[len(re.Rune)-1] == unicode.MaxRune {
			return utf8.UTFMax, true
		}
		return 1, true
	case syntax.OpStar, syntax.OpPlus:
		return 0, false
	case syntax.OpRepeat:
		each, ok := longest(re.Sub[0])
		return each * re.Max, ok && re.Max >= 0
	case syntax.OpQuest, syntax.OpCapture:
		return longest(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			m, ok := longest(sub)
			if !ok {
				return 0, false
			}
			n += m
		}
		return n, true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			m, ok := longest(sub)
			if !ok {
				return 0, false
			}
			n = max(n, m)
		}
		return n, true
	}
	return 0, true // borders and the empty match
}

func compileAllowlist(t tomlAllowlist) (allowlist, error) {
	a := allowlist{target: t.RegexTarget, all: strings.EqualFold(t.Condition, "and")}
	if len(t.Stopwords) > 0 {
		words := make([]string, len(t.Stopwords))
		for i, word := range t.Stopwords {
			words[i] = strings.ToLower(word)
			if len(word) < 2 {
				return a, fmt.Errorf("compile list of what is no secret: word %q is too short", word)
			}
		}
		a.stopwords = newKeywords(words)
	}
	for _, from := range []struct {
		texts []string
		to    *[]*regexp.Regexp
	}{{t.Paths, &a.paths}, {t.Regexes, &a.regexes}} {
		for _, text := range from.texts {
			re, err := regexp.Compile(text)
			if err != nil {
				return a, fmt.Errorf("compile list of what is no secret: %w", err)
			}
			*from.to = append(*from.to, re)
		}
	}
	return a, nil
}
