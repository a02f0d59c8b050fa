package rpmdb_test

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
)

// rpm's own statement.
const createPackages = `CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)`

// database is a database that SQLite itself writes.
type database struct {
	t    testing.TB
	path string
	*sql.DB
}

func openDatabase(t testing.TB, statements ...string) database {
	d := database{t: t, path: filepath.Join(t.TempDir(), "rpmdb.sqlite")}
	d.open()
	for _, s := range statements {
		d.exec(s)
	}
	return d
}

func (d *database) open() {
	d.t.Helper()
	db, err := sql.Open("sqlite", d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	d.t.Cleanup(func() { db.Close() })
	d.DB = db
}

func (d *database) exec(statement string, args ...any) {
	d.t.Helper()
	if _, err := d.Exec(statement, args...); err != nil {
		d.t.Fatalf("%s: %v", statement, err)
	}
}

func (d *database) insert(name string, padding int) {
	d.t.Helper()
	d.exec("INSERT INTO Packages(blob) VALUES(?)", smallHeader(name, padding))
}

// files gives the file and its log as they are now.
func (d *database) files() (db, wal []byte) {
	d.t.Helper()
	db, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	wal, err = os.ReadFile(d.path + "-wal")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	return db, wal
}

// asSQLite gives the names that SQLite itself finds in the files.
func asSQLite(t testing.TB, db, wal []byte) []string {
	t.Helper()
	d := database{t: t, path: filepath.Join(t.TempDir(), "copy.sqlite")}
	if err := os.WriteFile(d.path, db, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.path+"-wal", wal, 0o600); err != nil {
		t.Fatal(err)
	}
	d.open()
	rows, err := d.Query("SELECT blob FROM Packages ORDER BY hnum")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var blob []byte
		if err := rows.Scan(&blob); err != nil {
			t.Fatal(err)
		}
		p, err := rpmdb.ParseHeader(blob, rpmdb.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, p.Name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// sameAsSQLite holds the reader to SQLite, and returns what both found.
func sameAsSQLite(t *testing.T, db, wal []byte) []string {
	t.Helper()
	want := asSQLite(t, db, wal)
	kind, packages, _, err := read(db, wal)
	if err != nil || kind != rpmdb.KindSQLite {
		t.Errorf("%s, %v", kind, err)
	}
	if diff := cmp.Diff(want, names(packages)); diff != "" {
		t.Errorf("(-SQLite +got)\n%s", diff)
	}
	return want
}

// TestSQLitePages: all sizes of pages, with and without reserved bytes, and rows
// of all sizes round those at which SQLite moves them to overflow pages.
func TestSQLitePages(t *testing.T) {
	for _, size := range []int{512, 1024, 4096, 65536} {
		for _, reserved := range []int{0, 32} {
			t.Run(fmt.Sprintf("%d-%d", size, reserved), func(t *testing.T) {
				d := openDatabase(t, fmt.Sprintf("PRAGMA page_size=%d", size), "PRAGMA user_version=1")
				if reserved > 0 {
					d.reserve(size, reserved)
				}
				d.exec("CREATE TABLE Other(a, b)")
				d.exec("INSERT INTO Other VALUES(NULL, zeroblob(140000))") // so that the table begins late
				d.exec(createPackages)
				d.exec("CREATE INDEX Name ON Other(a)")
				d.exec("BEGIN")
				for n := range 80 {
					d.insert(fmt.Sprint("step ", n), 13*n)
					d.insert(fmt.Sprint("edge ", n), size-130+n)
				}
				d.insert("large", 300_000)
				d.exec("COMMIT")
				d.exec("DELETE FROM Packages WHERE hnum % 7 = 3")
				db, wal := d.files()
				if db[20] != byte(reserved) {
					t.Errorf("%d reserved bytes", db[20])
				}
				if got := sameAsSQLite(t, db, wal); len(got) < 130 {
					t.Errorf("%d packages", len(got))
				}
			})
		}
	}
}

// reserve makes SQLite leave bytes of every page unused from now on. The
// database must be empty.
func (d *database) reserve(size, reserved int) {
	d.t.Helper()
	d.Close()
	db, _ := d.files()
	db[20] = byte(reserved)
	binary.BigEndian.PutUint16(db[105:], uint16(size-reserved)) // where the cells of page 1 begin
	if err := os.WriteFile(d.path, db, 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.open()
}

// logged opens a database in whose file is "file" and in whose log is "log".
func logged(t testing.TB) database {
	d := openDatabase(t, "PRAGMA page_size=1024", "PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", createPackages)
	d.insert("file", 3000)
	d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	d.insert("log", 3000)
	return d
}

func TestWAL(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(d *database)
		want   []string
	}{
		{"committed", func(*database) {}, []string{"file", "log"}},
		{"many transactions", func(d *database) {
			for i := range 30 {
				d.insert(fmt.Sprint(i), 500)
			}
			d.exec("DELETE FROM Packages WHERE hnum > 3")
		}, []string{"file", "log", "0"}},
		{"not committed", func(d *database) {
			_, before := d.files()
			d.exec("PRAGMA cache_size=1")
			d.exec("BEGIN")
			for range 30 {
				d.insert("rolled back", 3000)
			}
			if _, after := d.files(); len(after) <= len(before) {
				d.t.Error("nothing of the transaction is in the log")
			}
		}, []string{"file", "log"}},
		{"all checkpointed", func(d *database) { d.exec("PRAGMA wal_checkpoint(PASSIVE)") }, []string{"file", "log"}},
		{"stale frames behind", func(d *database) {
			for i := range 20 {
				d.insert(fmt.Sprint(i), 3000)
			}
			d.exec("DELETE FROM Packages WHERE hnum > 2")
			d.exec("PRAGMA wal_checkpoint(RESTART)")
			_, before := d.files()
			d.insert("after", 10)
			if _, after := d.files(); len(after) != len(before) {
				d.t.Error("the log was not used again")
			}
		}, []string{"file", "log", "after"}},
		{"shrunk", func(d *database) {
			d.insert("big", 100_000)
			d.exec("DELETE FROM Packages WHERE hnum <> 2")
			d.exec("VACUUM")
		}, []string{"log"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := logged(t)
			test.change(&d)
			db, wal := d.files()
			if len(wal) == 0 {
				t.Fatal("no log")
			}
			if got := sameAsSQLite(t, db, wal); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// TestDamagedWAL: whatever is wrong with a log, SQLite's view of it holds.
func TestDamagedWAL(t *testing.T) {
	d := logged(t)
	d.insert("second", 2000)
	db, wal := d.files()
	if got := sameAsSQLite(t, db, bigEndianSums(wal)); len(got) != 3 {
		t.Errorf("big-endian log: %v", got)
	}
	if got := sameAsSQLite(t, db, nil); len(got) != 1 {
		t.Errorf("no log: %v", got)
	}
	for at := 0; at < len(wal); at += 61 {
		bad := slices.Clone(wal)
		bad[at] ^= 1
		if at >= 4 && at < 8 {
			continue // another version is an error to both
		}
		sameAsSQLite(t, db, bad)
		sameAsSQLite(t, db, wal[:at])
	}
	for name, change := range map[string]func(b []byte){
		"version":   func(b []byte) { b[7]++ },
		"page size": func(b []byte) { b[10] *= 2 },
	} {
		bad := bigEndianSums(wal) // and so sums can be put right
		change(bad)
		if _, _, _, err := read(db, sumAgain(bad)); err == nil {
			t.Errorf("another %s: no error", name)
		}
	}
}

// bigEndianSums gives the log as a big-endian machine writes it.
func bigEndianSums(wal []byte) []byte {
	wal = slices.Clone(wal)
	wal[3] |= 1
	return sumAgain(wal)
}

// sumAgain puts the big-endian sums of a log of 1024-byte pages right.
func sumAgain(wal []byte) []byte {
	var a, b uint32
	sum := func(parts ...[]byte) {
		for _, part := range parts {
			for ; len(part) >= 8; part = part[8:] {
				a += binary.BigEndian.Uint32(part) + b
				b += binary.BigEndian.Uint32(part[4:]) + a
			}
		}
	}
	put := func(to []byte) {
		binary.BigEndian.PutUint32(to, a)
		binary.BigEndian.PutUint32(to[4:], b)
	}
	sum(wal[:24])
	put(wal[24:])
	for frame := wal[32:]; len(frame) >= 24+1024; frame = frame[24+1024:] {
		sum(frame[:8], frame[24:24+1024])
		put(frame[16:])
	}
	return wal
}

func TestNoPackages(t *testing.T) {
	d := openDatabase(t, createPackages)
	db, _ := d.files()
	if kind, packages, _, err := read(db, nil); err != nil || kind != rpmdb.KindSQLite || len(packages) > 0 {
		t.Errorf("%s, %v, %v", kind, packages, err)
	}
	d = openDatabase(t, "CREATE TABLE Names(key, blob)")
	db, _ = d.files()
	if _, _, _, err := read(db, nil); err == nil {
		t.Error("no table Packages: no error")
	}
}
