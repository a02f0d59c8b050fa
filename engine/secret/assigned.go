package secret

import "regexp/syntax"

// valueOf finds what the value of an assignment must begin with: the class and
// the least length of each alternative of the group behind the operator.
func valueOf(re *syntax.Regexp) []atom {
	if re.Op != syntax.OpConcat {
		return nil
	}
	for i, sub := range re.Sub {
		if sub.Op != syntax.OpRepeat || sub.Max != 5 || sub.Sub[0].Op != syntax.OpCharClass || i+1 == len(re.Sub) {
			continue
		}
		value := re.Sub[i+1]
		for value.Op == syntax.OpCapture {
			value = value.Sub[0]
		}
		alternatives := []*syntax.Regexp{value}
		if value.Op == syntax.OpAlternate {
			alternatives = value.Sub
		}
		var atoms []atom
		for _, one := range alternatives {
			first := atomsOf([]*syntax.Regexp{one})
			if len(first) == 0 {
				return nil
			}
			atoms = append(atoms, first[0])
		}
		return atoms
	}
	return nil
}

// assigns reports whether a name that ends at i goes on as one to which
// something is assigned, as the expression called assignment has it, and is
// followed by something that is long enough. end is where the value ends.
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
	for n := 0; n < 5 && i < len(text) && (isQuoteOrBlank(text[i]) || text[i] == '=' || text[i] == '`'); n++ {
		i++
	}
	if !r.hasValue(text, begin+1, i) {
		return 0, false
	}
	end = i
	plain := true // nothing but what stands in names
	for end < len(text) && end < i+assignedAfter && isValue(text[end]) {
		c := text[end]
		plain = plain && (isWord(c) || c == '.' || c == '-') && (c < '0' || c > '9')
		end++
	}
	return end, !plain || !r.wantsMore
}

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
	if len(r.value) == 0 {
		return true
	}
	for i := from; i <= to; i++ {
		for j := range r.value {
			if one := (follow{atoms: r.value[j : j+1]}); one.holds(text, i, i) {
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
