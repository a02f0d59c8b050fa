package rpmdb_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
)

// damaged is a database with one thing wrong: what is read nevertheless, how
// many parts are not, and what is said. No parts: nothing can be said of the
// rest.
type damaged struct {
	name   string
	change func(db []byte) []byte
	want   []string
	parts  int
	err    string
}

func (d damaged) check(t *testing.T, db []byte) {
	t.Helper()
	t.Run(d.name, func(t *testing.T) {
		start := time.Now()
		_, packages, _, err := read(d.change(slices.Clone(db)), nil)
		var partial *rpmdb.PartialError
		parts := 0
		if errors.As(err, &partial) {
			parts = partial.Damaged
		}
		if err == nil || !strings.Contains(err.Error(), d.err) || parts != d.parts {
			t.Errorf("%d parts, %v", parts, err)
		}
		if got := names(packages); !slices.Equal(got, d.want) {
			t.Errorf("%v, want %v", got, d.want)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// set changes the bytes at a place.
func set(at int, b ...byte) func([]byte) []byte {
	return func(db []byte) []byte {
		copy(db[at:], b)
		return db
	}
}

// TestDamagedBerkeley: pages of 512 bytes: 1 has key 0, 2 the package "a" in 3
// to 5, 6 "b" in 7 to 9, and 10 has "c" inline.
func TestDamagedBerkeley(t *testing.T) {
	db := makeBerkeley(binary.LittleEndian, 512, smallHeader("a", 1100), smallHeader("b", 1100), smallHeader("c", 0))
	page := func(n int) int { return 512 * n }
	item := func(n, i int) int { return page(n) + int(binary.LittleEndian.Uint16(db[page(n)+26+2*i:])) }
	for _, test := range []damaged{
		{"old version", set(16, 7), nil, 0, "version 7"},
		{"new version", set(16, 10), nil, 0, "version 10"},
		{"page size", set(20, 1, 2), nil, 0, "pages of 513"},
		{"page size 0", set(20, 0, 0), nil, 0, "pages of 0"},
		{"encrypted", set(24, 1), nil, 0, "encryption"},
		{"check sums", set(26, 1), nil, 0, "check sums"},
		{"more pages claimed", set(32, 99), []string{"a", "b", "c"}, 1, "100 pages"},
		{"cut off", func(db []byte) []byte { return db[:page(8)+100] }, []string{"a"}, 2, "11 pages"},
		{"chain in a circle", set(page(4)+16, 3), []string{"b", "c"}, 1, "overflow page 3"},
		{"chain into another's", set(page(4)+16, 8), []string{"c"}, 2, "bytes in pages with"},
		{"chain out of the file", set(page(4)+16, 255, 255, 255, 255), []string{"b", "c"}, 1, "overflow page 4294967295"},
		{"chain with an empty page", set(page(4)+22, 0, 0), []string{"b", "c"}, 1, "0 bytes"},
		{"chain with an overfull page", set(page(4)+22, 255, 255), []string{"b", "c"}, 1, "65535 bytes"},
		{"chain into a hash page", set(page(4)+16, 10), []string{"b", "c"}, 1, "type 13"},
		{"length of 4 GiB", set(item(2, 1)+8, 255, 255, 255, 255), []string{"b", "c"}, 1, "a header of 4294967295 bytes"},
		{"shorter length", set(item(2, 1)+8, 1, 0), []string{"b", "c"}, 1, "a header of 1 bytes"},
		{"duplicates", set(item(2, 1), 4), []string{"b", "c"}, 1, "of type 4"},
		{"key elsewhere", set(item(2, 0), 3), []string{"b", "c"}, 1, "key 0"},
		{"odd items", set(page(2)+20, 3), []string{"b", "c"}, 1, "3 items"},
		{"too many items", set(page(2)+20, 0, 255), []string{"b", "c"}, 1, "65280 items"},
		{"unknown page", set(page(2)+25, 5), []string{"b", "c"}, 1, "page 2 is of type 5"},
		{"another's number", set(page(2)+8, 9), []string{"b", "c"}, 1, "hash page 2"},
		{"item in the index", set(page(2)+26, 4, 0), []string{"b", "c"}, 1, "item 0"},
		{"item behind the page", set(page(2)+26, 0, 255), []string{"b", "c"}, 1, "item 0"},
		{"value behind its key", set(page(2)+28, 255, 1), []string{"b", "c"}, 1, "item 1"},
		{"header", set(page(3)+26, 255), []string{"b", "c"}, 1, "claims"},
	} {
		test.check(t, db)
	}
}

func TestDamagedNDB(t *testing.T) {
	db := makeNDB(smallHeader("a", 1000), smallHeader("b", 1000))
	slot := func(n int) int { return 32 + 16*n }
	blob := func(n int) int { return 16 * int(binary.LittleEndian.Uint32(db[slot(n)+8:])) }
	for _, test := range []damaged{
		{"version", set(4, 1), nil, 0, "version 1"},
		{"no slots", set(12, 0), nil, 0, "0 pages"},
		{"more slots than file", set(12, 255, 255, 255, 255), nil, 0, "4294967295 pages"},
		{"slot without magic", set(slot(0), 'x'), []string{"b"}, 1, "magic"},
		{"slot out of the file", set(slot(0)+8, 255, 255, 255, 255), []string{"b"}, 1, "at 4294967295"},
		{"slot too small", set(slot(0)+12, 1, 0), []string{"b"}, 1, "1 blocks"},
		{"slot too long", set(slot(0)+12, 255, 255, 255, 255), []string{"b"}, 1, "4294967295 blocks"},
		{"another's blocks", set(slot(0)+4, 2), []string{"b"}, 1, "as another"},
		{"blocks without magic", set(blob(0), 'x'), []string{"b"}, 1, "begin as no package"},
		{"longer than its blocks", set(blob(0)+12, 255, 255, 255, 255), []string{"b"}, 1, "4294967295 bytes"},
		{"no end", set(blob(1)-1, 'x'), []string{"b"}, 1, "no end"},
		{"bit turned", set(blob(0)+30, 'x'), []string{"b"}, 1, "check sum"},
		{"cut off", func(db []byte) []byte { return db[:len(db)-1] }, []string{"a"}, 1, "package 2"},
	} {
		test.check(t, db)
	}
	damaged{"slots on one package", func(db []byte) []byte {
		for n := 1; n < 254; n++ {
			copy(db[slot(n):], db[slot(0):slot(1)])
		}
		return db
	}, []string{"a", "a", "a", "a", "a"}, 0, "more bytes than the file has"}.check(t, db)
}

// treeDatabase writes a database of 65536-byte pages: page 1 is the schema,
// page 2 the root of Packages, whose children, if it is no leaf, are given.
func treeDatabase(pages ...[]byte) []byte {
	schema := []byte("\x06\x17\x1d\x1d\x01\x0dtablePackagesPackages\x02") // types of five columns, and four values
	first := treePage(100, 13, 0, append([]byte{byte(len(schema)), 1}, schema...))
	copy(first, "SQLite format 3\x00\x00\x01\x01\x01\x00\x40\x20\x20")
	return slices.Concat(append([][]byte{first}, pages...)...)
}

// treePage writes a page with its header at start and cells from its end on.
func treePage(start int, kind byte, right uint32, cells ...[]byte) []byte {
	page := make([]byte, 65536)
	page[start] = kind
	binary.BigEndian.PutUint16(page[start+3:], uint16(len(cells)))
	pointers := start + 8
	if kind == 5 {
		binary.BigEndian.PutUint32(page[start+8:], right)
		pointers += 4
	}
	end := len(page)
	for i, cell := range cells {
		end -= len(cell)
		copy(page[end:], cell)
		binary.BigEndian.PutUint16(page[pointers+2*i:], uint16(end))
	}
	return page
}

// rowOf writes a cell of a leaf with a row that holds the blob on its page.
func rowOf(blob []byte) []byte {
	header := append([]byte{0, 0}, varint(uint64(12+2*len(blob)))...)
	header[0] = byte(len(header))
	return slices.Concat(varint(uint64(len(header)+len(blob))), []byte{1}, header, blob)
}

func varint(n uint64) []byte {
	b := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		b = append([]byte{byte(n) | 0x80}, b...)
	}
	return b
}

func child(page uint32) []byte { return append(binary.BigEndian.AppendUint32(nil, page), 1) }

func TestDamagedSQLite(t *testing.T) {
	a, b := rowOf(smallHeader("a", 100)), rowOf(smallHeader("b", 100))
	db := treeDatabase(treePage(0, 5, 4, child(3)), treePage(0, 13, 0, a), treePage(0, 13, 0, b))
	if _, packages, _, err := read(db, nil); err != nil || !slices.Equal(names(packages), []string{"a", "b"}) {
		t.Fatalf("%v, %v", names(packages), err)
	}
	page := func(n int) int { return 65536 * (n - 1) }
	for _, test := range []damaged{
		{"page size", set(16, 3, 0), nil, 0, "pages of 768"},
		{"format version", set(19, 3), nil, 0, "version 3"},
		{"fractions", set(21, 65), nil, 0, "fractions 65"},
		{"no table", set(page(2)-28+6, 'x'), nil, 0, "Packages"},
		{"root outside", set(page(2)-1, 9), nil, 1, "page 9"},
		{"schema no tree", set(100, 0), nil, 0, "type 0"},
		{"more pages claimed", set(28, 0, 0, 1, 0), []string{"a", "b"}, 1, "4 of 256 pages"},
		{"fewer pages claimed", set(28, 0, 0, 0, 3), []string{"a"}, 1, "page 4"},
		{"root an index", set(page(2), 2), nil, 1, "type 2"},
		{"child is the root", set(page(2)+8, 0, 0, 0, 2), []string{"a"}, 1, "page 2"},
		{"child twice", set(page(2)+8, 0, 0, 0, 3), []string{"a"}, 1, "page 3"},
		{"child 0", set(page(2)+8, 0, 0, 0, 0), []string{"a"}, 1, "page 0"},
		{"child outside", set(page(2)+8, 255, 255, 255, 255), []string{"a"}, 1, "page 4294967295"},
		{"too many cells", set(page(3)+3, 255, 255), []string{"b"}, 1, "65535 cells"},
		{"cell in the header", set(page(3)+8, 0, 3), []string{"b"}, 1, "outside of the page"},
		{"cell at the end", set(page(3)+8, 255, 255), []string{"b"}, 1, "outside of the page"},
		{"child's cell at the end", set(page(2)+12, 255, 255), []string{"b"}, 1, "outside of it"},
		{"huge row", set(page(4)-len(a), 255, 255, 255, 255, 255, 255, 255, 255, 255), []string{"b"}, 1, "18446744073709551615 bytes"},
		{"no blob", set(page(4)-len(a)+4, 3, 0, 4), []string{"b"}, 1, "blob"},
		{"cut off", func(db []byte) []byte { return db[:page(4)+5] }, []string{"a"}, 1, "page 4"},
	} {
		test.check(t, db)
	}
}

// TestSQLiteTricks are databases that would cost far more than their size.
func TestSQLiteTricks(t *testing.T) {
	asIs := func(db []byte) []byte { return db }
	var deep [][]byte
	for n := range 40 {
		deep = append(deep, treePage(0, 5, uint32(n+3)))
	}
	damaged{"deep", asIs, nil, 1, "too deep"}.check(t, treeDatabase(deep...))

	nothing := repeatCell(treePage(0, 13, 0, []byte{0, 1}), 30_000)
	pages := [][]byte{treePage(0, 5, 5, child(3), child(4)), nothing, nothing, nothing}
	damaged{"damage without end", asIs, nil, 0, "more than 65536 damaged"}.check(t, treeDatabase(pages...))

	leaf := repeatCell(treePage(0, 13, 0, rowOf(smallHeader("a", 20_000))), 20_000)
	damaged{"rows in one another", asIs, []string{"a", "a", "a"}, 1, "lie in one another"}.check(t, treeDatabase(leaf))

	leaf = repeatCell(treePage(0, 13, 0, slices.Concat(varint(100_000), []byte{1}, make([]byte, 40_000))), 10_000)
	damaged{"chains in one another", asIs, nil, 2, "page 0"}.check(t, treeDatabase(leaf))
}

// repeatCell makes a leaf page claim its first cell so many times.
func repeatCell(leaf []byte, times int) []byte {
	binary.BigEndian.PutUint16(leaf[3:], uint16(times))
	for i := range times {
		copy(leaf[8+2*i:], leaf[8:10])
	}
	return leaf
}
