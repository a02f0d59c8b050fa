package advisory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrClosed means that an index was used after Close.
var ErrClosed = errors.New("vulnerability index is closed")

// Index is one revision of the vulnerability data: an immutable file, mapped
// into memory. It is safe for concurrent use. What it returns does not depend
// on the mapping and stays valid after Close.
type Index struct {
	mu       sync.RWMutex // held for reading while file is used, for writing to unmap
	file     []byte       // nil once closed
	header   header
	coverage []Coverage
}

// Open maps an index file and checks its header and tables. A file that is not
// whole is refused with an error that wraps ErrCorrupt.
func Open(path string) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open vulnerability index: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open vulnerability index: %w", err)
	}
	if info.Size() < headerSize || int64(int(info.Size())) != info.Size() {
		return nil, fmt.Errorf("open %s: %w: file of %d bytes", path, ErrCorrupt, info.Size())
	}
	file, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	ix := &Index{file: file}
	if err := ix.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), ix.Close())
	}
	return ix, nil
}

func (ix *Index) load() (err error) {
	if ix.header, err = decodeHeader(ix.file); err != nil {
		return err
	}
	if err := json.Unmarshal(ix.file[ix.header.coverageAt:], &ix.coverage); err != nil {
		return fmt.Errorf("%w: coverage: %w", ErrCorrupt, err)
	}
	return nil
}

// Lookup returns the advisories of a package, or none. The ecosystem has its
// release suffix; the name may be spelled in any way that NormalizeName knows.
func (ix *Index) Lookup(ecosystem, pkg string) ([]Advisory, error) {
	key := Key{Ecosystem: ecosystem, Package: NormalizeName(ecosystem, pkg)}
	if ecosystem == "" || key.check() != nil {
		return nil, nil // no such key can be in the index
	}
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	value, err := ix.find(key.bytes())
	if value == nil || err != nil {
		return nil, err
	}
	return decodeValue(ecosystem, value)
}

// Score returns what NVD says of a CVE; false when it says nothing.
func (ix *Index) Score(cve string) (Score, bool, error) {
	key := Key{Package: cve}
	if key.check() != nil {
		return Score{}, false, nil
	}
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	value, err := ix.find(key.bytes())
	if value == nil || err != nil {
		return Score{}, false, err
	}
	score, err := decodeScore(cve, value)
	return score, err == nil, err
}

// find searches the sorted entries. The value is part of the mapping; nil means
// that the key is not there. Called with mu held.
func (ix *Index) find(key []byte) ([]byte, error) {
	if ix.file == nil {
		return nil, ErrClosed
	}
	low, high := uint64(0), ix.header.keys
	for low < high {
		middle := (low + high) / 2
		e, at, err := ix.entry(middle)
		if err != nil {
			return nil, err
		}
		switch bytes.Compare(at, key) {
		case 0:
			return ix.value(e)
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil, nil
}

// entry returns the i-th entry and its key. Called with mu held.
func (ix *Index) entry(i uint64) (entry, []byte, error) {
	e := decodeEntry(ix.file[ix.header.entriesAt+i*entrySize:])
	keys := ix.file[ix.header.keysAt:ix.header.coverageAt]
	end := uint64(e.keyAt) + uint64(e.keyLen)
	if end > uint64(len(keys)) {
		return entry{}, nil, fmt.Errorf("%w: key %d out of bounds", ErrCorrupt, i)
	}
	return e, keys[e.keyAt:end], nil
}

// value returns the bytes of a value once their hash is right. Called with mu
// held.
func (ix *Index) value(e entry) ([]byte, error) {
	if e.valueAt < headerSize || e.valueAt > ix.header.entriesAt || e.length > ix.header.entriesAt-e.valueAt || e.length == 0 {
		return nil, fmt.Errorf("%w: value out of bounds", ErrCorrupt)
	}
	value := ix.file[e.valueAt : e.valueAt+e.length]
	if contentHash(value) != e.hash {
		return nil, fmt.Errorf("%w: value checksum", ErrCorrupt)
	}
	return value, nil
}

// Covers tells what the index has for an ecosystem with its release suffix;
// false when it has nothing. Of several sources the one with most records is
// named.
func (ix *Index) Covers(ecosystem string) (Coverage, bool) {
	var best Coverage
	for _, c := range ix.coverage {
		if c.Ecosystem == ecosystem && c.Records > best.Records {
			best = c
		}
	}
	return best, best.Records > 0
}

// Coverages lists what the index has, by ecosystem and source.
func (ix *Index) Coverages() []Coverage { return append([]Coverage(nil), ix.coverage...) }

// Revision names the state of the data.
func (ix *Index) Revision() Revision { return ix.header.revision() }

// Close unmaps the file once running look-ups have ended. Later look-ups give
// ErrClosed.
func (ix *Index) Close() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.file == nil {
		return nil
	}
	file := ix.file
	ix.file = nil
	if err := unix.Munmap(file); err != nil {
		return fmt.Errorf("unmap vulnerability index: %w", err)
	}
	return nil
}
