// Package secret finds credentials in text at the speed at which a layer
// streams. The rules are those of gitleaks (and a few of our own), the engine is
// this package's: one pass looks for the keywords of all rules at once, and
// regular expressions run only in a window round a keyword.
//
// It knows text and paths, and nothing of layers or images. A finding never
// holds the credential itself. Start with Scanner and Stream.
package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Levels of confidence.
const (
	High = "high"
	// Low: it may be a placeholder, or a value of another kind.
	Low = "low"
)

// Finding is something that looks like a credential.
type Finding struct {
	Rule        string // id of the rule
	Kind        string // what kind of credential; several rules may tell of one kind
	Description string
	Line        int   // from 1
	Offset      int64 // in bytes, of the match
	// Redacted is a few first characters of the secret.
	Redacted    string
	Fingerprint string // of rule and secret: tells two secrets apart
	Entropy     float64
	Confidence  string
}

// Scanner is a compiled set of rules. It is safe for concurrent use.
type Scanner struct {
	rules   []*rule
	global  allowlist // without its paths
	paths   *pathFilter
	words   *keywords
	list    []string // the keywords
	byWord  [][]int  // rules by keyword
	buffers sync.Pool
}

// engineVersion rises when this package finds other things by the same rules.
const engineVersion = 3

// Version names rules and engine: findings of another version may differ.
func Version() string {
	sum := sha256.New()
	sum.Write([]byte(strconv.Itoa(engineVersion)))
	sum.Write([]byte(gitleaksRules()))
	for _, r := range ownRules {
		fmt.Fprintf(sum, "%+v %s", r.tomlRule, r.kind)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// New compiles the rules.
func New() (*Scanner, error) {
	rules, global, err := loadRules()
	if err != nil {
		return nil, err
	}
	s := &Scanner{rules: rules, paths: newPathFilter(global)}
	global.paths = nil
	s.global = global
	index := map[string]int{}
	for i, r := range rules {
		for _, word := range r.keywords {
			n, ok := index[word]
			if !ok {
				n = len(s.list)
				index[word] = n
				s.list = append(s.list, word)
				s.byWord = append(s.byWord, nil)
			}
			s.byWord[n] = append(s.byWord[n], i)
		}
	}
	s.words = newKeywords(s.list)
	s.buffers.New = func() any { return new(buffer) }
	return s, nil
}

// Redact gives a text without the secrets that are found in it.
func (s *Scanner) Redact(text string) string {
	st := s.Stream("")
	st.found.limit = len(text)    // all of them
	_, _ = st.Write([]byte(text)) // never fails
	all := st.close()
	slices.SortStableFunc(all, func(a, b found) int { return len(b.secret) - len(a.secret) })
	for _, f := range all {
		text = strings.ReplaceAll(text, f.secret, f.Redacted)
	}
	return text
}

// shown is how much of a secret a finding shows, in bytes: little, and never
// more than a quarter.
const shown = 4

func redact(secret string) string {
	n := min(shown, len(secret)/4)
	for i := range n {
		if secret[i] < ' ' || secret[i] > '~' {
			n = i
			break
		}
	}
	return secret[:n] + "..."
}

func fingerprint(rule, secret string) string {
	sum := sha256.Sum256([]byte(rule + "\x00" + secret))
	return hex.EncodeToString(sum[:8])
}
