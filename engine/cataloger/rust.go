package cataloger

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"

	"github.com/pratique/pratique/engine/inventory"
)

// A Rust program that was built with cargo-auditable holds the list of its
// crates as JSON in zlib's format, in a section of its own. It is found by what
// it begins with, in every kind of program alike.
// https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md
const (
	rustStart    = `{"packages":[`
	rustPacked   = 1 << 20 // bytes of a packed list
	rustText     = 4 << 20 // bytes of all lists of a file; 1,000 crates take 150 kB
	rustOpening  = 3       // JSON tokens of what it begins with
	rustProbe    = 384     // bytes in which a packed list shows what it begins with
	rustMaxLists = 64      // in one file
	rustTries    = 512     // beginnings that are unpacked in any file; real ones have 200
	rustTryEvery = 1 << 10 // bytes of the file for which one more is
	zlibMethod   = 0x78    // first byte of zlib's format with a window of 32 KiB
)

// rustSearch finds the lists of crates in a program.
type rustSearch struct {
	out    *Result
	found  int
	tries  int   // that are left
	text   int64 // bytes of lists that were read
	many   bool
	reader io.ReadCloser // zlib, made at the first try
}

// search looks at one block of the program.
func (s *rustSearch) search(p *program, from, to int) {
	s.tries += (to - from) / rustTryEvery
	for i := from; i < to; i++ {
		k := bytes.IndexByte(p.buf[i:to], zlibMethod)
		if k < 0 {
			return
		}
		if i += k; !mayBePacked(p.buf[i:min(len(p.buf), i+2+deflateProbe)]) {
			continue
		}
		if s.tries == 0 || s.found == rustMaxLists {
			s.many = true
			return
		}
		if s.tries--; s.begins(p, i) {
			s.found++
			s.read(p, i)
		}
	}
}

// finish says what was not read.
func (s *rustSearch) finish() {
	if s.many {
		s.out.gap(inventory.Partial, "rust-crates-many", "the file holds more that looks like a list of Rust crates than is read")
	}
}

// unpack starts to unpack what stands at an offset.
func (s *rustSearch) unpack(p *program, at, limit int) bool {
	in := &tail{p: p, at: at, left: limit}
	if s.reader == nil {
		r, err := zlib.NewReader(in)
		s.reader = r
		return err == nil
	}
	again, ok := s.reader.(zlib.Resetter)
	return ok && again.Reset(in, nil) == nil
}

// begins reports whether a list of crates is packed at an offset.
func (s *rustSearch) begins(p *program, at int) bool {
	var start [len(rustStart)]byte
	if !s.unpack(p, at, rustProbe) {
		return false
	}
	_, err := io.ReadFull(s.reader, start[:])
	return err == nil && string(start[:]) == rustStart
}

// crate is one entry of the list.
type crate struct {
	Name, Version, Kind string
}

// read lists the crates that are in the program. Those that only built it are
// left out.
func (s *rustSearch) read(p *program, at int) {
	if !s.unpack(p, at, rustPacked) {
		return
	}
	raw, _ := io.ReadAll(io.LimitReader(s.reader, rustText-s.text)) // of one that is damaged, what there is
	s.text += int64(len(raw))
	dec := json.NewDecoder(bytes.NewReader(raw))
	for range rustOpening {
		if _, err := dec.Token(); err != nil {
			s.cut()
			return
		}
	}
	for dec.More() {
		var c crate
		if dec.Decode(&c) != nil {
			s.cut()
			return
		}
		if c.Name == "" || c.Version == "" || c.Kind == "build" || c.Kind == "dev" {
			continue
		}
		if !s.out.add(inventory.Package{Type: inventory.TypeCargo, Name: c.Name, Version: c.Version}) {
			return
		}
	}
	if end, err := dec.Token(); err != nil || end != json.Delim(']') {
		s.cut()
	}
}

func (s *rustSearch) cut() {
	s.out.gap(inventory.Partial, "rust-crates", "the list of crates of a Rust program could not be read to its end")
}
