package rpmdb

import (
	"encoding/binary"
	"fmt"
	"hash/adler32"
)

// ndb's file begins with pages of slots, each of which leads to one header by
// its place in blocks. All numbers are little-endian. The first two slots' room
// is the file's own header. lib/backend/ndb/rpmpkg.c of rpm.
const (
	ndbMagic     = "RpmP"
	ndbVersion   = 4  // offsets in the file's header
	ndbSlotPages = 12 // pages of slots
	ndbHeader    = 32
	ndbPage      = 4096

	ndbSlot      = 16 // bytes: magic, package number, first block, count of blocks
	ndbSlotMagic = "Slot"
	ndbBlock     = 16

	ndbHead      = 16 // bytes before a header: magic, package number, time, length
	ndbHeadMagic = "BlbS"
	ndbTail      = 12 // bytes at the end of its blocks: Adler-32 of all before, length, magic
	ndbTailMagic = "BlbE"
)

// ndb reads one file.
type ndb struct {
	db   File
	out  *collector
	read int64 // bytes of headers read; more than the file has is a trick
	blob []byte
}

func readNDB(db File, out *collector) error {
	head := make([]byte, ndbHeader)
	if db.Size < ndbHeader {
		return damagef("%d bytes", db.Size)
	}
	if err := readFull(db, 0, head); err != nil {
		return err
	}
	version, pages := binary.LittleEndian.Uint32(head[ndbVersion:]), int64(binary.LittleEndian.Uint32(head[ndbSlotPages:]))
	if version != 0 || pages == 0 || pages*ndbPage > db.Size {
		return damagef("version %d with %d pages of slots in %d bytes", version, pages, db.Size)
	}
	n := ndb{db: db, out: out}
	page := make([]byte, ndbPage)
	for i := range pages {
		if err := readFull(db, i*ndbPage, page); err != nil {
			return err
		}
		slots := page
		if i == 0 {
			slots = page[ndbHeader:]
		}
		for ; len(slots) > 0; slots = slots[ndbSlot:] {
			if err := n.slot(slots[:ndbSlot]); err != nil {
				return err
			}
		}
	}
	return nil
}

// slot hands out the package that a slot leads to.
func (n *ndb) slot(slot []byte) error {
	number, first, blocks := binary.LittleEndian.Uint32(slot[4:]), binary.LittleEndian.Uint32(slot[8:]), binary.LittleEndian.Uint32(slot[12:])
	if string(slot[:4]) != ndbSlotMagic {
		return n.out.survive(damagef("a slot without its magic"))
	}
	if first == 0 {
		return nil // free
	}
	start, size := ndbBlock*int64(first), ndbBlock*int64(blocks)
	if start+size > n.db.Size || size < ndbHead+ndbTail || size-ndbHead-ndbTail > int64(n.out.limits.Blob) {
		return n.out.survive(damagef("package %d has %d blocks at %d", number, blocks, first))
	}
	if n.read += size; n.read > n.db.Size {
		return damagef("slots lead to more bytes than the file has")
	}
	if int64(cap(n.blob)) < size {
		n.blob = make([]byte, size)
	}
	blob := n.blob[:size]
	if err := readFull(n.db, start, blob); err != nil {
		return err
	}
	header, err := ndbUnwrap(blob, number)
	if err != nil {
		return n.out.survive(fmt.Errorf("package %d: %w", number, err))
	}
	return n.out.add(header)
}

// ndbUnwrap checks what stands before and behind a header.
func ndbUnwrap(blob []byte, number uint32) ([]byte, error) {
	head, tail := blob[:ndbHead], blob[len(blob)-ndbTail:]
	length := binary.LittleEndian.Uint32(head[12:])
	if string(head[:4]) != ndbHeadMagic || binary.LittleEndian.Uint32(head[4:]) != number {
		return nil, damagef("its blocks begin as no package or as another")
	}
	unused := int64(len(blob)) - ndbHead - int64(length) - ndbTail
	if string(tail[8:]) != ndbTailMagic || binary.LittleEndian.Uint32(tail[4:]) != length || unused < 0 || unused >= ndbBlock {
		return nil, damagef("%d bytes in blocks of %d, or no end", length, len(blob))
	}
	if sum := adler32.Checksum(blob[:len(blob)-ndbTail]); binary.LittleEndian.Uint32(tail) != sum {
		return nil, damagef("its check sum is wrong")
	}
	return blob[ndbHead:][:length], nil
}
