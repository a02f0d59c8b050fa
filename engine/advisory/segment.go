package advisory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A segment holds the sorted records of one feed, so that a build merges feeds
// that did not change without parsing them again:
//
//	magic, length and bytes of what the caller notes about the whole
//	records, notes on single records of the feed before all others
//	CRC-32C of all that
const segmentMagic = "PRATSEG" + formatVersion

const (
	maxMeta = 16 << 20
	maxNote = 64 << 10
)

// noteKey is what stands before a note's ID: a key that no package has.
var noteKey = Key{}

func isNote(key []byte) bool { return len(key) == 1 && key[0] == 0 }

// Note keeps a line about one record of a feed, for EachNote; it is no part of
// an index.
func (b *Builder) Note(id string, modified time.Time, note []byte) error {
	if id == "" || len(id) > maxID || len(note) > maxNote {
		return fmt.Errorf("%w: note on %.64q", errBadKey, id)
	}
	for i := range len(id) {
		if id[i] == 0 {
			return fmt.Errorf("%w: note on %.64q", errBadKey, id)
		}
	}
	return b.put(record{key: sortKey(noteKey, id), rank: timeRank(modified), part: note})
}

// Save writes what was added as a segment in place of an index, in one step.
// meta comes back from AddSegment and EachNote.
func (b *Builder) Save(path string, meta []byte) (err error) {
	defer func() { err = errors.Join(err, b.Abort()) }()
	if len(meta) > maxMeta || b.sorter == nil {
		return fmt.Errorf("write segment: %d bytes of notes, or the builder has ended", len(meta))
	}
	if err := b.putEPSS(); err != nil {
		return err
	}
	sources, err := b.sorter.sources()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, tempPattern)
	if err != nil {
		return fmt.Errorf("make segment: %w", err)
	}
	err = writeSegment(f, meta, sources)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write segment: %w", err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func writeSegment(f *os.File, meta []byte, sources []source) error {
	buffered := bufio.NewWriterSize(f, 256<<10)
	sum := crc32.New(castagnoli)
	w := io.MultiWriter(buffered, sum)
	head := binary.AppendUvarint([]byte(segmentMagic), uint64(len(meta)))
	if _, err := w.Write(append(head, meta...)); err != nil {
		return err
	}
	if err := writeRecords(w, sources); err != nil {
		return err
	}
	if _, err := buffered.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return err
	}
	return errors.Join(buffered.Flush(), f.Sync())
}

// AddSegment adds the records of a segment, without those whose ID is in
// without, and returns its meta. Damage is met by Finish, as ErrCorrupt.
func (b *Builder) AddSegment(path string, without map[string]bool) (meta []byte, err error) {
	s, meta, err := openSegment(path)
	if err != nil {
		return nil, err
	}
	s.without = without
	b.segments = append(b.segments, s)
	return meta, nil
}

// SegmentMeta returns the meta of a segment. The rest is not looked at.
func SegmentMeta(path string) ([]byte, error) {
	s, meta, err := openSegment(path)
	if err != nil {
		return nil, err
	}
	return meta, s.close()
}

// EachNote visits the notes of a segment by ID, and returns its meta. It reads
// the whole file: what is visited counts once it has returned without error.
func EachNote(path string, visit func(id string, modified time.Time, note []byte) error) (meta []byte, err error) {
	s, meta, err := openSegment(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for {
		rec, err := s.next()
		if errors.Is(err, io.EOF) {
			return meta, nil
		}
		if err != nil {
			return nil, err
		}
		key, id := splitSortKey(rec.key)
		if !isNote(key) {
			// Only the checksum is left to see.
			if err := s.skip(); err != nil {
				return nil, err
			}
			return meta, nil
		}
		if err := visit(string(id), rankTime(rec.rank), rec.part); err != nil {
			return nil, err
		}
	}
}

// segment is a source over a segment file.
type segment struct {
	path    string
	file    *os.File
	body    *summedReader
	records *recordReader
	want    uint32 // checksum
	without map[string]bool
}

// summedReader adds up what is read.
type summedReader struct {
	io.Reader
	sum hash.Hash32
}

func (r *summedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.sum.Write(b[:n])
	return n, err
}

func openSegment(path string) (s *segment, meta []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open segment: %w", err)
	}
	s = &segment{path: path, file: f}
	if meta, err = s.head(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open segment %s: %w", path, err), f.Close())
	}
	return s, meta, nil
}

func (s *segment) head() (meta []byte, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	end := info.Size() - 4
	var sum [4]byte
	if end < int64(len(segmentMagic)) {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, info.Size())
	}
	if _, err := s.file.ReadAt(sum[:], end); err != nil {
		return nil, err
	}
	s.want = binary.LittleEndian.Uint32(sum[:])
	s.body = &summedReader{io.NewSectionReader(s.file, 0, end), crc32.New(castagnoli)}
	s.records = newRecordReader(s.body)
	var found [len(segmentMagic)]byte
	if _, err := io.ReadFull(s.records.r, found[:]); err != nil || string(found[:]) != segmentMagic {
		return nil, fmt.Errorf("%w: not a segment of this format", ErrCorrupt)
	}
	n, err := binary.ReadUvarint(s.records.r)
	if err != nil || n > maxMeta || int64(n) > end {
		return nil, badRecord("meta", err)
	}
	meta = make([]byte, n)
	if _, err := io.ReadFull(s.records.r, meta); err != nil {
		return nil, badRecord("meta", err)
	}
	return meta, nil
}

// next is part of source. The end comes only when the checksum is right.
func (s *segment) next() (record, error) {
	for {
		rec, err := s.records.next()
		if errors.Is(err, io.EOF) && s.body.sum.Sum32() != s.want {
			err = fmt.Errorf("%w: checksum", ErrCorrupt)
		}
		if errors.Is(err, io.EOF) {
			return rec, err
		}
		if err != nil {
			return rec, &SegmentError{Path: s.path, Err: err}
		}
		if len(s.without) > 0 {
			if _, id := splitSortKey(rec.key); s.without[string(id)] {
				continue
			}
		}
		return rec, nil
	}
}

// skip reads to the end and checks the sum.
func (s *segment) skip() error {
	_, err := io.Copy(io.Discard, s.records.r)
	if err == nil && s.body.sum.Sum32() != s.want {
		err = fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	if err != nil {
		return &SegmentError{Path: s.path, Err: err}
	}
	return nil
}

func (s *segment) close() error {
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close segment: %w", err)
	}
	return nil
}

// SegmentError names the segment that cannot be read: it is to be made anew.
type SegmentError struct {
	Path string
	Err  error
}

func (e *SegmentError) Error() string { return fmt.Sprintf("segment %s: %v", e.Path, e.Err) }

// Unwrap gives the cause.
func (e *SegmentError) Unwrap() error { return e.Err }
