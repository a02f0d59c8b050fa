package cataloger

import (
	"cmp"
	"encoding/binary"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// Sizes of the window on a program, in bytes.
const (
	programBlock  = 128 << 10 // searched at a time
	programAhead  = 4 << 10   // what a search may look at behind the block without asking
	programBehind = 256       // what it may look at before the block
)

// isProgram: ELF, PE and Mach-O, fat ones too (but no Java class, which begins
// with the same number as a fat Mach-O and then has a version from 45 up).
func isProgram(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch string(head[:4]) {
	case "\x7fELF", "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe":
		return true
	case "\xca\xfe\xba\xbe", "\xca\xfe\xba\xbf":
		return binary.BigEndian.Uint32(head[4:]) < 40
	}
	return head[0] == 'M' && head[1] == 'Z'
}

// readProgram reads a program once, in memory that does not grow with it, and
// searches it for what compilers and authors leave there: Go's build
// information, Rust's list of crates, and for programs that are known by name
// their version's text.
func readProgram(r io.Reader, out *Result) {
	p := &program{r: r}
	goSearch, rust, texts := goSearch{out: out}, rustSearch{out: out, tries: rustTries}, textsFor(path.Base(out.Path))
	for !p.ended() {
		from, to := p.block()
		goSearch.search(p, from, to)
		rust.search(p, from, to)
		texts.search(p, from, to)
		p.at = to
	}
	goSearch.finish()
	rust.finish()
	texts.finish(out)
	out.close("program-packages")
	slices.SortFunc(out.Packages, func(a, b inventory.Package) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Name+"@"+a.Version, b.Name+"@"+b.Version))
	})
	out.Packages = slices.Compact(out.Packages)
}

// program is a window on the stream of a program.
type program struct {
	r    io.Reader
	buf  []byte // what was read and not yet dropped; begins at a multiple of goAlign
	at   int    // where in buf the part begins that was not searched yet
	done bool   // the program ends where buf ends
}

// ended reports whether all was searched.
func (p *program) ended() bool {
	p.need(p.at, 1)
	return p.at == len(p.buf)
}

// block gives the part of buf that is to be searched next. Behind it stand
// programAhead more bytes, or the program ends.
func (p *program) block() (from, to int) {
	if drop := (p.at - programBehind) &^ (goAlign - 1); drop > len(p.buf)/2 {
		p.buf = append(p.buf[:0], p.buf[drop:]...)
		p.at -= drop
	}
	p.need(p.at, programBlock+programAhead)
	if to = p.at + programBlock; to+programAhead > len(p.buf) {
		to = len(p.buf)
	}
	return p.at, to
}

// need reads on until buf holds n bytes from an offset of it, or the program
// ends; false when it ends before. It may move buf, but not what is in it.
func (p *program) need(at, n int) bool {
	for len(p.buf)-at < n && !p.done {
		if cap(p.buf)-len(p.buf) < programBlock/8 {
			p.buf = slices.Grow(p.buf, max(programBlock, min(n, len(p.buf))))
		}
		k, err := p.r.Read(p.buf[len(p.buf):cap(p.buf)])
		p.buf = p.buf[:len(p.buf)+k]
		p.done = err != nil
	}
	return len(p.buf)-at >= n
}

// tail is what follows an offset of a program's window, read as it is asked
// for, up to a limit.
type tail struct {
	p    *program
	at   int
	left int
}

// Read gives what the window has or can still read.
func (t *tail) Read(b []byte) (int, error) {
	n := min(len(b), t.left)
	if n == 0 || !t.p.need(t.at, 1) {
		return 0, io.EOF
	}
	t.p.need(t.at, min(n, 512))
	n = copy(b[:n], t.p.buf[t.at:])
	t.at += n
	t.left -= n
	return n, nil
}

// ReadByte keeps compress/flate from reading ahead.
func (t *tail) ReadByte() (byte, error) {
	if t.left == 0 || !t.p.need(t.at, 1) {
		return 0, io.EOF
	}
	t.at++
	t.left--
	return t.p.buf[t.at-1], nil
}
