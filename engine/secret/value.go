package secret

import (
	"bytes"
	"math"
	"regexp/syntax"
	"slices"
)

// form is one way in which a part of an expression matches: pieces one behind
// the other. Finding whether it matches costs nanoseconds, where the expression
// costs microseconds, and the answer is the same.
type form []piece

// piece is some letters of a class.
type piece struct {
	class       [256]bool // of ASCII
	folds       bool      // it holds the letters beyond ASCII that are the same as ASCII's in another case
	least, most int
}

// maxForms bounds the forms of one part.
const maxForms = 32

// formsOf lists the forms of an expression; false when there are too many, or one
// is not of pieces.
func formsOf(re *syntax.Regexp) ([]form, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []form{nil}, true
	case syntax.OpLiteral:
		var f form
		for _, c := range re.Rune {
			p, ok := pieceOf(&syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{c}, Flags: re.Flags}, 1, 1)
			if !ok {
				return nil, false
			}
			f = append(f, p)
		}
		return []form{f}, true
	case syntax.OpCharClass:
		return single(re, 1, 1)
	case syntax.OpRepeat:
		return single(re.Sub[0], re.Min, re.Max)
	case syntax.OpPlus:
		return single(re.Sub[0], 1, -1)
	case syntax.OpStar:
		return single(re.Sub[0], 0, -1)
	case syntax.OpQuest:
		all, ok := formsOf(re.Sub[0])
		return append(all, nil), ok && len(all) < maxForms
	case syntax.OpCapture:
		return formsOf(re.Sub[0])
	case syntax.OpAlternate:
		var all []form
		for _, sub := range re.Sub {
			some, ok := formsOf(sub)
			if all = append(all, some...); !ok || len(all) > maxForms {
				return nil, false
			}
		}
		return all, true
	case syntax.OpConcat:
		return inTurn(re.Sub, maxForms, formsOf, func(a, b form) form { return slices.Concat(a, b) })
	}
	return nil, false
}

func single(re *syntax.Regexp, least, most int) ([]form, bool) {
	p, ok := pieceOf(re, least, most)
	return []form{{p}}, ok
}

// pieceOf is false for what is not a class, and for a class that holds other
// letters beyond ASCII than the two that fold.
func pieceOf(re *syntax.Regexp, least, most int) (p piece, ok bool) {
	if re.Op != syntax.OpCharClass && (re.Op != syntax.OpLiteral || len(re.Rune) != 1) {
		return p, false
	}
	if most < 0 {
		most = math.MaxInt
	}
	p = piece{class: classOf(re), least: least, most: most}
	clear(p.class[0x80:])
	if re.Op == syntax.OpLiteral {
		p.folds = re.Flags&syntax.FoldCase != 0 && (p.class['k'] || p.class['s'])
		return p, re.Rune[0] < 0x80
	}
	for i := 0; i+1 < len(re.Rune); i += 2 {
		for c := max(re.Rune[i], 0x80); c <= re.Rune[i+1]; c++ {
			if c != longS && c != kelvin {
				return p, false
			}
			p.folds = true
		}
	}
	return p, true
}

// The letters beyond ASCII that are S and K in another case.
const (
	longS  = '\u017f'
	kelvin = '\u212a'
)

// foldWidth is the length of such a letter at the beginning of a text; 0 when
// there is none.
func foldWidth(text []byte) int {
	if text[0] < 0x80 {
		return 0
	}
	for _, letter := range []string{string(longS), string(kelvin)} {
		if bytes.HasPrefix(text, []byte(letter)) {
			return len(letter)
		}
	}
	return 0
}

// certain reports whether each piece of a form ends where its letters do, when
// behind the form comes what begins with a class: no fewer letters will do than
// there are.
func (f form) certain(behind [256]bool) bool {
	next := piece{class: behind}
	for i := len(f) - 1; i >= 0; i-- {
		apart := apartFrom(f[i].class, next.class) && !(f[i].folds && next.folds)
		if !apart && f[i].least != f[i].most {
			return false
		}
		if f[i].least > 0 {
			next = piece{}
		}
		next.add(&f[i])
	}
	return true
}

func (p *piece) add(other *piece) {
	for c := range p.class {
		p.class[c] = p.class[c] || other.class[c]
	}
	p.folds = p.folds || other.folds
}

// maxValue bounds a value, in bytes: one that is longer is taken to end there.
// With its name it lies within what a stream looks ahead.
const maxValue = wideWindow - 128

// value looks for a value of one form from c.begin on.
func (c *candidate) value(f form) {
	at := c.begin
	for i := range f {
		stop, n := c.run(&f[i], at)
		if n < f[i].least {
			return
		}
		at = stop
	}
	if c.ended(at) {
		c.found = true
		c.end = max(c.end, at)
		c.counts = c.counts || !c.rule.valueIsSecret || c.rule.mayCount(c.text[c.begin:at])
	}
}

// run gives where the letters of a piece end, and how many they are.
func (c *candidate) run(p *piece, at int) (stop, n int) {
	limit := min(len(c.text), c.begin+maxValue)
	for stop = at; n < p.most && stop < limit; n++ {
		if p.class[c.text[stop]] {
			stop++
			continue
		}
		width := foldWidth(c.text[stop:])
		if width == 0 || !p.folds {
			break
		}
		stop += width
	}
	return stop, n
}

// ended reports whether a value may end at a place.
func (c *candidate) ended(at int) bool {
	if at >= min(len(c.text), c.begin+maxValue) {
		return true
	}
	for _, f := range c.rule.assignment.behind {
		if f.stands(c.text[at:]) {
			return true
		}
	}
	return false
}

// stands reports whether a text begins with a form of single letters.
func (f form) stands(text []byte) bool {
	for i := range f {
		if i >= len(text) || !f[i].class[text[i]] {
			return false
		}
	}
	return true
}
