package secret

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// maxFindings bounds what is told of one file.
const maxFindings = 1000

// found is a finding with its secret, which never leaves the package.
type found struct {
	Finding
	secret string
	rule   *rule
}

// findings collects those of one file.
type findings struct {
	limit   int
	all     []found
	omitted int
	known   map[identity]struct{}
}

// identity is what makes two findings one.
type identity struct {
	rule, fingerprint string
	line              int
}

// add keeps a finding, counts it when there are enough, and forgets it when it is
// known.
func (fs *findings) add(f found) {
	id := identity{f.Rule, f.Fingerprint, f.Line}
	if _, known := fs.known[id]; known {
		return
	}
	if len(fs.all) >= fs.limit {
		fs.omitted++
		return
	}
	if fs.known == nil {
		fs.known = map[identity]struct{}{}
	}
	fs.known[id] = struct{}{}
	fs.all = append(fs.all, f)
}

// told gives the findings in the order of the file.
func (fs *findings) told() []found {
	slices.SortStableFunc(fs.all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Rule, b.Rule))
	})
	byLine := map[int][]found{}
	for _, f := range fs.all {
		if !f.rule.guess {
			byLine[f.Line] = append(byLine[f.Line], f)
		}
	}
	return slices.DeleteFunc(fs.all, func(f found) bool {
		return f.rule.guess && slices.ContainsFunc(byLine[f.Line], f.givesWay)
	})
}

// givesWay reports whether a guess is about the secret of a particular finding.
// Gitleaks has it that the secret is all of that one or a part of it.
func (f found) givesWay(better found) bool {
	return strings.Contains(better.secret, f.secret) || (f.rule.own || better.rule.own) && strings.Contains(f.secret, better.secret)
}

// judge decides about one match, whose places are relative to from. One that
// begins in a later block is for that block to find.
func (st *Stream) judge(r *rule, from int, at []int) {
	text := st.buf.text
	if from+at[0] >= st.end && st.end < len(text) {
		return
	}
	whole := text[from+at[0] : from+at[1]]
	match := string(bytes.Trim(whole, "\n"))
	secret := r.secretOf(text[from:], at, match)
	bits := entropy(secret)
	if r.entropy > 0 && bits <= r.entropy || r.check != nil && !r.check(secret) {
		return
	}
	begin := from + at[0] + len(whole) - len(bytes.TrimLeft(whole, "\n"))
	line := lineAt(text, begin, begin+len(match))
	if strings.Contains(line, "gitleaks:allow") || st.scanner.global.allows(st.path, secret, match, line) {
		return
	}
	for i := range r.allow {
		if r.allow[i].allows(st.path, secret, match, line) {
			return
		}
	}
	st.found.add(found{Finding{
		Rule: r.id, Kind: r.kind, Description: r.description, Offset: st.base + int64(begin),
		Line: st.lineOf(begin), Redacted: redact(secret), Fingerprint: fingerprint(r.id, secret),
		Entropy: bits, Confidence: confidence(r, secret, bits),
	}, secret, r})
}

// secretOf is the part of a match that is the secret: the group that the rule
// names, or the first that holds something, or all of it.
func (r *rule) secretOf(text []byte, at []int, match string) string {
	if r.group != 0 {
		if g := 2 * r.group; g+1 < len(at) && at[g] >= 0 {
			return string(text[at[g]:at[g+1]])
		}
		return match
	}
	for g := 2; g+1 < len(at); g += 2 {
		if at[g] >= 0 && at[g+1] > at[g] {
			return string(text[at[g]:at[g+1]])
		}
	}
	return match
}

// mark is a place in the text of a buffer whose line is known.
type mark struct{ at, lines int }

// lineOf counts from the place that was asked for last: matches come nearly in
// order.
func (st *Stream) lineOf(at int) int {
	text := st.buf.text
	if at >= st.mark.at {
		st.mark.lines += bytes.Count(text[st.mark.at:at], newline)
	} else {
		st.mark.lines -= bytes.Count(text[at:st.mark.at], newline)
	}
	st.mark.at = at
	return st.lines + st.mark.lines + 1
}

// maxLine bounds what is taken for the line of a match to either side, in bytes.
const maxLine = 1 << 10

func lineAt(text []byte, from, to int) string {
	begin := max(from-maxLine, 0)
	if i := bytes.LastIndexByte(text[begin:from], '\n'); i >= 0 {
		begin += i + 1
	}
	end := min(to+maxLine, len(text))
	if i := bytes.IndexByte(text[to:end], '\n'); i >= 0 {
		end = to + i
	}
	return string(text[begin:end])
}
