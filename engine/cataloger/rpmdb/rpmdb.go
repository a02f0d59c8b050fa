// Package rpmdb reads the database in which rpm keeps what is installed, in
// each of its three forms: Berkeley DB hash ("Packages"), ndb ("Packages.db")
// and SQLite ("rpmdb.sqlite", with its write-ahead log). It reads bytes in
// place through an io.ReaderAt, on the caller's goroutine, and takes every one
// of them for hostile.
//
// It knows rpm's formats and nothing of layers, distributions or the inventory;
// what it hands out are the strings of the file as they are. Start with Read.
package rpmdb

import (
	"errors"
	"fmt"
	"io"
)

// The kinds of database, as Read names them.
const (
	KindBerkeley = "bdb"
	KindNDB      = "ndb"
	KindSQLite   = "sqlite"
)

// What Read returns when a database as a whole is not read.
var (
	ErrUnknownKind = errors.New("no kind of rpm database")
	ErrTooLarge    = errors.New("more than is read of an rpm database")
)

// File is the content of one file, for reading in any order.
type File struct {
	io.ReaderAt
	Size int64 // bytes
}

// Limits bound what is read. Memory is bounded by Blob, a few pages, a bit for
// each page of the database and 8 bytes for each of its write-ahead log.
type Limits struct {
	// Size is the most bytes that the database may have, and its write-ahead
	// log as well.
	Size int64
	// Blob is the most bytes of one package's header.
	Blob int
	// Packages is how many packages are handed out.
	Packages int
	// Files is how many files of one package are listed.
	Files int
}

// DefaultLimits are far above what distributions make: databases of some
// hundred MB, headers of some MB, some thousand packages, and a hundred
// thousand files in the largest package.
var DefaultLimits = Limits{Size: 1 << 30, Blob: 64 << 20, Packages: 1 << 17, Files: 1 << 20}

// PartialError says that the packages handed out are not all: parts of the
// database could not be read.
type PartialError struct {
	// Damaged counts the headers, and the pages or slots that lead to headers,
	// that could not be read.
	Damaged int
	// First is what was wrong with the first of them.
	First error
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d damaged parts, the first: %v", e.Damaged, e.First)
}

// Unwrap gives the first damage.
func (e *PartialError) Unwrap() error { return e.First }

// Read hands every package of the database to each, in the order of the file,
// keys ("gpg-pubkey") too; the kind is told by the content. The write-ahead log
// may be nil; it belongs to SQLite alone. A rollback journal ("-journal") is not
// looked at: the file is read as it stands.
//
// A PartialError means that some packages could not be read and all others were
// handed out. With any other error nothing may be assumed of the packages that
// were not handed out. An error of each ends the reading and is returned as it
// is.
func Read(db File, wal *File, limits Limits, each func(*Package) error) (kind string, err error) {
	if db.Size > limits.Size || wal != nil && wal.Size > limits.Size {
		return "", fmt.Errorf("%w: a file has more than %d bytes", ErrTooLarge, limits.Size)
	}
	kind, err = kindOf(db)
	if err != nil {
		return "", err
	}
	out := &collector{limits: limits, each: each}
	switch kind {
	case KindBerkeley:
		err = readBerkeley(db, out)
	case KindNDB:
		err = readNDB(db, out)
	case KindSQLite:
		err = readSQLite(db, wal, out)
	}
	if err == nil && out.damaged > 0 {
		err = &PartialError{Damaged: out.damaged, First: out.first}
	}
	if err != nil && !out.stopped {
		err = fmt.Errorf("read rpm database (%s): %w", kind, err)
	}
	return kind, err
}

// kindOf tells the kind by the magic numbers.
func kindOf(db File) (string, error) {
	head := make([]byte, max(0, min(db.Size, 16)))
	if err := readFull(db, 0, head); err != nil {
		return "", fmt.Errorf("read beginning of rpm database: %w", err)
	}
	switch {
	case string(head) == sqliteMagic:
		return KindSQLite, nil
	case len(head) == 16 && berkeleyOrder(head) != nil:
		return KindBerkeley, nil
	case len(head) == 16 && string(head[:4]) == ndbMagic:
		return KindNDB, nil
	}
	return "", ErrUnknownKind
}

// collector takes headers from a reader and hands packages out.
type collector struct {
	limits   Limits
	each     func(*Package) error
	packages int
	damaged  int
	first    error
	stopped  bool // each returned an error
}

// add parses one header and hands its package out. Its error ends the reading.
func (c *collector) add(blob []byte) error {
	p, err := ParseHeader(blob, c.limits)
	if err != nil {
		return c.survive(err)
	}
	if c.packages >= c.limits.Packages {
		return fmt.Errorf("%w: more than %d packages", ErrTooLarge, c.limits.Packages)
	}
	c.packages++
	if err := c.each(p); err != nil {
		c.stopped = true
		return err
	}
	return nil
}

// maxDamaged is how many damaged parts are passed over. A few bytes make one, so
// that a large file of them would cost minutes.
const maxDamaged = 1 << 16

// survive counts damage and returns every other error.
func (c *collector) survive(err error) error {
	var d *damage
	if !errors.As(err, &d) {
		return err
	}
	if c.damaged++; c.first == nil {
		c.first = err
	}
	if c.damaged > maxDamaged {
		return fmt.Errorf("%w: more than %d damaged parts, the first: %v", ErrTooLarge, maxDamaged, c.first)
	}
	return nil
}

// damage is content that is not as its format demands, as opposed to an error
// of the reader. Its text holds numbers, never strings of the content.
type damage struct{ text string }

func (d *damage) Error() string { return d.text }

func damagef(format string, args ...any) error {
	return &damage{fmt.Sprintf(format, args...)}
}
