package feeds

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/klauspost/compress/flate"

	"github.com/pratique/pratique/engine/advisory"
)

// zipFile is an open dump. Its directory is read entry by entry: a dump has up
// to a million records, and archive/zip would hold them all in memory.
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
type zipFile struct {
	file    *os.File
	size    int64
	dirAt   uint64
	dirSize uint64
	count   uint64
}

// zipEntry is one member of the directory.
type zipEntry struct {
	name     string
	method   uint16
	flags    uint16
	sum      uint32
	packed   uint64 // bytes in the file
	unpacked uint64 // bytes as claimed
	at       uint64 // of its local header
}

// Signatures, sizes of the fixed parts, and limits.
const (
	sigEnd       = 0x06054b50
	sigEnd64     = 0x06064b50
	sigLocator   = 0x07064b50
	sigDirectory = 0x02014b50
	sigLocal     = 0x04034b50

	sizeEnd       = 22
	sizeEnd64     = 56
	sizeLocator   = 20
	sizeDirectory = 46
	sizeLocal     = 30

	maxZipComment = 1<<16 - 1
	maxEntryName  = 1024

	inZip64 = 1<<32 - 1 // the real number is in the zip64 field
)

var errZip = errors.New("not a whole zip file")

func openZip(path string) (*zipFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	z := &zipFile{file: f}
	info, err := f.Stat()
	if err == nil {
		z.size = info.Size()
		err = z.end()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open dump: %w", err), f.Close())
	}
	return z, nil
}

func (z *zipFile) close() error {
	if err := z.file.Close(); err != nil {
		return fmt.Errorf("close dump: %w", err)
	}
	return nil
}

