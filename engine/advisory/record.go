package advisory

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// record is what a build sorts: one advisory of one package, or one score.
type record struct {
	key  []byte // as sortKey makes it
	rank uint64 // of several with one key those with the highest rank stay
	part []byte // as encodeValue or encodeScore writes it
}

func (r *record) compare(o *record) int {
	return cmp.Or(bytes.Compare(r.key, o.key), cmp.Compare(r.rank, o.rank), bytes.Compare(r.part, o.part))
}

// sortKey is the key of the index, NUL, and the advisory's ID (empty for
// scores). None of them holds a NUL, so the order of sort keys is that of keys.
func sortKey(key Key, id string) []byte {
	b := key.append(make([]byte, 0, len(key.Ecosystem)+len(key.Package)+len(id)+2))
	b = append(b, 0)
	return append(b, id...)
}

// splitSortKey undoes sortKey.
func splitSortKey(b []byte) (key, id []byte) {
	i := bytes.LastIndexByte(b, 0)
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i+1:]
}

// Limits of one record. maxPart is above what any feed record can become.
const (
	maxSortKey = maxEcosystem + maxName + maxID + 2
	maxPart    = 16 * MaxRecord
)

// append writes the record: length and bytes of the key, rank, length and bytes
// of the part.
func (r *record) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.key)))
	b = append(b, r.key...)
	b = binary.LittleEndian.AppendUint64(b, r.rank)
	b = binary.AppendUvarint(b, uint64(len(r.part)))
	return append(b, r.part...)
}

// source gives records in order, and io.EOF after the last. A record is good
// until the next one is asked for.
type source interface {
	next() (record, error)
}

// recordReader is a source over written records.
type recordReader struct {
	r   *bufio.Reader
	key []byte
	// part grows as its bytes come, not by what a length claims.
	part bytes.Buffer
}

// readAhead is the buffer of one of the files that are merged, in bytes.
const readAhead = 32 << 10

func newRecordReader(r io.Reader) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, readAhead)}
}

func (rr *recordReader) next() (record, error) {
	n, err := binary.ReadUvarint(rr.r)
	if errors.Is(err, io.EOF) {
		return record{}, io.EOF
	}
	if err != nil || n > maxSortKey {
		return record{}, badRecord("length of key", err)
	}
	if uint64(cap(rr.key)) < n+8 {
		rr.key = make([]byte, maxSortKey+8)
	}
	rr.key = rr.key[:n+8]
	if _, err := io.ReadFull(rr.r, rr.key); err != nil {
		return record{}, badRecord("key", err)
	}
	rec := record{key: rr.key[:n], rank: binary.LittleEndian.Uint64(rr.key[n:])}
	if n, err = binary.ReadUvarint(rr.r); err != nil || n > maxPart {
		return record{}, badRecord("length", err)
	}
	rr.part.Reset()
	if _, err := io.CopyN(&rr.part, rr.r, int64(n)); err != nil {
		return record{}, badRecord("content", err)
	}
	rec.part = rr.part.Bytes()
	return rec, nil
}

// badRecord tells an unreadable file from one with wrong content.
func badRecord(what string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s of a sorted record", ErrCorrupt, what)
	}
	return fmt.Errorf("read sorted records: %w", err)
}
