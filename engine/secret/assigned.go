package secret

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// assignment is a name to which a value is assigned, in the form that most of
// gitleaks' rules share.
type assignment struct {
	tails map[string]int // by keyword that stands in the name: how much more of the name may follow it, in bytes
	value []atom         // what is assigned begins with one of these; none: nothing is known
}

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
	a := &assignment{tails: map[string]int{}, value: valueOf(re.Sub[rest:])}
	for _, word := range keywords {
		for _, text := range names {
			if i := strings.Index(text, word); i >= 0 {
				a.tails[word] = max(a.tails[word], len(text)-i-len(word))
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
		return joined(re.Sub)
	}
	return nil, false
}

func joined(parts []*syntax.Regexp) (all []string, ok bool) {
	all = []string{""}
	for _, part := range parts {
		some, ok := spellings(part)
		if !ok || len(all)*len(some) > maxNames {
			return nil, false
		}
		var longer []string
		for _, text := range all {
			for _, more := range some {
				longer = append(longer, text+more)
			}
		}
		all = longer
	}
	return all, true
}

// valueOf finds what the value must begin with: the class and the least length of
// each alternative of the group behind the operator.
func valueOf(parts []*syntax.Regexp) []atom {
	i := slices.IndexFunc(parts, func(re *syntax.Regexp) bool { return isRepeat(re, 5) })
	if i < 0 || i+1 == len(parts) {
		return nil
	}
	value := parts[i+1]
	for value.Op == syntax.OpCapture {
		value = value.Sub[0]
	}
	alternatives := []*syntax.Regexp{value}
	if value.Op == syntax.OpAlternate {
		alternatives = value.Sub
	}
	var atoms []atom
	for _, one := range alternatives {
		first, _ := atomsOf([]*syntax.Regexp{one})
		if len(first) == 0 {
			return nil
		}
		atoms = append(atoms, first[0])
	}
	return atoms
}

// assigned reports whether a keyword that ends at stop, and is followed by up to
// tail bytes of the name, is one to which something is assigned. end is where the
// value ends.
func (r *rule) assigned(text []byte, stop, tail int) (end int, ok bool) {
	for i := stop; i <= min(stop+tail, len(text)); i++ {
		if e, is := r.assigns(text, i); is {
			end, ok = max(end, e), true
		}
	}
	return end, ok
}

// assigns reports whether a name that ends at i goes on as one to which
// something is assigned, and is followed by something that is long enough. end is
// where the value ends.
func (r *rule) assigns(text []byte, i int) (end int, ok bool) {
	for n := 0; n < 20 && i < len(text) && isNamePart(text[i]); n++ {
		i++
	}
	for n := 0; n < 3 && i < len(text) && isQuoteOrBlank(text[i]); n++ {
		i++
	}
	begin := i
	for i < len(text) && i < begin+4 && isOperator(text[i]) {
		i++
	}
	if i == begin {
		return 0, false
	}
	for n := 0; n < maxQuotes && i < len(text) && (isQuoteOrBlank(text[i]) || text[i] == '=' || text[i] == '`'); n++ {
		i++
	}
	if !r.hasValue(text, begin+1, i) {
		return 0, false
	}
	end = i
	plain := i-begin <= 1+maxQuotes // nothing but what stands in names; else an equal sign may belong to the value
	for end < len(text) && end < i+assignedAfter && isValue(text[end]) {
		c := text[end]
		plain = plain && (isWord(c) || c == '.' || c == '-') && (c < '0' || c > '9')
		end++
	}
	return end, !plain || !r.wantsMore
}

// maxQuotes is how many quotes, blanks and equal signs may stand before a value.
const maxQuotes = 5

// namesOnly is the expression by which gitleaks' general rule lets values pass
// that are but names.
const namesOnly = `^[a-zA-Z_.-]+$`

// isValue is for what gitleaks' general rule takes for a value, and for more.
func isValue(c byte) bool {
	return isWord(c) || c == '.' || c == '-' || c == '=' || c == '+' || c == '/'
}

// hasValue reports whether a value may begin somewhere from one place to another:
// quotes and equal signs may be part of it.
func (r *rule) hasValue(text []byte, from, to int) bool {
	if len(r.assignment.value) == 0 {
		return true
	}
	for i := from; i <= to; i++ {
		for j := range r.assignment.value {
			if one := (follow{atoms: r.assignment.value[j : j+1]}); one.holds(text, i, i) {
				return true
			}
		}
	}
	return false
}

func isNamePart(c byte) bool { return isWord(c) || c == '.' || c == '-' || c == ' ' || c == '\t' }

func isQuoteOrBlank(c byte) bool {
	return c == '\'' || c == '"' || c == ' ' || c >= '\t' && c <= '\r'
}

func isOperator(c byte) bool {
	return c == '=' || c == '>' || c == ':' || c == '|' || c == '?' || c == ','
}
