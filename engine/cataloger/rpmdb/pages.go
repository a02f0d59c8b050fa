package rpmdb

import (
	"errors"
	"fmt"
	"io"
)

// readFull fills b from the offset. The caller has compared with the size; a
// file that ends sooner is an error of the reader.
func readFull(r io.ReaderAt, offset int64, b []byte) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%d bytes at %d: %w", len(b), offset, err)
}

// pageSet holds the pages that were used. In a sound database everything has
// one place, so whoever takes a page twice is in a circle or in another's
// pages. That bounds the work by the size of the file.
type pageSet struct {
	bits  []uint64
	pages int64
}

func newPageSet(pages int64) pageSet {
	return pageSet{bits: make([]uint64, (pages+63)/64), pages: pages}
}

// take reports whether page n, counted from 0, exists and was not taken before.
func (s pageSet) take(n int64) bool {
	if n < 0 || n >= s.pages || s.bits[n/64]&(1<<(n%64)) != 0 {
		return false
	}
	s.bits[n/64] |= 1 << (n % 64)
	return true
}
