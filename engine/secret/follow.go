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
	edge   bool // a word ends with it
	atoms  []atom
}

// atom is so many bytes of a class.
type atom struct {
	class [256]bool
	least int
	run   bool // more may follow; what comes next is none of them
}

// followsOf finds what an expression demands behind each place where it holds a
// keyword as literal text. None means that nothing is known, and that every
// keyword is looked into.
func followsOf(re *syntax.Regexp, keyword string) []follow {
	w := walk{keyword: keyword}
	w.visit(re, nil, false)
	return w.all
}

type walk struct {
	keyword string
	all     []follow
}

// visit looks into a part of an expression. after is what comes behind it, and
// border tells that a word begins with it.
func (w *walk) visit(re *syntax.Regexp, after []*syntax.Regexp, border bool) {
	switch re.Op {
	case syntax.OpLiteral:
		w.literal(strings.ToLower(string(re.Rune)), after, border)
	case syntax.OpConcat:
		for i, sub := range re.Sub {
			rest := append(append([]*syntax.Regexp{}, re.Sub[i+1:]...), after...)
			w.visit(sub, rest, i > 0 && re.Sub[i-1].Op == syntax.OpWordBoundary || i == 0 && border)
		}
	case syntax.OpCapture, syntax.OpAlternate:
		for _, sub := range re.Sub {
			w.visit(sub, after, border)
		}
	}
}

// literal looks for the keyword in a literal, and for one that begins there and
// ends in the next.
func (w *walk) literal(text string, after []*syntax.Regexp, border bool) {
	if i := strings.Index(text, w.keyword); i >= 0 {
		rest := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune(text[i+len(w.keyword):]), Flags: syntax.FoldCase}
		w.add(border && i == 0, append([]*syntax.Regexp{rest}, after...))
		return
	}
	if len(after) == 0 || after[0].Op != syntax.OpLiteral {
		return
	}
	next := strings.ToLower(string(after[0].Rune))
	for n := min(len(text), len(w.keyword)-1); n > 0; n-- {
		missing := w.keyword[n:]
		if strings.HasSuffix(text, w.keyword[:n]) && strings.HasPrefix(next, missing) {
			rest := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune(next[len(missing):]), Flags: syntax.FoldCase}
			w.add(border && n == len(text), append([]*syntax.Regexp{rest}, after[1:]...))
			return
		}
	}
}

func (w *walk) add(border bool, after []*syntax.Regexp) {
	f := follow{border: border}
	if len(after) > 1 && len(after[0].Rune) == 0 { // what is left of the keyword's own literal
		f.edge = after[1].Op == syntax.OpWordBoundary && isWord(w.keyword[len(w.keyword)-1])
	}
	f.atoms, _ = atomsOf(after)
	w.all = append(w.all, f)
}

// atomsOf reads what must follow, as far as where each part ends is certain; of
// the first where it is not, the shortest length counts. all tells that nothing
// came after it.
func atomsOf(parts []*syntax.Regexp) (atoms []atom, all bool) {
	for i, re := range parts {
		for re.Op == syntax.OpCapture {
			re = re.Sub[0]
		}
		switch re.Op {
		case syntax.OpConcat:
			more, _ := atomsOf(append(append([]*syntax.Regexp{}, re.Sub...), parts[i+1:]...))
			return append(atoms, more...), false
		case syntax.OpLiteral:
			for _, c := range re.Rune {
				one := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{c}, Flags: re.Flags}
				atoms = append(atoms, atom{class: classOf(one), least: 1})
			}
		case syntax.OpCharClass:
			atoms = append(atoms, atom{class: classOf(re), least: 1})
		case syntax.OpRepeat, syntax.OpPlus:
			a, certain := repeated(re)
			if a.least == 0 {
				return atoms, false
			}
			if certain {
				atoms = append(atoms, a)
				continue
			}
			more, _ := atomsOf(parts[i+1:])
			if a.run = len(more) > 0 && apartFrom(a.class, more[0].class); !a.run {
				more = nil
			}
			return append(append(atoms, a), more...), false
		default:
			return atoms, false
		}
	}
	return atoms, true
}

// repeated is the atom of a repeated class, of length 0 when it is none; certain
// tells that there is but one length.
func repeated(re *syntax.Regexp) (a atom, certain bool) {
	least, most := re.Min, re.Max
	if re.Op == syntax.OpPlus {
		least, most = 1, -1
	}
	inner := re.Sub[0]
	if inner.Op != syntax.OpCharClass && (inner.Op != syntax.OpLiteral || len(inner.Rune) != 1) {
		return atom{}, false
	}
	return atom{class: classOf(inner), least: least}, least == most
}

// apartFrom reports whether two classes have no byte of ASCII in common.
func apartFrom(a, b [256]bool) bool {
	for c := range 0x80 {
		if a[c] && b[c] {
			return false
		}
	}
	return true
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

// maxRun bounds how far a run is followed, in bytes: text that is one long run
// would be read again for each keyword in it.
const maxRun = 512

// holds looks whether a keyword at text[at:stop] is followed as it must be.
func (f *follow) holds(text []byte, at, stop int) bool {
	if f.border && at > 0 && isWord(text[at-1]) || f.edge && stop < len(text) && isWord(text[stop]) {
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
		for end := stop + maxRun; a.run && stop < len(text) && a.class[text[stop]]; stop++ {
			if stop == end || text[stop] >= 0x80 {
				return true
			}
		}
	}
	return true
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
