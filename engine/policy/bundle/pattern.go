package bundle

import (
	"fmt"
	"regexp"
	"strings"
)

const maxPattern = 4096 // bytes of a pattern or regular expression

// pattern is Anchore's: every character stands for itself but "*", for any run
// of characters ("/" too), and the whole text must match. After "regexp:" it is
// a regular expression that must match at the start of the text only.
type pattern struct {
	source string
	parts  []string // what stands between the stars; one part: no star
	expr   *regexp.Regexp
}

func compilePattern(source string) (pattern, error) {
	if len(source) > maxPattern {
		return pattern{}, fmt.Errorf("longer than %d bytes", maxPattern)
	}
	if expr, ok := strings.CutPrefix(strings.TrimLeft(source, " \t"), "regexp:"); ok {
		re, err := compileStart(expr)
		return pattern{source: source, expr: re}, err
	}
	return pattern{source: source, parts: strings.Split(source, "*")}, nil
}

// compileStart makes a regular expression that matches at the start of a text.
func compileStart(expr string) (*regexp.Regexp, error) {
	if len(expr) > maxPattern {
		return nil, fmt.Errorf("longer than %d bytes", maxPattern)
	}
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("%w (the syntax is RE2: it has no lookaround and no back-references)", err)
	}
	return regexp.Compile(`\A(?:` + expr + `)`)
}

// match takes time linear in the text: each part is looked for once, as far to
// the left as it can stand.
func (p pattern) match(text string) bool {
	if p.expr != nil {
		return p.expr.MatchString(text)
	}
	if p.literal() {
		return text == p.source
	}
	last := len(p.parts) - 1
	text, ok := strings.CutPrefix(text, p.parts[0])
	if !ok {
		return false
	}
	for _, part := range p.parts[1:last] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return strings.HasSuffix(text, p.parts[last])
}

// literal reports whether the pattern matches its own text alone.
func (p pattern) literal() bool { return p.expr == nil && len(p.parts) == 1 }

// any reports whether the pattern is made of stars alone.
func (p pattern) any() bool {
	return p.expr == nil && p.source != "" && strings.Trim(p.source, "*") == ""
}
