package secret

import "bytes"

// apart is for a rule whose keyword need not be part of what it matches: gitleaks
// asks only that it stands somewhere in the file. Here it must stand before the
// match, or in the same block.
type apart struct {
	bit     uint64   // of Stream.seen
	anchors []string // one of them is part of every match; none: the whole text is looked at
	digits  int      // so many stand before the anchor
}

// keywordApart lists these rules; a test holds it to be complete. Others demand a
// keyword with a full stop where their expressions allow any byte: only the full
// stop makes sense.
var keywordApart = map[string]apart{
	"airtable-personnal-access-token": {bit: 1 << 0, anchors: []string{"pat"}},
	"facebook-access-token":           {bit: 1 << 1, anchors: []string{"|", "%"}, digits: 15},
	"sourcegraph-access-token":        {bit: 1 << 2},
}

// lookApart looks in the text of a block for matches of the rules whose
// keyword the file has.
func (st *Stream) lookApart() {
	for i, r := range st.scanner.rules {
		if r.apart.bit&st.seen == 0 {
			continue
		}
		if len(r.apart.anchors) == 0 {
			st.widen(i, window{from: max(st.start-1, 0), to: len(st.buf.text)})
		}
		for _, anchor := range r.apart.anchors {
			st.lookAnchor(i, []byte(anchor))
		}
	}
}

func (st *Stream) lookAnchor(i int, anchor []byte) {
	r, text := st.scanner.rules[i], st.buf.text
	for at := st.start; at < st.end; at++ {
		next := bytes.Index(text[at:st.end], anchor)
		if next < 0 {
			return
		}
		at += next
		if digitsBefore(text, at) < r.apart.digits || !r.followed(string(anchor), text, at, at+len(anchor)) {
			continue
		}
		st.widen(i, window{from: max(at-r.before, 0), to: min(at+len(anchor)+r.after, len(text))})
	}
}

// digitsBefore counts, up to what a rule may ask for.
func digitsBefore(text []byte, at int) (n int) {
	for n < 20 && n < at && text[at-n-1] >= '0' && text[at-n-1] <= '9' {
		n++
	}
	return n
}
