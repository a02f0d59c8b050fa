package javaarchive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"
)

// The zip format, as far as it is read here: section 4.3 of
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
const (
	sigLocal      = "PK\x03\x04"
	sigEntry      = "PK\x01\x02"
	sigEnd        = "PK\x05\x06"
	sigEnd64      = "PK\x06\x06"
	sigLocator64  = "PK\x06\x07"
	localSize     = 30
	entrySize     = 46
	endSize       = 22
	end64Size     = 56
	locator64Size = 20

	maxEnds = 100 // what looks like an end record and is none

	methodStored  = 0
	methodDeflate = 8
	flagEncrypted = 1

	unknown32 = 0xffffffff // the number is in the 64-bit extra field
	extra64   = 1
)

var (
	errNoZip     = errors.New("it is no zip archive")
	errDirectory = errors.New("its directory cannot be read to the end")
)

// entry is one line of an archive's directory.
type entry struct {
	name   string
	method uint16
	flags  uint16
	packed int64 // bytes as stored
	size   int64 // bytes as claimed
	at     int64 // of the local header, from the file's beginning
}

// directory is where an archive's directory lies.
type directory struct {
	at, size int64
	base     int64 // what the archive's own offsets count from; a program may stand before it
}

// findDirectory looks for the end record from the file's end backwards, as the
// Java runtime does.
func findDirectory(r io.ReaderAt, size int64) (directory, error) {
	tail := make([]byte, min(size, endSize+0xffff))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return directory{}, err
	}
	i := len(tail)
	for range maxEnds {
		if i = bytes.LastIndex(tail[:i], []byte(sigEnd)); i < 0 {
			break
		}
		record := tail[i:]
		if len(record) < endSize || endSize+int(binary.LittleEndian.Uint16(record[20:])) > len(record) {
			continue
		}
		at := size - int64(len(record))
		if d, ok := placeDirectory(r, record, at); ok {
			return d, nil
		}
	}
	return directory{}, errNoZip
}

// placeDirectory checks that an end record at an offset has a directory before
// it. The offset that it tells is not trusted: what was put before the archive
// moves everything.
func placeDirectory(r io.ReaderAt, record []byte, at int64) (directory, bool) {
	size, offset := int64(binary.LittleEndian.Uint32(record[12:])), int64(binary.LittleEndian.Uint32(record[16:]))
	end := at
	if size == unknown32 || offset == unknown32 || binary.LittleEndian.Uint16(record[10:]) == 0xffff {
		if end64, ok := findEnd64(r, at); ok {
			size, offset, end = end64.size, end64.at, end64.base
		}
	}
	d := directory{at: end - size, size: size, base: end - size - offset}
	if size < 0 || offset < 0 || d.at < 0 || d.base < 0 {
		return directory{}, false
	}
	if size == 0 { // an empty archive; nothing but the file's end vouches for it
		return d, endSize+int(binary.LittleEndian.Uint16(record[20:])) == len(record)
	}
	sig := make([]byte, len(sigEntry))
	_, err := r.ReadAt(sig, d.at)
	return d, err == nil && string(sig) == sigEntry
}

// findEnd64 reads the 64-bit end record that stands before the end record at
// an offset: the directory's size and offset as told, and as base where the
// record stands.
func findEnd64(r io.ReaderAt, at int64) (directory, bool) {
	locator, record := make([]byte, locator64Size), make([]byte, end64Size)
	if at < locator64Size+end64Size {
		return directory{}, false
	}
	if _, err := r.ReadAt(locator, at-locator64Size); err != nil || string(locator[:4]) != sigLocator64 {
		return directory{}, false
	}
	// The record stands just before its locator, unless it was extended.
	for _, place := range []int64{at - locator64Size - end64Size, int64(binary.LittleEndian.Uint64(locator[8:]))} {
		if place < 0 || place > at-locator64Size-end64Size {
			continue
		}
		if _, err := r.ReadAt(record, place); err == nil && string(record[:4]) == sigEnd64 {
			size, offset := binary.LittleEndian.Uint64(record[40:]), binary.LittleEndian.Uint64(record[48:])
			return directory{size: int64(size), at: int64(offset), base: place}, true
		}
	}
	return directory{}, false
}

// walk reads the directory line by line in bounded memory. It ends with an
// error when the directory ends too early, and when visit asks for it.
func (d directory) walk(r io.ReaderAt, visit func(entry) error) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r, d.at, d.size), 16<<10)
	fixed := make([]byte, entrySize)
	variable := make([]byte, 0, 256)
	for {
		if _, err := io.ReadFull(in, fixed); err == io.EOF {
			return nil
		} else if err != nil || string(fixed[:4]) != sigEntry {
			return errDirectory
		}
		name, extra := int(binary.LittleEndian.Uint16(fixed[28:])), int(binary.LittleEndian.Uint16(fixed[30:]))
		comment := int(binary.LittleEndian.Uint16(fixed[32:]))
		if n := name + extra; n > cap(variable) {
			variable = make([]byte, n)
		}
		variable = variable[:name+extra]
		if _, err := io.ReadFull(in, variable); err != nil {
			return errDirectory
		}
		if _, err := in.Discard(comment); err != nil {
			return errDirectory
		}
		if err := visit(d.entry(fixed, variable[:name], variable[name:])); err != nil {
			return err
		}
	}
}

func (d directory) entry(fixed, name, extra []byte) entry {
	e := entry{
		name:  strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(string(name), `\`, "/")), "/"),
		flags: binary.LittleEndian.Uint16(fixed[8:]), method: binary.LittleEndian.Uint16(fixed[10:]),
		packed: int64(binary.LittleEndian.Uint32(fixed[20:])), size: int64(binary.LittleEndian.Uint32(fixed[24:])),
		at: int64(binary.LittleEndian.Uint32(fixed[42:])),
	}
	if strings.HasSuffix(string(name), "/") {
		e.name += "/"
	}
	for len(extra) >= 4 {
		n := int(binary.LittleEndian.Uint16(extra[2:]))
		if n > len(extra)-4 {
			break
		}
		if binary.LittleEndian.Uint16(extra) == extra64 {
			e.widen(extra[4 : 4+n])
		}
		extra = extra[4+n:]
	}
	e.at += d.base
	return e
}

// widen takes the 64-bit numbers, which stand for those fields alone that have
// no room in the line itself.
func (e *entry) widen(field []byte) {
	for _, n := range []*int64{&e.size, &e.packed, &e.at} {
		if *n == unknown32 && len(field) >= 8 {
			*n = int64(binary.LittleEndian.Uint64(field))
			field = field[8:]
		}
	}
}

// content gives the bytes of an entry as they are stored.
func (e entry) content(r io.ReaderAt, size int64) (*io.SectionReader, error) {
	if e.flags&flagEncrypted != 0 {
		return nil, errors.New("it is encrypted")
	}
	if e.method != methodStored && e.method != methodDeflate {
		return nil, errors.New("it is packed by a method that is not read")
	}
	local := make([]byte, localSize)
	if e.at < 0 || e.packed < 0 || e.size < 0 || e.at > size-localSize {
		return nil, errors.New("it lies outside of the archive")
	}
	if _, err := r.ReadAt(local, e.at); err != nil || string(local[:4]) != sigLocal {
		return nil, errors.New("the archive's directory points to nothing")
	}
	at := e.at + localSize + int64(binary.LittleEndian.Uint16(local[26:])) + int64(binary.LittleEndian.Uint16(local[28:]))
	if e.packed > size-at {
		return nil, errors.New("it ends outside of the archive")
	}
	return io.NewSectionReader(r, at, e.packed), nil
}
