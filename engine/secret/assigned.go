package secret

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// assignment is a name to which a value is assigned, in the form that most of
// gitleaks' rules share.
type assignment struct {
	names  map[string]inName // by keyword that stands in the name
	value  []form            // what is assigned has one of these
	behind []form            // and one of these stands behind it, or the text ends
	group  int               // of the expression, that holds the value; 0: none
}

// inName is how much more of a name may stand before and behind a keyword, in
// bytes.
type inName struct{ head, tail int }

// maxNames bounds the names that are listed for one rule.
const maxNames = 256

// assignmentOf reads the assignment that an expression is about, or that one of
// its alternatives is about; nil when there is none.
func assignmentOf(re *syntax.Regexp, keywords []string) *assignment {
	if re.Op == syntax.OpAlternate {
		for _, sub := range re.Sub {
			if a := assignmentOf(sub, keywords); a != nil {
				return a
			}
		}
	}
	if re.Op != syntax.OpConcat {
		return nil
	}
	rest := slices.IndexFunc(re.Sub, func(sub *syntax.Regexp) bool { return isRepeat(sub, 20) })
	if rest < 0 {
		return nil
	}
	name := re.Sub[:rest]
	for len(name) > 0 && isRepeat(name[0], 50) {
		name = name[1:]
	}
	names, ok := spellings(&syntax.Regexp{Op: syntax.OpConcat, Sub: name})
	if !ok {
		return nil
	}
	a := &assignment{names: map[string]inName{}}
	if !a.readValue(re.Sub[rest:]) {
		return nil
	}
	for _, word := range keywords {
		for _, text := range names {
			if i := strings.Index(text, word); i >= 0 {
				known := a.names[word]
				a.names[word] = inName{max(known.head, i), max(known.tail, len(text)-i-len(word))}
			}
		}
	}
	return a
}

// isRepeat reports whether a part is up to so many bytes of a class.
func isRepeat(re *syntax.Regexp, most int) bool {
	return re.Op == syntax.OpRepeat && re.Min == 0 && re.Max == most && re.Sub[0].Op == syntax.OpCharClass
}

// spellings lists what an expression matches, in lower case; false when that is
// too much.
func spellings(re *syntax.Regexp) (all []string, ok bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpWordBoundary:
		return []string{""}, true
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}, true
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"."}, true
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for c := re.Rune[i]; c <= re.Rune[i+1]; c++ {
				if all = append(all, strings.ToLower(string(c))); len(all) > maxNames {
					return nil, false
				}
			}
		}
		return all, true
	case syntax.OpCapture:
		return spellings(re.Sub[0])
	case syntax.OpQuest:
		all, ok = spellings(re.Sub[0])
		return append(all, ""), ok
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			some, ok := spellings(sub)
			if !ok || len(all)+len(some) > maxNames {
				return nil, false
			}
			all = append(all, some...)
		}
		return all, true
	case syntax.OpConcat:
		return inTurn(re.Sub, maxNames, spellings, func(a, b string) string { return a + b })
	}
	return nil, false
}

// inTurn puts together what each part of an expression may be: each of the first
// with each of the second, and so on. It reports false for a part that cannot be
// spelled out, and for more than most.
func inTurn[T any](parts []*syntax.Regexp, most int, each func(*syntax.Regexp) ([]T, bool), join func(a, b T) T) ([]T, bool) {
	all := make([]T, 1)
	for _, part := range parts {
		some, ok := each(part)
		if !ok || len(all)*len(some) > most {
			return nil, false
		}
		var longer []T
		for _, a := range all {
			for _, b := range some {
				longer = append(longer, join(a, b))
			}
		}
		all = longer
	}
	return all, true
}

// readValue reads what stands behind the operator: up to five quotes, the value,
// and what ends it. False when its forms are too many, or not of pieces whose
// ends are certain.
func (a *assignment) readValue(parts []*syntax.Regexp) bool {
	i := slices.IndexFunc(parts, func(re *syntax.Regexp) bool { return isRepeat(re, maxQuotes) })
	if i < 0 || i+1 >= len(parts) {
		return false
	}
	if parts[i+1].Op == syntax.OpCapture {
		a.group = parts[i+1].Cap
	}
	first, ok := a.readEnd(parts[i+2:])
	if !ok {
		return false
	}
	a.value, ok = formsOf(parts[i+1])
	return ok && !slices.ContainsFunc(a.value, func(f form) bool { return !f.certain(first) })
}

