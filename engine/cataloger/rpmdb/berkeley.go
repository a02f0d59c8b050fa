package rpmdb

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// A Berkeley DB file is pages of one size in the byte order of the machine that
// wrote it. Page 0 says what it is; rpm's Packages is a hash table, whose pages
// hold keys and values in turn. The key is the number of the package, 4 bytes;
// a header lies beside it or, as nearly all do, in a chain of overflow pages.
// dbinc/db_page.h of Berkeley DB 4.2 to 5.3.
const (
	berkeleyMetaMagic   = 12 // offsets in page 0
	berkeleyMetaVersion = 16
	berkeleyMetaSize    = 20
	berkeleyMetaCrypt   = 24
	berkeleyMetaFlags   = 26
	berkeleyMetaLast    = 32
	berkeleyMetaLength  = 72

	berkeleyHashMagic  = 0x061561
	berkeleyOldest     = 8 // versions of the hash format
	berkeleyNewest     = 9
	berkeleyCheckSums  = 1 // flag: pages have longer headers, which rpm never asks for
	berkeleyPageNumber = 8 // offsets in the header of a page
	berkeleyPageNext   = 16
	berkeleyPageCount  = 20 // of items; bytes of an overflow page
	berkeleyPageFree   = 22
	berkeleyPageType   = 25
	berkeleyPageHeader = 26

	berkeleyPageUnused   = 0
	berkeleyPageHash     = 2 // unsorted
	berkeleyPageOverflow = 7
	berkeleyPageSorted   = 13

	berkeleyItemInline  = 1
	berkeleyItemOffPage = 3
	berkeleyOffPageSize = 12 // type, 3 unused, first page, length
)

// berkeley reads one file. Every page is looked at once for hash pages, in the
// order of the file, which finds what walking the buckets would.
type berkeley struct {
	db    File
	out   *collector
	order binary.ByteOrder
	pages int64
	used  pageSet // overflow pages
	page  []byte  // the hash page
	over  []byte  // the overflow page
	blob  []byte
}

// berkeleyOrder gives the byte order of a hash file, or nil.
func berkeleyOrder(head []byte) binary.ByteOrder {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if order.Uint32(head[berkeleyMetaMagic:]) == berkeleyHashMagic {
			return order
		}
	}
	return nil
}

func readBerkeley(db File, out *collector) error {
	b := berkeley{db: db, out: out}
	if err := b.open(); err != nil {
		return err
	}
	for n := int64(1); n < b.pages; n++ {
		if err := b.readPage(n); err != nil {
			return err
		}
	}
	return nil
}

// open reads page 0.
func (b *berkeley) open() error {
	meta := make([]byte, berkeleyMetaLength)
	if b.db.Size < berkeleyMetaLength {
		return damagef("%d bytes", b.db.Size)
	}
	if err := readFull(b.db, 0, meta); err != nil {
		return err
	}
	b.order = berkeleyOrder(meta)
	version, size := b.order.Uint32(meta[berkeleyMetaVersion:]), int64(b.order.Uint32(meta[berkeleyMetaSize:]))
	switch {
	case version < berkeleyOldest || version > berkeleyNewest:
		return damagef("version %d of the hash format", version)
	case size < 512 || size > 64<<10 || size&(size-1) != 0:
		return damagef("pages of %d bytes", size)
	case meta[berkeleyMetaCrypt] != 0 || meta[berkeleyMetaFlags]&berkeleyCheckSums != 0:
		return damagef("encryption or check sums of pages")
	}
	b.pages = min(b.db.Size/size, math.MaxUint32)
	last := int64(b.order.Uint32(meta[berkeleyMetaLast:]))
	if last >= b.pages || b.db.Size%size != 0 {
		if err := b.out.survive(damagef("%d pages of %d bytes in a file of %d bytes", last+1, size, b.db.Size)); err != nil {
			return err
		}
	}
	b.used = newPageSet(b.pages)
	b.page, b.over = make([]byte, size), make([]byte, size)
	return nil
}

