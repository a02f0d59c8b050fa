package rpmdb

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// SQLite keeps a table as a tree of pages, each used once: interior pages lead
// to others, leaf pages hold rows, and what has no room there goes on in a
// chain of overflow pages. https://www.sqlite.org/fileformat2.html
const (
	sqliteMagic    = "SQLite format 3\x00"
	sqliteHeader   = 100 // bytes, at the beginning of page 1
	sqliteInterior = 5   // types of a page of a table
	sqliteLeaf     = 13
	sqliteMaxDepth = 20 // SQLite's own limit

	sqliteSchemaRoot = 1
	sqlitePackages   = "packages" // names of tables have no case
	sqliteBlobColumn = 1          // of CREATE TABLE Packages(hnum, blob)
)

// sqlite walks the trees of one database.
type sqlite struct {
	*pager
	out      *collector
	levels   [sqliteMaxDepth][]byte // a page for each level of a tree
	overflow []byte
	payload  []byte
}

func readSQLite(db File, wal *File, out *collector) error {
	p, err := openPager(db, wal, out)
	if err != nil {
		return err
	}
	s := sqlite{pager: p, out: out, overflow: make([]byte, p.pageSize)}
	root := int64(0)
	err = s.walk(sqliteSchemaRoot, 0, func(row []byte) error {
		r, err := packagesRoot(row)
		if r != 0 {
			root = r
		}
		return out.survive(err)
	})
	if err != nil {
		return err
	}
	if root == 0 {
		if out.first != nil {
			return fmt.Errorf("find table Packages: %w", out.first)
		}
		return damagef("no table Packages")
	}
	return s.walk(root, 0, func(row []byte) error {
		kind, blob, err := column(row, sqliteBlobColumn)
		if err == nil && kind < 12 {
			err = damagef("a row's header is no blob")
		}
		if err != nil {
			return out.survive(err)
		}
		return out.add(blob)
	})
}

// packagesRoot gives the first page of the table Packages if this row of the
// schema is about it, else 0.
func packagesRoot(row []byte) (int64, error) {
	var values [4][]byte
	var kinds [4]uint64
	for i := range values {
		var err error
		if kinds[i], values[i], err = column(row, i); err != nil {
			return 0, fmt.Errorf("schema: %w", err)
		}
	}
	if string(values[0]) != "table" || !strings.EqualFold(string(values[1]), sqlitePackages) {
		return 0, nil
	}
	root, ok := integer(kinds[3], values[3])
	if !ok || root < 2 {
		return 0, damagef("schema: table Packages begins at page %d", root)
	}
	return root, nil
}

// walk hands the rows of the tree under page n to row, in order. Damage costs
// what lies below it; an error ends the walk.
func (s *sqlite) walk(n int64, depth int, row func([]byte) error) error {
	t, err := s.tree(n, depth)
	if err != nil {
		return s.out.survive(err)
	}
	if t.leaf {
		return s.rows(t, n, row)
	}
	for i := range t.cells {
		if err := s.child(t.cell(i), n, depth, row); err != nil {
			return err
		}
	}
	return s.child(t.data[t.start+8:], n, depth, row) // the rightmost
}

// rows hands the rows of leaf page n to row. Together they have room on a page,
// or else they lie in one another and would be read far more often than they
// are there.
func (s *sqlite) rows(t treePage, n int64, row func([]byte) error) error {
	room := s.usable
	for i := range t.cells {
		payload, used, err := s.row(t.cell(i))
		s.payload = payload
		if room -= used; room < 0 {
			return s.out.survive(damagef("rows of page %d lie in one another", n))
		}
		if err == nil {
			err = row(payload)
		} else {
			err = s.out.survive(fmt.Errorf("row %d of page %d: %w", i, n, err))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// child walks the tree under the page whose number the cell begins with.
func (s *sqlite) child(cell []byte, parent int64, depth int, row func([]byte) error) error {
	if len(cell) < 4 {
		return s.out.survive(damagef("page %d has a cell outside of it", parent))
	}
	return s.walk(int64(binary.BigEndian.Uint32(cell)), depth+1, row)
}

// treePage is a page of a table's tree. Its data go as far as SQLite uses them.
type treePage struct {
	data  []byte
	start int // where the header of the page begins; on page 1 the file's comes first
	leaf  bool
	cells int
}

// tree reads page n for a level of the tree.
func (s *sqlite) tree(n int64, depth int) (t treePage, err error) {
	if depth >= sqliteMaxDepth {
		return t, damagef("page %d lies too deep", n)
	}
	if s.levels[depth] == nil {
		s.levels[depth] = make([]byte, s.pageSize)
	}
	if err := s.page(n, s.levels[depth]); err != nil {
		return t, err
	}
	t.data = s.levels[depth][:s.usable]
	if n == sqliteSchemaRoot {
		t.start = sqliteHeader
	}
	kind := t.data[t.start]
	t.leaf = kind == sqliteLeaf
	t.cells = int(binary.BigEndian.Uint16(t.data[t.start+3:]))
	if kind != sqliteLeaf && kind != sqliteInterior || t.pointers()+2*t.cells > len(t.data) {
		return t, damagef("page %d is of type %d with %d cells", n, kind, t.cells)
	}
	return t, nil
}

// pointers is where the cells' places are.
func (t treePage) pointers() int {
	if t.leaf {
		return t.start + 8
	}
	return t.start + 12
}

// cell gives what lies from cell i to the end of the page; nothing when its
// place is outside of where cells may be.
func (t treePage) cell(i int) []byte {
	at := int(binary.BigEndian.Uint16(t.data[t.pointers()+2*i:]))
	if at < t.pointers()+2*t.cells || at > len(t.data) {
		return nil
	}
	return t.data[at:]
}

// row reads the content of a cell of a leaf page, and says how many bytes of
// the page it takes.
func (s *sqlite) row(cell []byte) (payload []byte, used int, err error) {
	payload = s.payload[:0]
	size, n := varint(cell)
	_, m := varint(cell[n:]) // the row's number
	if n == 0 || m == 0 {
		return payload, 0, damagef("outside of the page")
	}
	if size > uint64(s.out.limits.Blob) || size > uint64(s.pages)*uint64(s.pageSize) {
		return payload, 0, damagef("%d bytes", size)
	}
	cell, total := cell[n+m:], int(size)
	local := s.local(total)
	if local > len(cell) || local < total && local+4 > len(cell) {
		return payload, 0, damagef("outside of the page")
	}
	payload = append(slices.Grow(payload, total), cell[:local]...)
	if local == total {
		return payload, n + m + local, nil
	}
	used = n + m + local + 4
	next := int64(binary.BigEndian.Uint32(cell[local:]))
	for len(payload) < total {
		if err := s.page(next, s.overflow); err != nil {
			return payload, used, err
		}
		next = int64(binary.BigEndian.Uint32(s.overflow))
		payload = append(payload, s.overflow[4:min(s.usable, 4+total-len(payload))]...)
	}
	return payload, used, nil
}

// local says how many bytes of a row of the size lie on the leaf page itself:
// "B-tree Cell Format" of the file format.
func (s *sqlite) local(size int) int {
	most := s.usable - 35
	if size <= most {
		return size
	}
	least := (s.usable-12)*32/255 - 23
	if k := least + (size-least)%(s.usable-4); k <= most {
		return k
	}
	return least
}