// readEnd reads what ends a value, besides the end of the text: forms of single
// letters of ASCII. first is the class of what they begin with.
func (a *assignment) readEnd(parts []*syntax.Regexp) (first [256]bool, ok bool) {
	if len(parts) != 1 || parts[0].Op != syntax.OpAlternate {
		return first, false
	}
	for _, one := range parts[0].Sub {
		if one.Op == syntax.OpEndText {
			continue
		}
		forms, ok := formsOf(one)
		if !ok {
			return first, false
		}
		for _, f := range forms {
			if len(f) == 0 || slices.ContainsFunc(f, func(p piece) bool { return p.least != 1 || p.most != 1 || p.folds }) {
				return first, false
			}
			for c, is := range f[0].class {
				first[c] = first[c] || is
			}
		}
		a.behind = append(a.behind, forms...)
	}
	return first, true
}

// maxQuotes is how many quotes, blanks and equal signs may stand before a value.
const maxQuotes = 5

// assigned looks for what is assigned to a name of which a keyword at
// text[at:stop] is a part. The window holds every match that the keyword is in
// the name of; false when there is none.
func (r *rule) assigned(text []byte, at, stop int, name inName) (w window, ok bool) {
	c := candidate{rule: r, text: text}
	for i := stop; i <= min(stop+name.tail, len(text)); i++ {
		c.name(i)
	}
	if !c.found {
		return window{}, false
	}
	from := max(at-name.head, 0)
	for least := max(from-maxPrefix, 0); from > least && isPrefix(text[from-1]); {
		from--
	}
	return window{max(from-1, 0), min(c.end+valueMargin, len(text)), !c.counts}, true
}

const (
	// maxPrefix is how much may stand before a name, in bytes: 50 letters, which
	// may be ones beyond ASCII that are the same as ASCII's in another case.
	maxPrefix = 3 * 50
	// valueMargin is more than what ends a value, so that an expression does not
	// take the window's end for the text's.
	valueMargin = 4
)

// isPrefix is for what may stand before a name.
func isPrefix(c byte) bool { return isWord(c) || c == '.' || c == '-' || c >= 0x80 }

// candidate is a place where something may be assigned.
type candidate struct {
	rule   *rule
	text   []byte
	begin  int  // of the value
	end    int  // of the longest value
	found  bool // the expression matches
	counts bool // so does its value
}

// name goes on behind the end of a name. The operator is the first byte that
// can be none of what may stand before it, so there is but one.
func (c *candidate) name(i int) {
	text := c.text
	for n := 0; n < 20 && i < len(text); n++ {
		if isNamePart(text[i]) {
			i++
		} else if width := foldWidth(text[i:]); width > 0 {
			i += width
		} else {
			break
		}
	}
	for n := 0; n < 3 && i < len(text) && isQuoteOrBlank(text[i]); n++ {
		i++
	}
	last := i + operatorAt(text[i:])
	if last == i {
		return
	}
	for n := 0; n < maxQuotes && last < len(text) && (isQuoteOrBlank(text[last]) || text[last] == '=' || text[last] == '`'); n++ {
		last++
	}
	for c.begin = i + 1; c.begin <= last; c.begin++ { // a shorter operator, and fewer quotes
		for _, f := range c.rule.assignment.value {
			c.value(f)
		}
	}
}

// operatorAt is the length of the longest operator that a text begins with; 0
// when there is none.
func operatorAt(text []byte) int {
	second := byte(0)
	if len(text) > 1 {
		second = text[1]
	} else if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case '>', ',':
		return 1
	case '=':
		if second == '>' {
			return 2
		}
		return 1
	case '|', '?':
		if text[0] == '|' && second == '|' || text[0] == '?' && second == '=' {
			return 2
		}
		return 0
	case ':':
		n := 1
		for n < 3 && n < len(text) && text[n] == ':' {
			n++
		}
		if n < len(text) && text[n] == '=' {
			n++
		}
		return n
	}
	return 0
}

func isNamePart(c byte) bool { return isWord(c) || c == '.' || c == '-' || c == ' ' || c == '\t' }

func isQuoteOrBlank(c byte) bool {
	return c == '\'' || c == '"' || c == ' ' || c >= '\t' && c <= '\r'
}
