package rpmdb_test

import (
	"encoding/binary"
	"testing"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
)

// readAny reads what a fuzzer made: it must end, and a package that is handed
// out has its name and version.
func readAny(t *testing.T, db, wal []byte) {
	_, packages, _, _ := read(db, wal)
	for _, p := range packages {
		if p.Name == "" || p.Version == "" || p.Release == "" {
			t.Errorf("package %q %q %q", p.Name, p.Version, p.Release)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(smallHeader("a", 10))
	f.Add(makeHeader(str(1000, "a"), str(1001, "1"), str(1002, "2"), numbers(1003, int32s, 1), numbers(5009, int64s, 5),
		list(1117, "a", "b"), list(1118, "/"), numbers(1116, int32s, 0, 0), list(1035, "aa", ""), numbers(1030, int16s, 1, 2), numbers(1037, int32s, 1, 2)))
	f.Add(makeHeader(str(1000, "a"), str(1001, "1"), str(1002, "2"), list(1027, "/a", "/b")))
	f.Fuzz(func(t *testing.T, blob []byte) {
		p, err := rpmdb.ParseHeader(blob, rpmdb.DefaultLimits)
		if err != nil {
			return
		}
		files := 0
		_ = p.Files(func(path string, _ uint32, _ uint16, digest string) bool {
			files++
			return len(path) <= 4096 && len(digest) <= len(blob)
		})
		if files > len(blob) {
			t.Errorf("%d files in %d bytes", files, len(blob))
		}
	})
}

func FuzzBerkeley(f *testing.F) {
	f.Add(makeBerkeley(binary.LittleEndian, 512, smallHeader("a", 1100), smallHeader("b", 0)))
	f.Add(makeBerkeley(binary.BigEndian, 512, smallHeader("a", 1100), smallHeader("b", 0)))
	f.Fuzz(func(t *testing.T, db []byte) {
		if len(db) >= 16 {
			binary.LittleEndian.PutUint32(db[12:], 0x061561)
		}
		readAny(t, db, nil)
		if len(db) >= 16 {
			binary.BigEndian.PutUint32(db[12:], 0x061561)
		}
		readAny(t, db, nil)
	})
}

func FuzzNDB(f *testing.F) {
	f.Add(makeNDB(smallHeader("a", 0), smallHeader("b", 100)))
	f.Add(unzip(f, "sle15-two.Packages.db.gz"))
	f.Fuzz(func(t *testing.T, db []byte) { readAny(t, db, nil) })
}

// FuzzSQLite puts the check sums of the log right, which no fuzzer would.
func FuzzSQLite(f *testing.F) {
	d := logged(f)
	db, wal := d.files()
	f.Add(db, wal)
	f.Add(db, []byte{})
	for i := range 30 {
		d.insert("more", 10*i)
	}
	_, wal = d.files()
	f.Add(db, wal)
	d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	db, _ = d.files()
	f.Add(db, []byte{})
	f.Fuzz(func(t *testing.T, db, wal []byte) {
		readAny(t, db, wal)
		if len(wal) > 32 {
			readAny(t, db, bigEndianSums(wal))
		}
	})
}
