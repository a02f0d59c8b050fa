package secret_test

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
	"testing"
	"unicode"
)

// generator makes texts that an expression matches.
type generator struct {
	random *rand.Rand
	b      strings.Builder
}

// text gives one such text. Borders are left to luck.
func (g *generator) text(t testing.TB, expression string) string {
	t.Helper()
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	g.b.Reset()
	g.visit(re)
	return g.b.String()
}

func (g *generator) visit(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && g.random.IntN(2) == 0 {
				c = unicode.ToUpper(c)
			} else if re.Flags&syntax.FoldCase != 0 {
				c = unicode.ToLower(c)
			}
			g.b.WriteRune(c)
		}
	case syntax.OpCharClass:
		g.b.WriteRune(g.member(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		g.b.WriteByte('.') // nearly always a full stop that was not escaped
	case syntax.OpCapture:
		g.visit(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		for range g.times(re) {
			if sub := re.Sub[0]; sub.Op == syntax.OpAnyChar || sub.Op == syntax.OpAnyCharNotNL {
				g.b.WriteByte(byte(' ' + g.random.IntN(95)))
			} else {
				g.visit(sub)
			}
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			g.visit(sub)
		}
	case syntax.OpAlternate:
		g.visit(re.Sub[g.random.IntN(len(re.Sub))])
	}
}

// times chooses how often a part is repeated.
func (g *generator) times(re *syntax.Regexp) int {
	least, most := re.Min, re.Max
	switch re.Op {
	case syntax.OpStar:
		least, most = 0, -1
	case syntax.OpPlus:
		least, most = 1, -1
	case syntax.OpQuest:
		least, most = 0, 1
	}
	if most < 0 {
		most = least + 30
	}
	return least + g.random.IntN(most-least+1)
}

// member chooses a printable character of a class, if it has one.
func (g *generator) member(ranges []rune) rune {
	var all []rune
	for i := 0; i+1 < len(ranges); i += 2 {
		for c := ranges[i]; c <= ranges[i+1] && c <= '~'; c++ {
			if c >= ' ' || c == '\n' || c == '\t' {
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return ranges[0]
	}
	return all[g.random.IntN(len(all))]
}
