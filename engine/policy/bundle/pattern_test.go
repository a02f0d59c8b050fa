package bundle

import (
	"regexp"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "a/b", true},
		{"library/*", "library/nginx", true},
		{"library/*", "nginx", false},
		{"*-prod", "a-prod", true},
		{"*-prod", "a-prod-b", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"ab*ba", "aba", false},
		{"**", "x", true},
		{"*b*", "abc", true},
		{"a?c", "abc", false},
		{"a.c", "abc", false},
		{"[ab]", "a", false},
		{"regexp:a.c", "abcd", true},
		{" regexp:a.c$", "abcd", false},
		{"regexp:b", "ab", false},
		{"regexp:a|b", "b", true},
	}
	for _, tt := range tests {
		p, err := compilePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(tt.text); got != tt.want {
			t.Errorf("%q on %q: %v", tt.pattern, tt.text, got)
		}
	}
}

// FuzzPattern holds the matcher to the regular expression it stands for.
func FuzzPattern(f *testing.F) {
	f.Add("a*b*c", "abbc")
	f.Add("*", "")
	f.Add("regexp:(a", "a")
	f.Fuzz(func(t *testing.T, source, text string) {
		p, err := compilePattern(source)
		if err != nil || p.expr != nil {
			return
		}
		var parts []string
		for part := range strings.SplitSeq(source, "*") {
			parts = append(parts, regexp.QuoteMeta(part))
		}
		want, err := regexp.Compile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
		if err != nil {
			return // not UTF-8
		}
		if got := p.match(text); got != want.MatchString(text) {
			t.Errorf("%q on %q: %v", source, text, got)
		}
	})
}
