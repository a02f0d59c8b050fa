package license

import (
	"regexp"
	"strings"
)

// maxStatement bounds what packages say of their licences, in bytes. What is
// longer is a licence's text, for Classifier.
const maxStatement = 4 << 10

// Normalize writes as an SPDX expression what a package says of its licence, in
// the words of any packager: "GPL-2+" (Debian), "GPLv2+ and MIT" (rpm), "(MIT OR
// Apache-2.0)" (npm), "License :: OSI Approved :: MIT License" (Python), "GPL (>=
// 2)" (R), an address. A name that SPDX does not have becomes a reference
// ("LicenseRef-..."), and ok is then false. The expression is "" when the text
// says nothing, or is no list of names at all.
//
// Names that leave room are read as most packagers mean them: "GPL" is any
// version of it, "BSD" is BSD-3-Clause, "GPL-2.0" is version 2 alone. A comma
// means AND, and binds less than the word before it, as in Debian's format.
func Normalize(text string) (expression string, ok bool) {
	text = strings.TrimSpace(text)
	if len(text) > maxStatement || strings.ContainsAny(text, "\n\r") {
		return "", false
	}
	if at := strings.LastIndex(text, "::"); at >= 0 { // https://pypi.org/classifiers/
		text = strings.TrimSpace(text[at+2:])
	}
	if nothing[reduce(text)] {
		return "", false
	}
	text = orLater.ReplaceAllString(text, "+")
	text = atLeast.ReplaceAllString(text, " $1+")
	text = strings.TrimRight(file.ReplaceAllString(text, ""), ",; ")
	whole := text
	if m := repeated.FindStringSubmatch(text); m != nil {
		whole = m[1]
	}
	if id := identifier(whole); id != "" {
		return id, true
	}
	return parse(text)
}

// nothing are the statements, reduced, that name no licence.
var nothing = map[string]bool{
	"": true, "unknown": true, "none": true, "noassertion": true, "n a": true, "osi approved": true, "other": true, "see file": true,
	"see in file": true, "file": true, "custom": true, "dual": true,
}

var (
	// "or later" has to go before "or" is taken for a choice.
	orLater = regexp.MustCompile(`(?i)[, ]+or(?: \(at your option\))?,? (?:any )?(?:later|newer|greater|above)(?: versions?)?\b`)
	// "(>= 2)" of R.
	atLeast = regexp.MustCompile(` ?\( ?>= ?([0-9]+(?:\.[0-9]+)*) ?\)`)
	// "GNU Library or Lesser General Public License (LGPL)": the name again.
	repeated = regexp.MustCompile(`^([^()]+) \([^()]+\)$`)
	// "+ file LICENSE" of R: the names of the authors.
	file = regexp.MustCompile(`(?i) ?[+|] ?file licen[cs]e\b`)
)

// gnuName is the reduced name of a licence of GNU: family, version, and whether
// later ones are allowed.
var gnuName = regexp.MustCompile(`^(?:gnu )?(gpl|general public|lgpl|lesser general public|lesser gpl|library general public|library or lesser general public|` +
	`agpl|affero general public|affero gpl|gfdl|fdl|free documentation)(?: ([0-9](?:\.[0-9])?))?( \+| only)?$`)

// gnuFamilies are the families by their name, and the version that an unnamed
// one begins with.
var gnuFamilies = map[string]struct{ id, first string }{
	"gpl": {"GPL", "1.0"}, "general public": {"GPL", "1.0"},
	"lgpl": {"LGPL", "2.0"}, "lesser general public": {"LGPL", "2.0"}, "lesser gpl": {"LGPL", "2.0"}, "library general public": {"LGPL", "2.0"},
	"library or lesser general public": {"LGPL", "2.0"},
	"agpl":                             {"AGPL", "1.0"}, "affero general public": {"AGPL", "1.0"}, "affero gpl": {"AGPL", "1.0"},
	"gfdl": {"GFDL", "1.1"}, "fdl": {"GFDL", "1.1"}, "free documentation": {"GFDL", "1.1"},
}

// gnu gives the identifier of a licence of GNU by its reduced name.
func gnu(reduced string) string {
	m := gnuName.FindStringSubmatch(reduced)
	if m == nil {
		return ""
	}
	family, version, suffix := gnuFamilies[m[1]], m[2], "-only"
	if version == "" {
		version, m[3] = family.first, " +"
	}
	if m[3] == " +" {
		suffix = "-or-later"
	}
	if !strings.Contains(version, ".") {
		version += ".0"
	}
	return listed(family.id + "-" + version + suffix)
}

// reduce takes from a name what packagers spell differently: case, punctuation,
// "the", "licence", "version", "v", ".0". A "+" becomes a word.
func reduce(name string) string {
	var b strings.Builder
	last := ' '
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= '0' && r <= '9':
			if last >= 'a' && last <= 'z' { // "gpl2" is "gpl 2"
				b.WriteByte(' ')
			}
			b.WriteRune(r)
		case r >= 'a' && r <= 'z', r == '.':
			b.WriteRune(r)
		case r == '+':
			b.WriteString(" +")
		default:
			b.WriteByte(' ')
		}
		last = r
	}
	words := strings.Fields(b.String())
	kept := words[:0]
	for i, word := range words {
		word = strings.Trim(word, ".")
		for strings.HasSuffix(word, ".0") {
			word = strings.TrimSuffix(word, ".0")
		}
		if i+1 < len(words) && len(word) > 1 && words[i+1][0] >= '0' && words[i+1][0] <= '9' {
			word = strings.TrimSuffix(word, "v") // "gplv2"
		}
		switch word {
		case "", "the", "a", "license", "licence", "licenses", "licences", "version", "ver", "v":
			continue
		}
		kept = append(kept, word)
	}
	return strings.Join(kept, " ")
}
