package secret

import (
	"path"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"sync/atomic"
)

// pathFilter says which files a list takes out. Most expressions hold a piece of
// text without which they cannot match, and looking for that is cheap; those
// about endings are asked once for each ending.
type pathFilter struct {
	named   []namedPath
	endings []*regexp.Regexp
	known   sync.Map // of ending to bool
	count   atomic.Int32
}

type namedPath struct {
	text string // lower case
	re   *regexp.Regexp
}

// maxKnown bounds the endings whose answer is kept; real trees have a few hundred.
const maxKnown = 4096

var endingForm = regexp.MustCompile(`^(?:\(\?i\))?\\\.\(?[^/]*\$$`)

func newPathFilter(a allowlist) *pathFilter {
	f := &pathFilter{}
	for _, re := range a.paths {
		if endingForm.MatchString(re.String()) {
			f.endings = append(f.endings, re)
			continue
		}
		f.named = append(f.named, namedPath{longestText(re.String()), re})
	}
	return f
}

// excludes reports whether a file is taken out.
func (f *pathFilter) excludes(name string) bool {
	if name == "" {
		return false
	}
	ending := path.Ext(name)
	out, ok := f.known.Load(ending)
	if !ok {
		out = anyMatch(f.endings, ending)
		if f.count.Add(1) <= maxKnown {
			f.known.Store(ending, out)
		}
	}
	if out.(bool) {
		return true
	}
	low := strings.ToLower(name)
	for _, n := range f.named {
		if strings.Contains(low, n.text) && n.re.MatchString(name) {
			return true
		}
	}
	return false
}

// longestText is the longest piece of text that every match holds, in lower
// case; "" when there is none.
func longestText(expression string) string {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return ""
	}
	best := ""
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	for _, part := range parts {
		if text := string(part.Rune); part.Op == syntax.OpLiteral && len(text) > len(best) {
			best = text
		}
	}
	return strings.ToLower(best)
}
