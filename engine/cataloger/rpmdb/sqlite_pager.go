package rpmdb

import (
	"encoding/binary"
	"fmt"
)

// pager gives the pages of a database as its last whole transaction left them:
// from the write-ahead log where that has the page, else from the file.
type pager struct {
	db       File
	wal      wal
	pageSize int
	usable   int   // bytes of a page that SQLite uses
	pages    int64 // of the database
	used     pageSet
}

// openPager reads the headers of the file and of its log.
func openPager(db File, log *File, out *collector) (*pager, error) {
	head := make([]byte, sqliteHeader)
	if db.Size < sqliteHeader {
		return nil, damagef("%d bytes", db.Size)
	}
	if err := readFull(db, 0, head); err != nil {
		return nil, err
	}
	size, err := sqlitePageSize(head)
	if err != nil {
		return nil, err
	}
	p := &pager{db: db, pageSize: size}
	if log != nil && log.Size > 0 {
		if p.wal, err = openWAL(*log, size); err != nil {
			return nil, fmt.Errorf("write-ahead log: %w", err)
		}
	}
	if at, ok := p.wal.find(sqliteSchemaRoot); ok {
		if err := readFull(p.wal.log, at, head); err != nil {
			return nil, err
		}
	}
	if again, err := sqlitePageSize(head); err != nil || again != size {
		return nil, damagef("the write-ahead log is not this database's")
	}
	if head[19] > 2 {
		return nil, damagef("version %d of the file format", head[19])
	}
	p.usable = size - int(head[20])
	if p.usable < 480 || head[21] != 64 || head[22] != 32 || head[23] != 32 {
		return nil, damagef("%d usable bytes of %d, payload fractions %d, %d, %d", p.usable, size, head[21], head[22], head[23])
	}
	return p, p.count(head, out)
}

// sqlitePageSize reads the size of pages from the header of the file.
func sqlitePageSize(head []byte) (int, error) {
	size := int(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 64 << 10
	}
	if string(head[:len(sqliteMagic)]) != sqliteMagic || size < 512 || size&(size-1) != 0 {
		return 0, damagef("no header, or pages of %d bytes", size)
	}
	return size, nil
}

// count learns how many pages there are: from the last transaction in the log,
// else from the header if that is of the last transaction in the file, else
// from the size of the file.
func (p *pager) count(head []byte, out *collector) error {
	inFile := (p.db.Size + int64(p.pageSize) - 1) / int64(p.pageSize)
	p.pages = inFile
	claimed := int64(binary.BigEndian.Uint32(head[28:]))
	if binary.BigEndian.Uint32(head[24:]) != binary.BigEndian.Uint32(head[92:]) {
		claimed = 0
	}
	if p.wal.pages > 0 {
		claimed = p.wal.pages
	}
	if claimed > 0 {
		p.pages = min(claimed, inFile+int64(len(p.wal.frames)))
	}
	p.used = newPageSet(p.pages + 1)
	if claimed > p.pages {
		return out.survive(damagef("%d of %d pages are there", p.pages, claimed))
	}
	return nil
}

// page reads page n, which is used here and nowhere else.
func (p *pager) page(n int64, into []byte) error {
	if n < 1 || !p.used.take(n) {
		return damagef("page %d is not there or has another use", n)
	}
	if at, ok := p.wal.find(n); ok {
		return readFull(p.wal.log, at, into)
	}
	at := (n - 1) * int64(p.pageSize)
	if at+int64(p.pageSize) > p.db.Size {
		return damagef("page %d is not there", n)
	}
	return readFull(p.db, at, into)
}