// readPage hands out the packages of a page, if it is one of the hash table.
func (b *berkeley) readPage(n int64) error {
	if err := b.load(n, b.page[:berkeleyPageHeader]); err != nil {
		return err
	}
	switch kind := b.page[berkeleyPageType]; kind {
	case berkeleyPageHash, berkeleyPageSorted:
	case berkeleyPageUnused, berkeleyPageOverflow:
		return nil
	default:
		return b.out.survive(damagef("page %d is of type %d", n, kind))
	}
	if err := b.load(n, b.page); err != nil {
		return err
	}
	items := int(b.order.Uint16(b.page[berkeleyPageCount:]))
	if int64(b.order.Uint32(b.page[berkeleyPageNumber:])) != n || items%2 != 0 || berkeleyPageHeader+2*items > len(b.page) {
		return b.out.survive(damagef("hash page %d has %d items or another's number", n, items))
	}
	for i := 0; i < items; i += 2 {
		blob, err := b.pair(i)
		if err != nil {
			err = b.out.survive(fmt.Errorf("hash page %d: %w", n, err))
		} else if blob != nil {
			err = b.out.add(blob)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *berkeley) load(n int64, into []byte) error {
	return readFull(b.db, n*int64(len(b.page)), into)
}

// pair reads the value of the key that is item i. Key 0 has no package: there
// rpm keeps the next free number.
func (b *berkeley) pair(i int) ([]byte, error) {
	key, err := b.item(i)
	if err != nil {
		return nil, err
	}
	value, err := b.item(i + 1)
	if err != nil {
		return nil, err
	}
	if key[0] != berkeleyItemInline || len(key) != 5 {
		return nil, damagef("key %d is of type %d and has %d bytes", i, key[0], len(key)-1)
	}
	if b.order.Uint32(key[1:]) == 0 {
		return nil, nil
	}
	switch {
	case value[0] == berkeleyItemInline:
		return value[1:], nil
	case value[0] == berkeleyItemOffPage && len(value) == berkeleyOffPageSize:
		return b.chain(int64(b.order.Uint32(value[4:])), int64(b.order.Uint32(value[8:])))
	}
	return nil, damagef("value %d is of type %d and has %d bytes", i+1, value[0], len(value)-1)
}

// item gives item i of the hash page, its type first. Items lie from the end of
// the page down, each up to where the one before it begins.
func (b *berkeley) item(i int) ([]byte, error) {
	offset := func(i int) int { return int(b.order.Uint16(b.page[berkeleyPageHeader+2*i:])) }
	end, free := len(b.page), berkeleyPageHeader+2*int(b.order.Uint16(b.page[berkeleyPageCount:]))
	if i > 0 {
		end = offset(i - 1)
	}
	start := offset(i)
	if start < free || start >= end || end > len(b.page) {
		return nil, damagef("item %d lies from %d to %d", i, start, end)
	}
	return b.page[start:end], nil
}

// chain reads a value of size bytes that begins on page n and goes on in the
// pages behind it.
func (b *berkeley) chain(n, size int64) ([]byte, error) {
	if size > int64(b.out.limits.Blob) || size > b.db.Size {
		return nil, damagef("a header of %d bytes", size)
	}
	b.blob = slices.Grow(b.blob[:0], int(size)+len(b.over)) // the last page may turn out to have more
	for int64(len(b.blob)) < size {
		if !b.used.take(n) {
			return nil, damagef("overflow page %d is not there or has another's data", n)
		}
		if err := b.load(n, b.over); err != nil {
			return nil, err
		}
		length := int(b.order.Uint16(b.over[berkeleyPageFree:]))
		if b.over[berkeleyPageType] != berkeleyPageOverflow || int64(b.order.Uint32(b.over[berkeleyPageNumber:])) != n ||
			length == 0 || berkeleyPageHeader+length > len(b.over) {
			return nil, damagef("overflow page %d has type %d and %d bytes", n, b.over[berkeleyPageType], length)
		}
		b.blob = append(b.blob, b.over[berkeleyPageHeader:][:length]...)
		n = int64(b.order.Uint32(b.over[berkeleyPageNext:]))
	}
	if int64(len(b.blob)) != size {
		return nil, damagef("a header of %d bytes in pages with %d", size, len(b.blob))
	}
	return b.blob, nil
}
