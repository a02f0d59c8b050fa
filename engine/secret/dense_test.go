package secret_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/secret"
)

// pieces are what text is made of that is all names, operators and values: the
// looks ahead that spare an expression have most to decide there. The letters
// beyond ASCII are K and S to an expression that knows no case.
var pieces = []string{
	"key", "Key", "api", "API", "aPi", "auth", "token", "secret", "passwd", "password", "access", "creds", "credential", "keyword",
	"twitter", "okta", "sonar_login", "snyk_token", "discord", "jfrog", "adobe", "mailgun", "sentry", "plaid", "telegr", "EAAM", "eaam", "AKIA", " ey", ".ey", "s.", "SK", "sl.",
	"=", "==", ":", "::", ":=", ":::=", "=>", ">", "||", "|", "?=", "?", ",", " ", "  ", "\t", "\n", "\r\n", "'", "\"", "`", ";", "\\n", "\\", "-", ".", "_",
	"/", "+", "===", "x", "my", "is a", "\u017f", "\u212a", "é", "\xe2\x84", "\xff", "example", "gitleaks:allow",
}

var classes = []string{
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "0123456789abcdef", "0123456789", "abcdefghijklmnopqrstuvwxyz._-",
	"abcdefghijklmnopqrstuvwxyz0123456789+/", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=.", "aB3=\u017f\u212a",
}

// lengths are those near which the forms of values begin and end.
var lengths = []int{1, 9, 10, 11, 12, 16, 20, 24, 31, 32, 33, 36, 40, 64, 149, 150, 151, 300}

// dense makes text of these, of assignments, and of what expressions match or
// nearly match.
func dense(t testing.TB, random *rand.Rand, expressions []string) string {
	var b strings.Builder
	for range 1 + random.IntN(12) {
		switch random.IntN(8) {
		case 0:
			g := generator{random: random}
			b.WriteString(damaged(random, g.text(t, expressions[random.IntN(len(expressions))])))
		case 1, 2:
			b.WriteString(some(random, 1) + some(random, 2) + []string{"=", ":", ",", " = ", "\": \""}[random.IntN(5)] + some(random, 1))
			fallthrough
		case 3:
			b.WriteString(value(random) + []string{"", "\"", "\n", ";", "\\n"}[random.IntN(5)])
		default:
			b.WriteString(some(random, 4))
		}
	}
	return b.String()
}

func some(random *rand.Rand, most int) (text string) {
	for range random.IntN(most + 1) {
		text += pieces[random.IntN(len(pieces))]
	}
	return text
}

func value(random *rand.Rand) string {
	letters := []rune(classes[random.IntN(len(classes))])
	var b strings.Builder
	for range lengths[random.IntN(len(lengths))] {
		b.WriteRune(letters[random.IntN(len(letters))])
	}
	return b.String()
}

// damaged changes a text a little, or not at all.
func damaged(random *rand.Rand, text string) string {
	i := random.IntN(len(text) + 1)
	switch random.IntN(5) {
	case 0:
		return text[:i] + some(random, 1) + text[i:]
	case 1:
		return text[:i]
	case 2:
		return text[:i] + text[min(i+1, len(text)):]
	case 3:
		return strings.ToUpper(text)
	}
	return text
}

// TestDense: the looks ahead lose nothing that the expressions find, and add
// nothing.
func TestDense(t *testing.T) {
	s := scanner(t)
	expressions := secret.Expressions(s)
	found := map[string]int{}
	for seed := range uint64(denseTexts) {
		text := dense(t, rand.New(rand.NewPCG(seed, 7)), expressions)
		for _, f := range same(t, s, text) {
			found[f.Rule]++
		}
	}
	if len(found) < len(expressions)/2 {
		t.Errorf("too little to tell: %v", found)
	}
}

const denseTexts = 600

// FuzzDense is the same for any text.
func FuzzDense(f *testing.F) {
	s := scanner(f)
	expressions := secret.Expressions(s)
	for seed := range uint64(100) {
		f.Add(dense(f, rand.New(rand.NewPCG(seed, 8)), expressions))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !strings.ContainsAny(text, "\u017f\u212a") {
			same(t, s, text[:min(len(text), 4<<10)])
		}
	})
}

func same(t *testing.T, s *secret.Scanner, text string) []secret.Told {
	t.Helper()
	want := secret.ByExpressions(s, "a", text)
	if diff := cmp.Diff(want, secret.WithSecrets(write(s.Stream("a"), text))); diff != "" {
		t.Fatalf("%q\n(-expressions alone +scan)\n%s", text, diff)
	}
	return want
}
