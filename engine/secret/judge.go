package secret

import (
	"bytes"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strings"
)

// allows reports whether a match is no secret by a list. line is the line of the
// match.
func (a *allowlist) allows(path, secret, match, line string) bool {
	target := secret
	switch a.target {
	case "match":
		target = match
	case "line":
		target = line
	}
	checks := []struct{ wanted, met bool }{
		{len(a.paths) > 0, anyMatch(a.paths, path)},
		{len(a.regexes) > 0, anyMatch(a.regexes, target)},
		{a.stopwords != nil, a.stopwords != nil && a.stopwords.in([]byte(secret))},
	}
	some, every := false, true
	for _, c := range checks {
		if c.wanted {
			some = some || c.met
			every = every && c.met
		}
	}
	if a.all {
		return some && every
	}
	return some
}

func anyMatch(all []*regexp.Regexp, text string) bool {
	for _, re := range all {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

func hasAny(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// mayCount reports whether what an expression takes for a secret may be one by
// what costs little to find out: judge would turn down the others.
func (r *rule) mayCount(secret []byte) bool {
	if r.entropy > 0 && (variety(secret) < r.variety || entropy(secret) <= r.entropy) {
		return false
	}
	if r.lettersPass && !bytes.ContainsFunc(secret, func(c rune) bool { return !isNameLetter(c) }) {
		return false
	}
	return !slices.ContainsFunc(r.allow, func(a allowlist) bool {
		return !a.all && a.stopwords != nil && a.stopwords.in(secret)
	})
}

// lettersOnly is the expression by which gitleaks' general rule lets values pass
// that are but names.
const lettersOnly = `^[a-zA-Z_.-]+$`

func isNameLetter(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '-'
}

// variety is how many different bytes a text holds.
func variety(text []byte) (n int) {
	var seen [4]uint64
	for _, c := range text {
		seen[c>>6] |= 1 << (c & 63)
	}
	for _, some := range seen {
		n += bits.OnesCount64(some)
	}
	return n
}

// entropy is Shannon's, in bits for each byte.
func entropy[T string | []byte](s T) float64 {
	if len(s) == 0 {
		return 0
	}
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

// placeholders are words of values that stand for a secret, in lower case.
var placeholders = []string{
	"example", "changeme", "change_me", "change-me", "placeholder", "your_", "your-", "yourpassword", "yoursecret", "xxxx", "dummy",
	"sample", "redacted", "notasecret", "not-a-secret", "insert", "replace", "<", "todo", "fake", "test_key", "0123456789", "1234567890", "abcdef0123",
}

// weakWords are passwords that stand in examples, and that protect nothing.
var weakWords = map[string]bool{
	"password": true, "passwd": true, "pass": true, "secret": true, "user": true, "admin": true, "root": true, "guest": true, "foo": true, "bar": true,
	"test": true, "postgres": true, "mysql": true, "redis": true, "token": true, "pwd": true, "username": true,
}

// confidence is high unless the value looks like one that stands for another.
// The general rule guesses by names alone.
// In long secrets such a word may stand by chance, and few different bytes tell
// of a made-up one.
func confidence(r *rule, secret string, bits float64) string {
	low := strings.ToLower(secret)
	switch {
	case r.kind == "generic-secret", weakWords[low]:
		return Low
	case len(secret) > longSecret && bits >= longEntropy:
		return High
	case hasAny(low, placeholders):
		return Low
	}
	return High
}

// A secret of more than longSecret bytes with longEntropy bits in each is taken
// for one whatever words are in it.
const (
	longSecret  = 200
	longEntropy = 5
)
