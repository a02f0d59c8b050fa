package advisory

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// writer writes an index file aside, in one pass; keys come in sorted order.
type writer struct {
	file    *os.File // nil once committed or discarded
	w       *bufio.Writer
	at      uint64 // offset of the next byte
	digest  hash.Hash
	entries []byte
	keys    []byte
	count   uint64
}

func newWriter(dir string) (*writer, error) {
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("make vulnerability index: %w", err)
	}
	w := &writer{file: f, w: bufio.NewWriterSize(f, 1<<20), digest: sha256.New()}
	w.digest.Write([]byte(magic))
	// The header comes last, when its content is known.
	if err := w.write(make([]byte, headerSize)); err != nil {
		return nil, errors.Join(err, w.discard())
	}
	return w, nil
}

func (w *writer) put(key Key, value []byte) error {
	k := key.bytes()
	if uint64(len(w.keys)+len(k)) > maxKeyBytes {
		return fmt.Errorf("package names of more than %d bytes in all", uint64(maxKeyBytes))
	}
	e := entry{keyAt: uint32(len(w.keys)), keyLen: uint32(len(k)), valueAt: w.at, length: uint64(len(value)), hash: contentHash(value)}
	w.entries = e.append(w.entries)
	w.keys = append(w.keys, k...)
	w.count++
	w.addDigest(k)
	w.addDigest(value)
	return w.write(value)
}

// addDigest adds b with its length, so that the digest is of a sequence of byte
// strings and not of their concatenation.
func (w *writer) addDigest(b []byte) {
	w.digest.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(b))))
	w.digest.Write(b)
}

// finish writes tables and header.
func (w *writer) finish(coverage []Coverage, sequence uint64, built time.Time) (header, error) {
	table, err := w.coverage(coverage)
	if err != nil {
		return header{}, err
	}
	h := header{
		sequence:   sequence,
		built:      built.UTC(),
		keys:       w.count,
		entriesAt:  w.at,
		keysAt:     w.at + uint64(len(w.entries)),
		coverageAt: w.at + uint64(len(w.entries)+len(w.keys)),
	}
	h.size = h.coverageAt + uint64(len(table))
	copy(h.digest[:], w.digest.Sum(nil))
	for _, part := range [][]byte{w.entries, w.keys, table} {
		h.tables = crc32.Update(h.tables, castagnoli, part)
		if err := w.write(part); err != nil {
			return header{}, err
		}
	}
	if err := w.w.Flush(); err != nil {
		return header{}, fmt.Errorf("write vulnerability index: %w", err)
	}
	if _, err := w.file.WriteAt(h.encode(), 0); err != nil {
		return header{}, fmt.Errorf("write vulnerability index: %w", err)
	}
	return h, nil
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
	err := f.Chmod(0o644)
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
	return errors.Join(f.Close(), os.Remove(f.Name()))
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
