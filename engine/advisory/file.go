package advisory

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// An index file, all numbers little-endian:
//
//	header   one page, with a checksum over itself and one over the sums
//	values   one for each key, in the order of keys
//	entries  one for each key, sorted by key, fixed size
//	keys     all bytes of all keys, in the same order
//	slots    hash table from key to entry
//	coverage JSON
//	sums     a checksum for each page from the values to the coverage
//
// Opening checks the header, the sums and the coverage: a few pages, however
// large the file. Every other page is checked when a look-up first touches it.
const (
	// formatVersion rises with each change of what this file or encode.go
	// writes: values of an older index are copied into a newer one, and segments
	// are used again, only when it is the same.
	formatVersion = "\x03"

	// Format names the format for those who keep segments.
	Format = formatVersion

	magic      = "PRATIDX" + formatVersion
	headerSize = pageSize
	entrySize  = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	sequence   uint64
	built      time.Time
	size       uint64 // of the file
	keys       uint64 // count
	entriesAt  uint64 // offsets in the file
	keysAt     uint64
	slotsAt    uint64
	coverageAt uint64
	sumsAt     uint64
	digest     [sha256.Size]byte
	sums       uint32 // CRC-32C of the file from sumsAt to its end
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	for _, n := range []uint64{h.sequence, uint64(h.built.UnixNano()), h.size, h.keys, h.entriesAt, h.keysAt, h.slotsAt, h.coverageAt, h.sumsAt} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, h.digest[:]...)
	b = append(b, make([]byte, headerSize-8-len(b))...)
	b = binary.LittleEndian.AppendUint32(b, h.sums)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader checks what the header says against the size of the file, and
// the sums.
func decodeHeader(file []byte) (header, error) {
	var h header
	if len(file) < headerSize || string(file[:len(magic)]) != magic {
		return h, fmt.Errorf("%w: not an index of this format", ErrCorrupt)
	}
	sum := binary.LittleEndian.Uint32(file[headerSize-4:])
	if crc32.Checksum(file[:headerSize-4], castagnoli) != sum {
		return h, fmt.Errorf("%w: header checksum", ErrCorrupt)
	}
	var n [9]uint64
	for i := range n {
		n[i] = binary.LittleEndian.Uint64(file[len(magic)+8*i:])
	}
	h = header{sequence: n[0], built: time.Unix(0, int64(n[1])).UTC(), size: n[2], keys: n[3],
		entriesAt: n[4], keysAt: n[5], slotsAt: n[6], coverageAt: n[7], sumsAt: n[8]}
	copy(h.digest[:], file[len(magic)+8*len(n):])
	h.sums = binary.LittleEndian.Uint32(file[headerSize-8:])
	size := uint64(len(file))
	inOrder := headerSize <= h.entriesAt && h.entriesAt <= h.keysAt && h.keysAt <= h.slotsAt &&
		h.slotsAt <= h.coverageAt && h.coverageAt <= h.sumsAt && h.sumsAt <= size
	if !inOrder || h.size != size || h.keys > maxKeys || h.keysAt-h.entriesAt != h.keys*entrySize ||
		h.coverageAt-h.slotsAt != slotCount(h.keys)*slotSize || size-h.sumsAt != pages(h.sumsAt)*4 {
		return h, fmt.Errorf("%w: file of %d bytes, header speaks of %d", ErrCorrupt, size, h.size)
	}
	if crc32.Checksum(file[h.sumsAt:], castagnoli) != h.sums {
		return h, fmt.Errorf("%w: checksum of the page sums", ErrCorrupt)
	}
	return h, nil
}

func (h *header) revision() Revision {
	return Revision{Sequence: h.sequence, Digest: "sha256:" + hex.EncodeToString(h.digest[:]), Built: h.built}
}

// entry is where one key and its value are.
type entry struct {
	keyAt   uint32 // from the start of the keys
	keyLen  uint32
	valueAt uint64 // from the start of the file
	length  uint64
	hash    uint64 // of what the value was made from
}

func (e *entry) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, e.keyAt)
	b = binary.LittleEndian.AppendUint32(b, e.keyLen)
	b = binary.LittleEndian.AppendUint64(b, e.valueAt)
	b = binary.LittleEndian.AppendUint64(b, e.length)
	return binary.LittleEndian.AppendUint64(b, e.hash)
}

func decodeEntry(b []byte) entry {
	return entry{
		keyAt:   binary.LittleEndian.Uint32(b),
		keyLen:  binary.LittleEndian.Uint32(b[4:]),
		valueAt: binary.LittleEndian.Uint64(b[8:]),
		length:  binary.LittleEndian.Uint64(b[16:]),
		hash:    binary.LittleEndian.Uint64(b[24:]),
	}
}

const (
	filePrefix = "vulndb-"
	fileSuffix = ".idx"
)

func (h *header) fileName() string {
	return fmt.Sprintf("%s%020d-%x%s", filePrefix, h.sequence, h.digest[:8], fileSuffix)
}

// indexFile is an index file as its name presents it.
type indexFile struct {
	path     string
	sequence uint64
}

// indexFiles lists the index files of a directory, newest first.
func indexFiles(dir string) ([]indexFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list vulnerability indexes: %w", err)
	}
	var files []indexFile
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), filePrefix)
		if !ok || !strings.HasSuffix(name, fileSuffix) {
			continue
		}
		number, _, _ := strings.Cut(name, "-")
		if sequence, err := strconv.ParseUint(number, 10, 64); err == nil {
			files = append(files, indexFile{path: filepath.Join(dir, e.Name()), sequence: sequence})
		}
	}
	sort.Slice(files, func(i, j int) bool {
		if files[i].sequence != files[j].sequence {
			return files[i].sequence > files[j].sequence
		}
		return files[i].path > files[j].path
	})
	return files, nil
}

// NewestSequence is the highest sequence among the index files of dir; 0 when
// there is none. The file need not be readable: its number is taken all the same.
func NewestSequence(dir string) (uint64, error) {
	files, err := indexFiles(dir)
	if err != nil || len(files) == 0 {
		return 0, err
	}
	return files[0].sequence, nil
}

// keepFiles is how many index files stay: the newest, and the one before to fall
// back on.
const keepFiles = 2

// Prune removes old index files. Whoever has one open keeps using it.
func Prune(dir string) error {
	files, err := indexFiles(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files[min(keepFiles, len(files)):] {
		if err := os.Remove(file.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove old vulnerability index: %w", err))
		}
	}
	return errors.Join(errs...)
}
