package cataloger

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// programText tells how the version of one program stands in its file.
type programText struct {
	// files are the base names of the program's files; a "*" at the end stands
	// for anything.
	files []string
	// needle is the text that is searched for; "*" stands for the number that
	// the "*" of files begins with.
	needle string
	// before is how many bytes before the needle the pattern begins; at most
	// programBehind.
	before int
	// version matches from there on; its first group is the version, its second
	// the update, where NVD keeps that apart.
	version *regexp.Regexp
	name    string // of the package
	product string // "vendor:product" in NVD's dictionary of CPE names
}

const (
	textWindow   = 160  // bytes from the needle that a pattern may look at
	textMaxTries = 1000 // needles that are looked at, of one row in one file; real ones have 40
)

// textSearch finds the versions in the text of one program.
type textSearch struct {
	rows []textRow
}

// textRow is one row of the table, made ready for one file.
type textRow struct {
	*programText
	needle   []byte
	tries    int
	versions []textVersion
}

type textVersion struct{ version, update string }

// textsFor chooses the rows of the table for a file's name.
func textsFor(base string) *textSearch {
	s := &textSearch{}
	for i := range programTexts {
		row := &programTexts[i]
		for _, file := range row.files {
			rest, ok := matchName(file, base)
			if !ok {
				continue
			}
			needle := strings.ReplaceAll(row.needle, "*", digits(rest))
			if needle == row.needle || digits(rest) != "" {
				s.rows = append(s.rows, textRow{programText: row, needle: []byte(needle)})
			}
			break
		}
	}
	return s
}

// matchName compares a name with one that may end in "*", and gives what that
// stands for.
func matchName(file, base string) (rest string, ok bool) {
	if prefix, open := strings.CutSuffix(file, "*"); open {
		return strings.CutPrefix(base, prefix)
	}
	return "", file == base
}

// digits gives the digits that a text begins with.
func digits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// isKnownProgram reports whether the table has a row for a file's name.
func isKnownProgram(base string) bool {
	for i := range programTexts {
		for _, file := range programTexts[i].files {
			if _, ok := matchName(file, base); ok {
				return true
			}
		}
	}
	return false
}

// search looks at one block of the program.
func (s *textSearch) search(p *program, from, to int) {
	for i := range s.rows {
		row := &s.rows[i]
		end := min(len(p.buf), to+len(row.needle)-1) // a needle may begin at the block's end
		for at := from; at < end && row.tries < textMaxTries; at++ {
			k := bytes.Index(p.buf[at:end], row.needle)
			if k < 0 {
				break
			}
			at += k
			row.tries++
			row.look(p.buf[max(0, at-row.before):min(len(p.buf), at+textWindow)])
		}
	}
}

// look takes the version from the text round a needle.
func (r *textRow) look(text []byte) {
	found := r.version.FindSubmatch(text)
	if found == nil {
		return
	}
	v := textVersion{version: string(found[1])}
	if len(found) > 2 {
		v.update = string(found[2])
	}
	for _, known := range r.versions {
		if known == v {
			return
		}
	}
	r.versions = append(r.versions, v)
}

// finish adds the versions that were found. A program that names two is not
// understood.
func (s *textSearch) finish(out *Result) {
	for i := range s.rows {
		row := &s.rows[i]
		if len(row.versions) > 1 || row.tries == textMaxTries {
			out.gap(inventory.Partial, "program-version", "the text of "+row.name+" names more than one version")
			continue
		}
		for _, v := range row.versions {
			out.add(inventory.Package{
				Type: inventory.TypeBinary, Name: row.name, Version: v.version + v.update,
				Evidence: inventory.EvidenceText, CPE: row.cpe(v),
			})
		}
	}
}

// cpe names the product; the update has a field of its own there.
func (r *textRow) cpe(v textVersion) string {
	if v.update == "" {
		return cpe(r.product, v.version)
	}
	return "cpe:2.3:a:" + r.product + ":" + v.version + ":" + v.update + ":*:*:*:*:*:*"
}
