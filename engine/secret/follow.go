package secret

import (
	"regexp/syntax"
	"strings"
)

// follow is what must stand directly behind a keyword for a rule to match: a
// necessary condition that costs some nanoseconds, where the expression costs
// microseconds.
type follow struct {
	border bool // a word begins with the keyword
	atoms  []atom
}

// atom is so many bytes of a class.
type atom struct {
	class [256]bool
	least int
}

// followsOf finds what an expression demands behind each place where it holds a
// keyword as literal text. None means that nothing is known, and that every
// keyword is looked into.
func followsOf(re *syntax.Regexp, keyword string) []follow {
	var all []follow
	var visit func(re *syntax.Regexp, after []*syntax.Regexp, border bool)
	visit = func(re *syntax.Regexp, after []*syntax.Regexp, border bool) {
		switch re.Op {
		case syntax.OpLiteral:
			text := strings.ToLower(string(re.Rune))
			if i := strings.Index(text, keyword); i >= 0 {
				f := follow{border: border && i == 0}
				for _, c := range text[i+len(keyword):] {
					f.atoms = append(f.atoms, atom{classOf(&syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{c}, Flags: syntax.FoldCase}), 1})
				}
				f.atoms = append(f.atoms, atomsOf(after)...)
				all = append(all, f)
			}
		case syntax.OpConcat:
			for i, sub := range re.Sub {
				rest := append(append([]*syntax.Regexp{}, re.Sub[i+1:]...), after...)
				visit(sub, rest, i > 0 && re.Sub[i-1].Op == syntax.OpWordBoundary || i == 0 && border)
			}
		case syntax.OpCapture, syntax.OpAlternate:
			for _, sub := range re.Sub {
				visit(sub, after, border)
			}
		}
	}
	visit(re, nil, false)
	return all
}

// atomsOf reads what must follow, as far as each part has a fixed length; of the
// first that has not, the shortest length counts.
func atomsOf(parts []*syntax.Regexp) []atom {
	var atoms []atom
	for _, re := range parts {
		for re.Op == syntax.OpCapture {
			re = re.Sub[0]
		}
		switch re.Op {
		case syntax.OpConcat:
			return append(atoms, atomsOf(re.Sub)...)
		case syntax.OpLiteral:
			for _, c := range re.Rune {
				atoms = append(atoms, atom{classOf(&syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{c}, Flags: re.Flags}), 1})
			}
		case syntax.OpCharClass:
			atoms = append(atoms, atom{classOf(re), 1})
		case syntax.OpRepeat, syntax.OpPlus:
			least, fixed := re.Min, re.Min == re.Max
			if re.Op == syntax.OpPlus {
				least, fixed = 1, false
			}
			inner := re.Sub[0]
			if least == 0 || inner.Op != syntax.OpCharClass && (inner.Op != syntax.OpLiteral || len(inner.Rune) != 1) {
				return atoms
			}
			if atoms = append(atoms, atom{classOf(inner), least}); !fixed {
				return atoms
			}
		default:
			return atoms
		}
	}
	return atoms
}

// classOf lists the bytes of a class, or of one letter. Bytes beyond ASCII are in
// every class: what they stand for is for the expression to know.
func classOf(re *syntax.Regexp) (class [256]bool) {
	for c := 0x80; c < 256; c++ {
		class[c] = true
	}
	if re.Op == syntax.OpLiteral {
		c := re.Rune[0]
		if c < 0x80 {
			class[c] = true
			if re.Flags&syntax.FoldCase != 0 {
				class[strings.ToLower(string(c))[0]], class[strings.ToUpper(string(c))[0]] = true, true
			}
		}
		return class
	}
	for i := 0; i+1 < len(re.Rune); i += 2 {
		for c := re.Rune[i]; c <= re.Rune[i+1] && c < 0x80; c++ {
			class[c] = true
		}
	}
	return class
}

// holds looks whether a keyword at text[at:stop] is followed as it must be.
func (f *follow) holds(text []byte, at, stop int) bool {
	if f.border && at > 0 && isWord(text[at-1]) {
		return false
	}
	for i := range f.atoms {
		a := &f.atoms[i]
		if len(text)-stop < a.least {
			return false
		}
		for _, c := range text[stop : stop+a.least] {
			if !a.class[c] {
				return false
			}
		}
		stop += a.least
	}
	return true
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
