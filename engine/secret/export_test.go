package secret

import (
	"math"
	"slices"
	"strings"
)

// Told is a finding with its secret, for comparing.
type Told struct{ Rule, Secret string }

// WithSecrets ends a stream.
func WithSecrets(st *Stream) []Told {
	return told(st.close())
}

func told(found []found) (all []Told) {
	for _, f := range found {
		all = append(all, Told{f.Rule, f.secret})
	}
	return all
}

// ByExpressions looks at a short text as WithSecrets does, and spares no
// expression: where a keyword of a rule stands in the text, all of it is tried.
func ByExpressions(s *Scanner, path, text string) []Told {
	st := s.Stream(path)
	st.effort = math.MinInt64 / 2
	st.buf = &buffer{text: []byte(text)}
	st.end = len(text)
	low := strings.ToLower(text)
	for _, r := range s.rules {
		named := slices.ContainsFunc(r.keywords, func(word string) bool { return strings.Contains(low, word) })
		if named && (r.path == nil || r.path.MatchString(path)) {
			st.try(r, window{to: len(text)})
		}
	}
	return told(st.found.told())
}

// Expressions are those of the rules that are about every path, but for one that
// matches where none of its keywords stands.
func Expressions(s *Scanner) (all []string) {
	for _, r := range s.rules {
		if r.path == nil && r.id != "aws-secret-access-key" {
			all = append(all, r.re.String())
		}
	}
	return all
}
