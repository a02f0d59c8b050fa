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
	checked  pageSet // pages whose checksum was right
	coverage []Coverage
}

// Open maps an index file and checks its header. A file that is cut short or of
// another format is refused with an error that wraps ErrCorrupt; damage inside
// is met by the look-up that touches it, with the same error.
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
	ix.checked = newPageSet(ix.header.sumsAt)
	if err := ix.touch(ix.header.coverageAt, ix.header.sumsAt); err != nil {
		return err
	}
	if err := json.Unmarshal(ix.file[ix.header.coverageAt:ix.header.sumsAt], &ix.coverage); err != nil {
		return fmt.Errorf("%w: coverage: %w", ErrCorrupt, err)
	}
	return nil
}

// shortKey is the length of keys that a look-up makes without allocating.
const shortKey = 128

// Lookup returns the advisories of a package, or none. The ecosystem has its
// release suffix; the name may be spelled in any way that NormalizeName knows.
func (ix *Index) Lookup(ecosystem, pkg string) ([]Advisory, error) {
	key := Key{Ecosystem: ecosystem, Package: NormalizeName(ecosystem, pkg)}
	if ecosystem == "" || key.check() != nil {
		return nil, nil // no such key can be in the index
	}
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var short [shortKey]byte
	value, err := ix.find(key.append(short[:0]))
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
	var short [shortKey]byte
	value, err := ix.find(key.append(short[:0]))
	if value == nil || err != nil {
		return Score{}, false, err
	}
	score, err := decodeScore(cve, value)
	return score, err == nil, err
}

// find looks the key up. The value is part of the mapping; nil means that the
// key is not there. Called with mu held.
func (ix *Index) find(key []byte) ([]byte, error) {
	if ix.file == nil {
		return nil, ErrClosed
	}
	count := slotCount(ix.header.keys)
	hash := hashKey(&ix.header.digest, key)
	for i := range count { // ends at an empty slot long before
		at := ix.header.slotsAt + (hash+i)&(count-1)*slotSize
		if err := ix.touch(at, at+slotSize); err != nil {
			return nil, err
		}
		s := decodeSlot(ix.file[at:])
		if s.empty() {
			return nil, nil
		}
		if !s.fits(hash) {
			continue
		}
		e, found, err := ix.entry(s.index())
		if err != nil {
			return nil, err
		}
		if bytes.Equal(found, key) {
			return ix.value(e)
		}
	}
	return nil, nil
}

// entry returns the i-th entry and its key. Called with mu held.
func (ix *Index) entry(i uint64) (entry, []byte, error) {
	if i >= ix.header.keys {
		return entry{}, nil, fmt.Errorf("%w: no entry %d", ErrCorrupt, i)
	}
	at := ix.header.entriesAt + i*entrySize
	if err := ix.touch(at, at+entrySize); err != nil {
		return entry{}, nil, err
	}
	e := decodeEntry(ix.file[at:])
	from := ix.header.keysAt + uint64(e.keyAt)
	to := from + uint64(e.keyLen)
	if to > ix.header.slotsAt {
		return entry{}, nil, fmt.Errorf("%w: key %d out of bounds", ErrCorrupt, i)
	}
	if err := ix.touch(from, to); err != nil {
		return entry{}, nil, err
	}
	return e, ix.file[from:to], nil
}

// value returns the bytes of a value. Called with mu held.
func (ix *Index) value(e entry) ([]byte, error) {
	if e.valueAt < headerSize || e.valueAt > ix.header.entriesAt || e.length > ix.header.entriesAt-e.valueAt || e.length == 0 {
		return nil, fmt.Errorf("%w: value out of bounds", ErrCorrupt)
	}
	if err := ix.touch(e.valueAt, e.valueAt+e.length); err != nil {
		return nil, err
	}
	return ix.file[e.valueAt : e.valueAt+e.length], nil
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
