package advisory

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// assembler makes the value of each key from the records of that key, which
// come in order.
type assembler struct {
	w    *writer
	old  reuse
	key  []byte // of the index; empty before the first
	sort []byte // sort key of the last record
	rank uint64 // of the last record
	// parts are those that stay, one behind the other; ends is where each ends.
	// first is how many there were before those with the present sort key.
	parts []byte
	ends  []int
	first int
}

// maxKeyParts bounds what is said of one package, in bytes.
const maxKeyParts = 512 << 20

// add takes the next record: of several with one sort key those of the highest
// rank stay, each once, and of scores one.
func (a *assembler) add(r record) error {
	key, _ := splitSortKey(r.key)
	if isNote(key) {
		return nil
	}
	if !bytes.Equal(key, a.key) {
		if err := a.flush(); err != nil {
			return err
		}
		a.key = append(a.key[:0], key...)
	}
	switch {
	case len(a.ends) == 0 || !bytes.Equal(r.key, a.sort):
		a.sort = append(a.sort[:0], r.key...)
		a.first = len(a.ends)
	case r.rank > a.rank:
		a.ends = a.ends[:a.first]
		a.parts = a.parts[:a.size()]
	case isScore(key) || bytes.Equal(a.part(len(a.ends)-1), r.part):
		return nil
	}
	a.rank = r.rank
	if len(a.parts)+len(r.part) > maxKeyParts {
		return fmt.Errorf("advisories of %.200q have more than %d bytes", key, maxKeyParts)
	}
	a.parts = append(a.parts, r.part...)
	a.ends = append(a.ends, len(a.parts))
	return nil
}

// isScore reports whether a key of the index is that of a score.
func isScore(key []byte) bool { return len(key) > 0 && key[0] == 0 }

func (a *assembler) size() int {
	if len(a.ends) == 0 {
		return 0
	}
	return a.ends[len(a.ends)-1]
}

func (a *assembler) part(i int) []byte {
	if i == 0 {
		return a.parts[:a.ends[0]]
	}
	return a.parts[a.ends[i-1]:a.ends[i]]
}

// flush writes the key whose records have all come.
func (a *assembler) flush() error {
	if len(a.ends) == 0 {
		return nil
	}
	hash := a.hash()
	value, ok := a.old.value(a.key, hash)
	if !ok {
		var err error
		if value, err = a.value(); err != nil {
			return fmt.Errorf("%.200q: %w", a.key, err)
		}
	}
	if err := a.w.put(a.key, value, hash); err != nil {
		return err
	}
	a.parts, a.ends, a.first, a.sort = a.parts[:0], a.ends[:0], 0, a.sort[:0]
	if cap(a.parts) > arenaSize {
		a.parts = nil
	}
	return nil
}

// hash is the first 64 bits of the SHA-256 over all parts with their lengths.
func (a *assembler) hash() uint64 {
	sum := sha256.New()
	var length [8]byte
	for i := range a.ends {
		part := a.part(i)
		binary.LittleEndian.PutUint64(length[:], uint64(len(part)))
		sum.Write(length[:])
		sum.Write(part)
	}
	return binary.LittleEndian.Uint64(sum.Sum(nil))
}

// value joins the parts. A single one is a value already.
func (a *assembler) value() ([]byte, error) {
	if len(a.ends) == 1 {
		return a.parts, nil
	}
	e := newEncoder()
	n := 0
	for i := range a.ends {
		advisories, err := decodeValue("", a.part(i))
		if err != nil {
			return nil, err
		}
		for j := range advisories {
			e.advisory(&advisories[j])
		}
		n += len(advisories)
	}
	return e.value(n), nil
}

// reuse walks an older index beside the keys of the new one.
type reuse struct {
	index *Index // nil: there is none
	at    uint64
}

// value is what the older index has for a key, if it was made from the same
// parts. Damage there only means that nothing is reused. Keys come in order.
func (r *reuse) value(key []byte, hash uint64) ([]byte, bool) {
	if r.index == nil {
		return nil, false
	}
	r.index.mu.RLock()
	defer r.index.mu.RUnlock()
	if r.index.file == nil {
		return nil, false
	}
	for ; r.at < r.index.header.keys; r.at++ {
		e, found, err := r.index.entry(r.at)
		if err != nil {
			return nil, false
		}
		switch bytes.Compare(found, key) {
		case -1:
			continue
		case 0:
			if e.hash != hash {
				return nil, false
			}
			value, err := r.index.value(e)
			return bytes.Clone(value), err == nil
		}
		break
	}
	return nil, false
}
