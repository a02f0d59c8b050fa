package license

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Bounds of an expression.
const (
	maxTerms   = 200
	maxDepth   = 32 // of brackets
	maxWords   = 3  // of a name that SPDX does not have; more are a sentence
	maxElement = 80 // bytes of a reference
)

// parse reads names joined by "and", "or", "with", commas and their like. ok is
// false, and the expression still one, when SPDX lacks one of the names.
func parse(text string) (expression string, ok bool) {
	tokens := tokenize(text)
	if len(tokens) > 2*maxTerms {
		return "", false
	}
	p := &parser{tokens: tokens, known: true}
	e := p.commas(0)
	if p.bad || p.at < len(p.tokens) {
		return "", false
	}
	return e.text(), p.known
}

// tokenize splits a statement: brackets, commas, operators in capitals, words.
func tokenize(text string) []string {
	var tokens []string
	for _, field := range strings.FieldsFunc(spaced.Replace(text), unicode.IsSpace) {
		switch strings.ToLower(field) {
		case "and", "&", "and/or":
			field = "AND"
		case "or", "|":
			field = "OR"
		case "with", "w/":
			field = "WITH"
		}
		tokens = append(tokens, field)
	}
	return tokens
}

var spaced = strings.NewReplacer("(", " ( ", ")", " ) ", ",", " , ", ";", " , ", "||", " | ", "&&", " & ", "|", " | ", "&", " & ")

// operand is a name, or several that an operator joins.
type operand struct {
	parts []string
	op    string
}

func (o operand) text() string { return strings.Join(o.parts, " "+o.op+" ") }

// named is one name, or what SPDX says instead of it: that of Perl is a choice.
func named(id string) operand {
	if strings.Contains(id, " OR ") {
		return operand{strings.Split(id, " OR "), "OR"}
	}
	return operand{parts: []string{id}}
}

// parser reads tokens by falling precedence: brackets and names, AND, OR, and
// operators after a comma.
type parser struct {
	tokens []string
	at     int
	bad    bool // no expression
	known  bool // SPDX has all names
}

func (p *parser) next() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *parser) accept(token string) bool {
	if p.next() != token {
		return false
	}
	p.at++
	return true
}

// commas: "a or b, and c" is "(a or b) and c"; a comma alone is an AND.
func (p *parser) commas(depth int) operand {
	left := p.joined(depth, "OR")
	for !p.bad && p.accept(",") {
		op := "AND"
		if p.accept("OR") {
			op = "OR"
		} else {
			p.accept("AND")
		}
		left = join(op, []operand{left, p.joined(depth, "OR")})
	}
	return left
}

// joined reads parts that an operator joins.
func (p *parser) joined(depth int, op string) operand {
	var parts []operand
	for {
		if op == "OR" {
			parts = append(parts, p.joined(depth, "AND"))
		} else {
			parts = append(parts, p.primary(depth))
		}
		if p.bad || !p.accept(op) {
			return join(op, parts)
		}
	}
}

// join puts operands together, each part once.
func join(op string, all []operand) operand {
	if len(all) == 1 {
		return all[0]
	}
	joined := operand{op: op}
	for _, o := range all {
		parts := o.parts
		if op == "AND" && o.op == "OR" && len(parts) > 1 {
			parts = []string{"(" + o.text() + ")"}
		} else if op == "OR" && o.op == "AND" {
			parts = []string{o.text()}
		}
		for _, part := range parts {
			if !slices.Contains(joined.parts, part) {
				joined.parts = append(joined.parts, part)
			}
		}
	}
	return joined
}

// primary reads brackets or a name, with its exception.
func (p *parser) primary(depth int) operand {
	if depth >= maxDepth {
		p.bad = true
		return operand{}
	}
	if p.accept("(") {
		e := p.commas(depth + 1)
		p.bad = p.bad || !p.accept(")")
		return e
	}
	words := p.words()
	before := p.known
	e := p.term(words)
	if p.accept("(") { // "Mozilla Public License 2.0 (MPL 2.0)": the name again
		first := p.known
		p.known = before
		again := p.commas(depth + 1)
		p.bad = p.bad || !p.accept(")")
		if !first && p.known {
			return again
		}
		p.known = first
	}
	if p.accept("WITH") {
		return p.exception(words, e)
	}
	return e
}

// words takes what stands up to the next operator.
func (p *parser) words() []string {
	from := p.at
	for p.at < len(p.tokens) && !slices.Contains([]string{"(", ")", ",", "AND", "OR", "WITH"}, p.tokens[p.at]) {
		p.at++
	}
	p.bad = p.bad || p.at == from
	return p.tokens[from:p.at]
}

// term names one licence. Words that are names each are all meant ("MIT BSD
// GPL2+" of old Alpine); names with a stroke between them are a choice.
func (p *parser) term(words []string) operand {
	name := strings.Join(words, " ")
	if e, ok := single(name); ok {
		return e
	}
	for _, list := range []struct {
		names []string
		op    string
	}{{words, "AND"}, {strings.Split(name, "/"), "OR"}} {
		var parts []operand
		for _, one := range list.names {
			if e, ok := single(one); ok {
				parts = append(parts, e)
			}
		}
		if len(parts) > 0 && len(parts) == len(list.names) {
			return join(list.op, parts)
		}
	}
	p.known = false
	p.bad = p.bad || len(words) > maxWords
	return named(refer(name))
}

// with joins a licence and its exception in one word.
var with = regexp.MustCompile(`(?i)-with-`)

// single is a name that SPDX has.
func single(name string) (e operand, ok bool) {
	id := identifier(name)
	if id == "" {
		if at := with.FindStringIndex(name); at != nil {
			id = withException(identifier(name[:at[0]]), name[at[1]:])
		}
	}
	return named(id), id != ""
}

// exception reads what follows WITH. The whole becomes a reference when SPDX
// does not have the exception.
func (p *parser) exception(base []string, e operand) operand {
	words := p.words()
	if whole := identifier(strings.Join(append(append(slices.Clone(base), "with"), words...), " ")); whole != "" {
		return named(whole) // "BSD with advertising"
	}
	if id := withException(e.text(), strings.Join(words, " ")); id != "" {
		return named(id)
	}
	p.known = false
	p.bad = p.bad || len(words) > maxWords
	return named(refer(strings.TrimPrefix(e.text(), "LicenseRef-") + "-with-" + strings.Join(words, "-")))
}

// refer makes a reference of a name: "LicenseRef-..." takes letters, digits, "."
// and "-".
func refer(name string) string {
	clean := strings.FieldsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.'
	})
	text := strings.Trim(strings.Join(clean, "-"), ".")
	if text == "" {
		text = "unnamed"
	}
	return "LicenseRef-" + strings.Trim(text[:min(len(text), maxElement)], ".")
}

// All joins expressions that apply together, as several files of one package do.
func All(expressions []string) string {
	parts := make([]operand, 0, min(len(expressions), maxTerms))
	for _, e := range expressions[:min(len(expressions), maxTerms)] {
		o := operand{parts: []string{e}}
		if strings.Contains(e, " OR ") {
			o.parts = []string{"(" + e + ")"}
		}
		parts = append(parts, o)
	}
	if len(expressions) == 1 {
		return expressions[0]
	}
	return join("AND", parts).text()
}

// References lists the references of an expression, which a document has to
// define: "LicenseRef-...".
func References(expression string) []string {
	var found []string
	for _, word := range strings.FieldsFunc(expression, func(r rune) bool { return r == ' ' || r == '(' || r == ')' }) {
		if reference.MatchString(word) && !slices.Contains(found, word) {
			found = append(found, word)
		}
	}
	return found
}
