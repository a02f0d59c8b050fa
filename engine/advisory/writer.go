package advisory

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// writer writes an index file aside; keys come in sorted order. What it holds in
// memory does not grow with their number.
type writer struct {
	file    *os.File // nil once committed or discarded
	w       *bufio.Writer
	at      uint64 // offset of the next byte
	digest  hash.Hash
	entries *spool
	keys    *spool
	count   uint64
	line    []byte // reused
}

func newWriter(dir string) (w *writer, err error) {
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("make vulnerability index: %w", err)
	}
	w = &writer{file: f, w: bufio.NewWriterSize(f, 1<<20), digest: sha256.New()}
	w.digest.Write([]byte(magic))
	if w.entries, err = newSpool(dir); err == nil {
		w.keys, err = newSpool(dir)
	}
	if err == nil {
		err = w.write(make([]byte, headerSize)) // comes last, when its content is known
	}
	if err != nil {
		return nil, errors.Join(err, w.discard())
	}
	return w, nil
}

// put writes one key; hash is of what the value was made from.
func (w *writer) put(key, value []byte, hash uint64) error {
	keyAt := uint64(w.keys.size)
	if keyAt+uint64(len(key)) > maxKeyBytes || w.count >= maxKeys {
		return fmt.Errorf("more than %d packages, or more than %d bytes of their names", maxKeys, uint64(maxKeyBytes))
	}
	e := entry{keyAt: uint32(keyAt), keyLen: uint32(len(key)), valueAt: w.at, length: uint64(len(value)), hash: hash}
	w.line = e.append(w.line[:0])
	if _, err := w.entries.Write(w.line); err != nil {
		return err
	}
	if _, err := w.keys.Write(key); err != nil {
		return err
	}
	w.count++
	w.addDigest(key)
	w.addDigest(value)
	return w.write(value)
}

// addDigest adds b with its length, so that the digest is of a sequence of byte
// strings and not of their concatenation.
func (w *writer) addDigest(b []byte) {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(b)))
	w.digest.Write(length[:])
	w.digest.Write(b)
}

// finish writes everything behind the values, and the header.
func (w *writer) finish(coverage []Coverage, sequence uint64, built time.Time) (header, error) {
	table, err := w.coverage(coverage)
	if err != nil {
		return header{}, err
	}
	h := header{sequence: sequence, built: built.UTC(), keys: w.count, entriesAt: w.at}
	h.keysAt = h.entriesAt + uint64(w.entries.size)
	h.slotsAt = h.keysAt + uint64(w.keys.size)
	h.coverageAt = h.slotsAt + slotCount(h.keys)*slotSize
	h.sumsAt = h.coverageAt + uint64(len(table))
	h.size = h.sumsAt + 4*pages(h.sumsAt)
	copy(h.digest[:], w.digest.Sum(nil))
	if err := w.tables(&h, table); err != nil {
		return header{}, err
	}
	if err := w.slots(&h); err != nil {
		return header{}, err
	}
	if err := w.sums(&h); err != nil {
		return header{}, err
	}
	if _, err := w.file.WriteAt(h.encode(), 0); err != nil {
		return header{}, fmt.Errorf("write vulnerability index: %w", err)
	}
	return h, nil
}

// tables writes entries, keys, empty slots and the coverage. The slots are
// written and not skipped over, so that a full disk is an error here and no
// fault of the mapping later.
func (w *writer) tables(h *header, coverage []byte) error {
	for _, part := range []*spool{w.entries, w.keys} {
		if err := w.copy(part); err != nil {
			return err
		}
	}
	empty := make([]byte, 64<<10)
	for left := h.coverageAt - h.slotsAt; left > 0; {
		n := min(left, uint64(len(empty)))
		if err := w.write(empty[:n]); err != nil {
			return err
		}
		left -= n
	}
	if err := w.write(coverage); err != nil {
		return err
	}
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("write vulnerability index: %w", err)
	}
	return nil
}

// slots fills the hash table in the file's own pages, which the system writes
// out when memory is short.
func (w *writer) slots(h *header) (err error) {
	file, err := unix.Mmap(int(w.file.Fd()), 0, int(h.coverageAt), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map vulnerability index: %w", err)
	}
	keys := file[h.keysAt:h.slotsAt]
	for i := range h.keys {
		e := decodeEntry(file[h.entriesAt+i*entrySize:])
		fillSlot(file[h.slotsAt:h.coverageAt], hashKey(&h.digest, keys[e.keyAt:e.keyAt+e.keyLen]), i)
	}
	if err := unix.Munmap(file); err != nil {
		return fmt.Errorf("unmap vulnerability index: %w", err)
	}
	return nil
}

// sums reads the file once more and appends the checksums of its pages.
func (w *writer) sums(h *header) (err error) {
	w.w.Reset(io.NewOffsetWriter(w.file, int64(h.sumsAt)))
	content := io.NewSectionReader(w.file, headerSize, int64(h.sumsAt-headerSize))
	if h.sums, err = writePageSums(w.w, bufio.NewReaderSize(content, 1<<20)); err != nil {
		return err
	}
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("write vulnerability index: %w", err)
	}
	return nil
}

// copy appends what a spool holds.
func (w *writer) copy(s *spool) error {
	content, err := s.section(0, s.size)
	if err != nil {
		return err
	}
	n, err := io.Copy(w.w, content)
	w.at += uint64(n)
	if err != nil {
		return fmt.Errorf("write vulnerability index: %w", err)
	}
	return nil
}

// coverage gives the table and adds it to the digest, without Synced: to have
// asked again and found nothing new is no change of content.
func (w *writer) coverage(coverage []Coverage) ([]byte, error) {
	content := slices.Clone(coverage)
	for i := range content {
		content[i].Synced = time.Time{}
	}
	b, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("write coverage: %w", err)
	}
	w.addDigest(b)
	if b, err = json.Marshal(coverage); err != nil {
		return nil, fmt.Errorf("write coverage: %w", err)
	}
	return b, nil
}

func (w *writer) write(b []byte) error {
	if _, err := w.w.Write(b); err != nil {
		return fmt.Errorf("write vulnerability index: %w", err)
	}
	w.at += uint64(len(b))
	return nil
}

// commit makes the file durable and gives it its name.
func (w *writer) commit(path string) error {
	f := w.file
	w.file = nil
	err := errors.Join(w.closeSpools(), f.Chmod(0o644))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write vulnerability index: %w", err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// discard removes an uncommitted file.
func (w *writer) discard() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return errors.Join(w.closeSpools(), f.Close(), os.Remove(f.Name()))
}

func (w *writer) closeSpools() error {
	var errs []error
	for _, s := range []*spool{w.entries, w.keys} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