// end finds the directory through the record at the end of the file.
func (z *zipFile) end() error {
	tail := make([]byte, min(z.size, sizeEnd+maxZipComment+sizeLocator))
	if _, err := z.file.ReadAt(tail, z.size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	at := -1
	for i := len(tail) - sizeEnd; i >= 0; i-- {
		if u32(tail[i:]) == sigEnd && i+sizeEnd+int(u16(tail[i+20:])) <= len(tail) {
			at = i
			break
		}
	}
	if at < 0 {
		return errZip
	}
	z.count, z.dirSize, z.dirAt = uint64(u16(tail[at+10:])), uint64(u32(tail[at+12:])), uint64(u32(tail[at+16:]))
	if z.count == 1<<16-1 || z.dirSize == inZip64 || z.dirAt == inZip64 {
		if at < sizeLocator || u32(tail[at-sizeLocator:]) != sigLocator {
			return errZip
		}
		if err := z.end64(u64(tail[at-sizeLocator+8:])); err != nil {
			return err
		}
	}
	if z.dirAt > uint64(z.size) || z.dirSize > uint64(z.size)-z.dirAt {
		return errZip
	}
	if z.count > maxZipFiles || z.count > z.dirSize/sizeDirectory {
		return fmt.Errorf("zip of %d files in a directory of %d bytes", z.count, z.dirSize)
	}
	return nil
}

func (z *zipFile) end64(at uint64) error {
	if at > uint64(z.size) {
		return errZip
	}
	var b [sizeEnd64]byte
	if _, err := z.file.ReadAt(b[:], int64(at)); err != nil || u32(b[:]) != sigEnd64 {
		return errZip
	}
	z.count, z.dirSize, z.dirAt = u64(b[32:]), u64(b[40:]), u64(b[48:])
	return nil
}

// entries reads the directory once. It ends with the first error.
func (z *zipFile) entries() iter.Seq2[zipEntry, error] {
	return func(yield func(zipEntry, error) bool) {
		r := bufio.NewReaderSize(io.NewSectionReader(z.file, int64(z.dirAt), int64(z.dirSize)), 64<<10)
		for range z.count {
			e, err := readEntryHead(r)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func readEntryHead(r *bufio.Reader) (zipEntry, error) {
	var b [sizeDirectory]byte
	if _, err := io.ReadFull(r, b[:]); err != nil || u32(b[:]) != sigDirectory {
		return zipEntry{}, fmt.Errorf("read directory of dump: %w", errZip)
	}
	e := zipEntry{
		flags: u16(b[8:]), method: u16(b[10:]), sum: u32(b[16:]),
		packed: uint64(u32(b[20:])), unpacked: uint64(u32(b[24:])), at: uint64(u32(b[42:])),
	}
	nameSize, extraSize, commentSize := int(u16(b[28:])), int(u16(b[30:])), int(u16(b[32:]))
	rest := make([]byte, nameSize+extraSize)
	if _, err := io.ReadFull(r, rest); err != nil {
		return zipEntry{}, fmt.Errorf("read directory of dump: %w", errZip)
	}
	if _, err := r.Discard(commentSize); err != nil {
		return zipEntry{}, fmt.Errorf("read directory of dump: %w", errZip)
	}
	e.name = string(rest[:min(nameSize, maxEntryName)])
	e.wide(rest[nameSize:])
	return e, nil
}

// wide takes the numbers that did not fit from the zip64 field. What is missing
// there stays out of bounds and is refused when the entry is read.
func (e *zipEntry) wide(extra []byte) {
	for len(extra) >= 4 {
		id, size := u16(extra), int(u16(extra[2:]))
		extra = extra[4:]
		if size > len(extra) {
			return
		}
		if id == 1 {
			field := extra[:size]
			for _, n := range []*uint64{&e.unpacked, &e.packed, &e.at} {
				if *n == inZip64 && len(field) >= 8 {
					*n, field = u64(field), field[8:]
				}
			}
		}
		extra = extra[size:]
	}
}

// isRecord tells records from folders and other files.
func (e *zipEntry) isRecord() bool { return strings.HasSuffix(e.name, ".json") }

// zipUnpacker reads single records of a dump. Each worker has its own.
type zipUnpacker struct {
	zip   *zipFile
	flate io.ReadCloser
	buf   bytes.Buffer
}

// read gives one record, within its limit and with its checksum right. The bytes
// are good until the next call.
func (u *zipUnpacker) read(e zipEntry) ([]byte, error) {
	if e.unpacked > advisory.MaxRecord {
		return nil, fmt.Errorf("%w: %.100q has %d bytes", advisory.ErrBadRecord, e.name, e.unpacked)
	}
	packed, err := u.open(e)
	if err != nil {
		return nil, err
	}
	u.buf.Reset()
	if _, err := u.buf.ReadFrom(io.LimitReader(packed, int64(e.unpacked)+1)); err != nil {
		return nil, fmt.Errorf("%w: read %.100q: %w", advisory.ErrBadRecord, e.name, err)
	}
	raw := u.buf.Bytes()
	if uint64(len(raw)) != e.unpacked || crc32.ChecksumIEEE(raw) != e.sum {
		return nil, fmt.Errorf("%w: checksum of %.100q", advisory.ErrBadRecord, e.name)
	}
	return raw, nil
}

func (u *zipUnpacker) open(e zipEntry) (io.Reader, error) {
	var b [sizeLocal]byte
	size := uint64(u.zip.size)
	if e.at > size {
		return nil, fmt.Errorf("%w: %.100q lies outside", advisory.ErrBadRecord, e.name)
	}
	if _, err := u.zip.file.ReadAt(b[:], int64(e.at)); err != nil || u32(b[:]) != sigLocal || e.flags&1 != 0 {
		return nil, fmt.Errorf("%w: no header of %.100q, or it is encrypted", advisory.ErrBadRecord, e.name)
	}
	from := e.at + sizeLocal + uint64(u16(b[26:])) + uint64(u16(b[28:]))
	if from > size || e.packed > size-from {
		return nil, fmt.Errorf("%w: %.100q lies outside", advisory.ErrBadRecord, e.name)
	}
	packed := io.NewSectionReader(u.zip.file, int64(from), int64(e.packed))
	switch e.method {
	case 0:
		return packed, nil
	case 8:
		if u.flate == nil {
			u.flate = flate.NewReader(packed)
			return u.flate, nil
		}
		return u.flate, u.flate.(flate.Resetter).Reset(packed, nil)
	}
	return nil, fmt.Errorf("%w: %.100q is packed by method %d", advisory.ErrBadRecord, e.name, e.method)
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
