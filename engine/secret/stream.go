package secret

import "bytes"

// Sizes of a stream, in bytes. A block is looked at together with what lies
// ahead of it, since a match may reach there, and with a little of what lies
// behind.
const (
	blockSize = 32 << 10
	ahead     = wideWindow + 2*context
	behind    = boundedWindow + 2*context
)

// buffer is the text that a stream holds. Streams of one scanner share buffers,
// one after the other.
type buffer struct {
	text    []byte
	windows []window // of the block at hand, by rule
	used    []int    // rules that have a window
}

// window is a part of the text in which an expression is tried.
type window struct {
	from, to int
	// idle: it holds matches, and none that counts. It is not tried, but a match
	// that does count and begins in it is hidden by one of these, so that a
	// window that joins it is tried with it.
	idle bool
}

// Stream looks for secrets in one file. It is for one goroutine.
type Stream struct {
	scanner *Scanner
	path    string
	skipped bool // the file is taken out by a list
	buf     *buffer
	start   int   // where in buf.text the next block begins
	end     int   // where the block at hand ends
	base    int64 // offset in the file of buf.text[0]
	lines   int   // line breaks before buf.text[0]
	mark    mark
	seen    uint64 // rules whose keyword stands apart, and was there
	found   findings
	effort  int64 // bytes that expressions were tried on
	unread  int64 // bytes that they should have been tried on
}

// Stream begins a file. Close must be called.
func (s *Scanner) Stream(path string) *Stream {
	return &Stream{scanner: s, path: path, skipped: s.paths.excludes(path), found: findings{limit: maxFindings}}
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
// Nothing may be written to the stream from then on.
func (st *Stream) Close() []Finding {
	var all []Finding
	for _, f := range st.close() {
		all = append(all, f.Finding)
	}
	return all
}

// Omitted is how many findings there were beyond the limit for one file. Some of
// these may be of the same secret.
func (st *Stream) Omitted() int { return st.found.omitted }

// Unread is how many bytes looked like secrets and were not looked into, because
// the file holds too many such places. More than none is a gap.
func (st *Stream) Unread() int64 { return st.unread }

func (st *Stream) close() []found {
	if st.buf == nil {
		return nil
	}
	st.block(len(st.buf.text))
	st.scanner.buffers.Put(st.buf)
	st.buf = nil
	return st.found.told()
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
	text := st.buf.text
	st.end, st.mark = end, mark{}
	st.scanner.words.find(text, st.start, end, func(index, at, stop int) {
		for _, i := range st.scanner.byWord[index] {
			r := st.scanner.rules[i]
			if r.apart.bit != 0 {
				st.seen |= r.apart.bit
				continue
			}
			next, ok := r.window(st.scanner.list[index], text, at, stop)
			if !ok || r.path != nil && !r.path.MatchString(st.path) {
				continue
			}
			st.widen(i, next)
		}
	})
	if st.seen != 0 {
		st.lookApart()
	}
	for _, i := range st.buf.used {
		st.try(st.scanner.rules[i], st.buf.windows[i])
		st.buf.windows[i] = window{}
	}
	st.buf.used = st.buf.used[:0]
}

// widen adds a window of a rule to those of the block. What does not join the
// last one makes room for the new one.
func (st *Stream) widen(i int, next window) {
	switch w := &st.buf.windows[i]; {
	case w.to == 0:
		*w = next
		st.buf.used = append(st.buf.used, i)
	case next.from <= w.to:
		*w = window{min(w.from, next.from), max(w.to, next.to), w.idle && next.idle}
	default:
		st.try(st.scanner.rules[i], *w)
		*w = next
	}
}

// try runs one expression in one window.
func (st *Stream) try(r *rule, w window) {
	part := st.buf.text[w.from:w.to]
	if w.idle || !hasOption(part, r.options) || !st.afford(w) {
		return
	}
	for _, at := range r.re.FindAllSubmatchIndex(part, -1) {
		st.judge(r, w.from, at)
	}
}

// Expressions are slow: in text that is made of nothing but what looks like
// secrets, a second for a megabyte. One file may have them tried on so many bytes,
// and on so many more for each byte of its own; real text takes a hundredth.
const (
	freeEffort  = 1 << 20
	effortShare = 4
)

// afford takes a window into account; false when it is one too many.
func (st *Stream) afford(w window) bool {
	n := int64(w.to - w.from)
	if st.effort+n > freeEffort+(st.base+int64(st.end))/effortShare {
		st.unread += n
		return false
	}
	st.effort += n
	return true
}
