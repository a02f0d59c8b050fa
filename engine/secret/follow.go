package secret

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// follow is what must stand directly before and behind a keyword for a rule to
// match, and how it is spelled: a necessary condition that costs some
// nanoseconds, where the expression costs microseconds.
type follow struct {
	border bool   // a word begins with the keyword
	edge   bool   // a word ends with it
	lead   []atom // before it
	atoms  []atom // of the keyword, and behind it
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
		w.literal(re, after, border)
	case syntax.OpConcat:
		for i, sub := range re.Sub {
			w.visit(sub, slices.Concat(re.Sub[i+1:], after), i > 0 && re.Sub[i-1].Op == syntax.OpWordBoundary || i == 0 && border)
		}
	case syntax.OpCapture, syntax.OpAlternate:
		for _, sub := range re.Sub {
			w.visit(sub, after, border)
		}
	}
}

// literal looks for the keyword in a literal, and for one that begins there and
// ends in a literal or letter that may come next.
func (w *walk) literal(re *syntax.Regexp, after []*syntax.Regexp, border bool) {
	text := strings.ToLower(string(re.Rune))
	if i := strings.Index(text, w.keyword); i >= 0 {
		w.add(re, i, border, after, len(text) == i+len(w.keyword))
		return
	}
	for n := min(len(text), len(w.keyword)-1); n > 0; n-- {
		missing := w.keyword[n:]
		if !strings.HasSuffix(text, w.keyword[:n]) {
			continue
		}
		for _, next := range unfolded(after) {
			literal := next[0].Op == syntax.OpLiteral && strings.HasPrefix(strings.ToLower(string(next[0].Rune)), missing)
			class := next[0].Op == syntax.OpCharClass && len(missing) == 1 && holdsLetter(classOf(next[0]), missing[0])
			if literal || class {
				w.add(re, len(text)-n, border, next, false)
			}
		}
	}
}

// unfolded lists what may come next, with a part first that has no alternatives.
func unfolded(parts []*syntax.Regexp) (all [][]*syntax.Regexp) {
	if len(parts) == 0 {
		return nil
	}
	switch first := parts[0]; first.Op {
	case syntax.OpCapture, syntax.OpAlternate:
		for _, sub := range first.Sub {
			all = append(all, unfolded(slices.Concat([]*syntax.Regexp{sub}, parts[1:]))...)
		}
		return all
	case syntax.OpConcat:
		return unfolded(slices.Concat(first.Sub, parts[1:]))
	}
	return [][]*syntax.Regexp{parts}
}

// holdsLetter reports whether a class has a letter, given in lower case, in
// either case.
func holdsLetter(class [256]bool, c byte) bool {
	return class[c] || class[strings.ToUpper(string(rune(c)))[0]]
}

// add keeps what stands round a keyword that begins at a place of a literal; ends
// tells that it ends with it.
func (w *walk) add(literal *syntax.Regexp, at int, border bool, after []*syntax.Regexp, ends bool) {
	part := func(from, to int) []*syntax.Regexp {
		return []*syntax.Regexp{{Op: syntax.OpLiteral, Rune: literal.Rune[from:to], Flags: literal.Flags}}
	}
	w.all = append(w.all, follow{
		border: border && at == 0,
		edge:   ends && len(after) > 0 && after[0].Op == syntax.OpWordBoundary && isWord(w.keyword[len(w.keyword)-1]),
		lead:   atomsOf(part(0, at)),
		atoms:  atomsOf(append(part(at, len(literal.Rune)), after...)),
	})
}

// atomsOf reads what must follow, as far as where each part ends is certain; of
// the first where it is not, the shortest length counts.
func atomsOf(parts []*syntax.Regexp) (atoms []atom) {
	for i, re := range parts {
		for re.Op == syntax.OpCapture {
			re = re.Sub[0]
		}
		switch re.Op {
		case syntax.OpConcat:
			return append(atoms, atomsOf(slices.Concat(re.Sub, parts[i+1:]))...)
		case syntax.OpLiteral:
			for _, c := range re.Rune {
				one := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{c}, Flags: re.Flags}
				atoms = append(atoms, atom{class: classOf(one), least: 1})
			}
		case syntax.OpCharClass:
			atoms = append(atoms, atom{class: classOf(re), least: 1})
		case syntax.OpRepeat, syntax.OpPlus, syntax.OpStar:
			a, known, certain := repeated(re)
			if !known {
				return atoms
			}
			if certain {
				atoms = append(atoms, a)
				continue
			}
			more := atomsOf(parts[i+1:])
			if a.run = len(more) > 0 && more[0].least > 0 && apartFrom(a.class, more[0].class); a.run {
				return append(append(atoms, a), more...)
			}
			return append(atoms, a)
		default:
			return atoms
		}
	}
	return atoms
}

// repeated is the atom of a repeated class, or of a letter; certain tells that
// there is but one length.
func repeated(re *syntax.Regexp) (a atom, known, certain bool) {
	least, most := re.Min, re.Max
	switch re.Op {
	case syntax.OpPlus:
		least, most = 1, -1
	case syntax.OpStar:
		least, most = 0, -1
	}
	inner := re.Sub[0]
	if inner.Op != syntax.OpCharClass && (inner.Op != syntax.OpLiteral || len(inner.Rune) != 1) {
		return atom{}, false, false
	}
	return atom{class: classOf(inner), least: least}, true, least == most
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

// holds looks whether what stands round a keyword at text[at:stop] is as it must
// be. Letters beyond ASCII end the look: they take more bytes than one.
func (f *follow) holds(text []byte, at, stop int) bool {
	if f.border && at > 0 && isWord(text[at-1]) || f.edge && stop < len(text) && isWord(text[stop]) || at < len(f.lead) {
		return false
	}
	for i := range f.lead {
		c := text[at-1-i]
		if c >= 0x80 {
			return true
		}
		if !f.lead[len(f.lead)-1-i].class[c] {
			return false
		}
	}
	stop = at
	for i := range f.atoms {
		a := &f.atoms[i]
		if len(text)-stop < a.least {
			return false
		}
		for _, c := range text[stop : stop+a.least] {
			if c >= 0x80 {
				return true
			}
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
