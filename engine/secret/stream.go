package secret

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Sizes of a stream, in bytes. A block is looked at together with what lies
// ahead of it, since a match may reach there, and with a little of what lies
// behind.
const (
	blockSize = 64 << 10
	ahead     = wideWindow + 2*context
	behind    = boundedWindow + 2*context
)

// maxFindings bounds what is told of one file.
const maxFindings = 1000

// buffer is the text that a stream holds. Streams of one scanner share buffers,
// one after the other.
type buffer struct {
	text    []byte
	windows []window // of the block at hand, by rule
	used    []int    // rules that have a window
}

// window is a part of the text in which an expression is tried.
type window struct{ from, to int }

// Stream looks for secrets in one file. It is for one goroutine.
type Stream struct {
	scanner *Scanner
	path    string
	skipped bool // the file is taken out by a list
	buf     *buffer
	start   int   // where in buf.text the next block begins
	base    int64 // offset in the file of buf.text[0]
	lines   int   // line breaks before buf.text[0]
	found   []Finding
}

// Stream begins a file. Close must be called.
func (s *Scanner) Stream(path string) *Stream {
	return &Stream{scanner: s, path: path, skipped: s.paths.excludes(path)}
}

// Write takes the next bytes of the file. It never fails.
func (st *Stream) Write(p []byte) (int, error) {
	n := len(p)
	if st.skipped {
		return n, nil
	}
	if st.buf == nil {
		st.buf = st.scanner.buffers.Get().(*buffer)
		if st.buf.windows == nil {
			st.buf.windows = make([]window, len(st.scanner.rules))
			st.buf.text = make([]byte, 0, behind+blockSize+ahead)
		}
		st.buf.text = st.buf.text[:0]
	}
	for len(p) > 0 {
		room := cap(st.buf.text) - len(st.buf.text)
		k := min(room, len(p))
		st.buf.text = append(st.buf.text, p[:k]...)
		p = p[k:]
		if len(st.buf.text)-st.start >= blockSize+ahead {
			st.block(st.start + blockSize)
			st.slide()
		}
	}
	return n, nil
}

// Close looks at the rest, and tells what was found, in the order of the file.
func (st *Stream) Close() []Finding {
	if st.buf == nil {
		return nil
	}
	st.block(len(st.buf.text))
	st.scanner.buffers.Put(st.buf)
	st.buf = nil
	slices.SortStableFunc(st.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Rule, b.Rule))
	})
	return withoutGuesses(st.found)
}

// slide drops what no further match can reach.
func (st *Stream) slide() {
	st.start += blockSize
	drop := max(st.start-behind, 0)
	text := st.buf.text
	st.lines += bytes.Count(text[:drop], newline)
	st.buf.text = append(text[:0], text[drop:]...)
	st.base += int64(drop)
	st.start -= drop
}

var newline = []byte{'\n'}

// block looks at the text from st.start to end: keywords there, matches in their
// windows.
func (st *Stream) block(end int) {
	text, windows := st.buf.text, st.buf.windows
	st.scanner.words.find(text, st.start, end, func(index, at, stop int) {
		for _, i := range st.scanner.byWord[index] {
			r := st.scanner.rules[i]
			next, ok := r.window(st.scanner.list[index], text, at, stop)
			if !ok || r.path != nil && !r.path.MatchString(st.path) {
				continue
			}
			switch w := &windows[i]; {
			case w.to == 0:
				*w = next
				st.buf.used = append(st.buf.used, i)
			case next.from <= w.to:
				w.to = max(w.to, next.to)
			default:
				st.try(r, *w)
				*w = next
			}
		}
	})
	for _, i := range st.buf.used {
		st.try(st.scanner.rules[i], windows[i])
		windows[i] = window{}
	}
	st.buf.used = st.buf.used[:0]
}

// try runs one expression in one window, and in a wider one when what it finds
// may go on beyond the window.
func (st *Stream) try(r *rule, w window) {
	part := st.buf.text[w.from:w.to]
	matches := r.re.FindAllSubmatchIndex(part, maxFindings)
	if n := len(matches); r.assigned && n > 0 && matches[n-1][1] >= len(part)-1 && w.to < len(st.buf.text) {
		w.to = min(w.to+wideWindow, len(st.buf.text))
		matches = r.re.FindAllSubmatchIndex(st.buf.text[w.from:w.to], maxFindings)
	}
	for _, at := range matches {
		if len(st.found) >= maxFindings {
			return
		}
		st.judge(r, w.from, at)
	}
}

// judge decides about one match, whose places are relative to from.
func (st *Stream) judge(r *rule, from int, at []int) {
	text := st.buf.text
	match := strings.Trim(string(text[from+at[0]:from+at[1]]), "\n")
	secret := match
	for group := max(r.group, 1); 2*group+1 < len(at); group++ {
		if at[2*group] >= 0 && at[2*group+1] > at[2*group] {
			secret = string(text[from+at[2*group] : from+at[2*group+1]])
			break
		}
		if r.group != 0 {
			break
		}
	}
	bits := entropy(secret)
	if r.entropy > 0 && bits <= r.entropy || r.check != nil && !r.check(secret) {
		return
	}
	begin := from + at[0]
	line := lineAt(text, begin, from+at[1])
	if strings.Contains(line, "gitleaks:allow") || st.scanner.global.allows(st.path, secret, match, line) {
		return
	}
	for i := range r.allow {
		if r.allow[i].allows(st.path, secret, match, line) {
			return
		}
	}
	f := Finding{
		Rule: r.id, Kind: r.kind, Description: r.description, Offset: st.base + int64(begin),
		Line: st.lines + bytes.Count(text[:begin], newline) + 1, Redacted: redact(secret), Fingerprint: fingerprint(r.id, secret),
		Entropy: bits, Confidence: confidence(r, secret), secret: secret,
	}
	if !slices.ContainsFunc(st.found, func(known Finding) bool {
		return known.Rule == f.Rule && known.secret == f.secret && known.Line == f.Line
	}) {
		st.found = append(st.found, f)
	}
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

// withoutGuesses drops findings of the general rule where a particular one has
// found the same.
func withoutGuesses(all []Finding) []Finding {
	return slices.DeleteFunc(all, func(f Finding) bool {
		return f.Kind == "generic-secret" && slices.ContainsFunc(all, func(other Finding) bool {
			return other.Kind != "generic-secret" && other.Line == f.Line && (strings.Contains(f.secret, other.secret) || strings.Contains(other.secret, f.secret))
		})
	})
}
