package inventory

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// EntryKind is the kind of a path that a layer creates.
type EntryKind byte

const (
	File      EntryKind = 'f' // regular file
	Dir       EntryKind = 'd'
	Symlink   EntryKind = 'l'
	Special   EntryKind = 's' // device, fifo, socket: exists, cannot be read
	Whiteout  EntryKind = 'w' // the path was deleted from the layers below
	OpaqueDir EntryKind = 'o' // what the layers below hold in this directory is hidden
)

// Entry is one path that a layer creates or deletes. Hard links are Files.
type Entry struct {
	Path string // cleaned, relative, no leading slash, "" is the root
	Kind EntryKind
	Link string // target of a Symlink as written; of a hard link, cleaned
	// Mode is the permission bits with setuid, setgid and sticky: 0o7777.
	Mode     uint32
	UID, GID uint32
	Size     int64
	// Sum is the SHA-256 of a regular file's content; zero when the content was
	// not hashed. A hard link has that of its target, if it is in this layer.
	Sum [32]byte
	// Caps is the file's capability attribute (security.capability) as hex; "" when it has none.
	Caps string
}

// HasSum reports whether the content was hashed.
func (e *Entry) HasSum() bool { return e.Sum != [32]byte{} }

// Entries is the list of a layer's entries, in the order of the tar, packed: a
// path shares the beginning of the one before it. A hundred thousand files take
// some six megabytes. The zero value is empty. Reading is safe for concurrent
// use, Append is not.
type Entries struct {
	packed []byte
	count  int
	last   string // the path that was appended last
}

// Bits of a packed entry's head, after its kind.
const (
	hasLink = 1 << iota
	hasSum
	hasCaps
	hasOwner
)

// Len is the number of entries.
func (es *Entries) Len() int { return es.count }

// Bytes is what the packed list takes in memory.
func (es *Entries) Bytes() int { return len(es.packed) }

// Append adds an entry.
func (es *Entries) Append(e Entry) {
	flags := byte(0)
	for _, bit := range []struct {
		set  bool
		flag byte
	}{{e.Link != "", hasLink}, {e.HasSum(), hasSum}, {e.Caps != "", hasCaps}, {e.UID != 0 || e.GID != 0, hasOwner}} {
		if bit.set {
			flags |= bit.flag
		}
	}
	shared := sharedPrefix(es.last, e.Path)
	b := append(es.packed, byte(e.Kind), flags)
	b = binary.AppendUvarint(b, uint64(shared))
	b = appendText(b, e.Path[shared:])
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.Size))
	if flags&hasOwner != 0 {
		b = binary.AppendUvarint(b, uint64(e.UID))
		b = binary.AppendUvarint(b, uint64(e.GID))
	}
	if flags&hasLink != 0 {
		b = appendText(b, e.Link)
	}
	if flags&hasSum != 0 {
		b = append(b, e.Sum[:]...)
	}
	if flags&hasCaps != 0 {
		b = appendText(b, e.Caps)
	}
	es.packed, es.last = b, e.Path
	es.count++
}

// All gives every entry in turn.
func (es *Entries) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		u := unpacker{rest: es.packed}
		for range es.count {
			e, ok := u.next()
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// errEntries: a packed list is not what Append makes.
var errEntries = errors.New("packed entries are damaged")

// MarshalJSON writes the packed list as one base64 text.
func (es Entries) MarshalJSON() ([]byte, error) { return json.Marshal(es.packed) }

// UnmarshalJSON reads what MarshalJSON wrote, and checks it.
func (es *Entries) UnmarshalJSON(b []byte) error {
	var packed []byte
	if err := json.Unmarshal(b, &packed); err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	u := unpacker{rest: packed}
	n := 0
	for ; len(u.rest) > 0; n++ {
		if _, ok := u.next(); !ok {
			return errEntries
		}
	}
	*es = Entries{packed: packed, count: n, last: u.last}
	return nil
}

// unpacker reads a packed list from its beginning.
type unpacker struct {
	rest []byte
	last string
	bad  bool
}

func (u *unpacker) next() (e Entry, ok bool) {
	head := u.take(2)
	if u.bad {
		return e, false
	}
	e.Kind = EntryKind(head[0])
	shared := u.number()
	if shared > uint64(len(u.last)) {
		return e, false
	}
	e.Path = u.last[:shared] + u.text()
	e.Mode = uint32(u.number())
	e.Size = int64(u.number())
	if head[1]&hasOwner != 0 {
		e.UID, e.GID = uint32(u.number()), uint32(u.number())
	}
	if head[1]&hasLink != 0 {
		e.Link = u.text()
	}
	if head[1]&hasSum != 0 {
		copy(e.Sum[:], u.take(len(e.Sum)))
	}
	if head[1]&hasCaps != 0 {
		e.Caps = u.text()
	}
	u.last = e.Path
	return e, !u.bad
}

func (u *unpacker) number() uint64 {
	n, size := binary.Uvarint(u.rest)
	if size <= 0 {
		u.bad, u.rest = true, nil
		return 0
	}
	u.rest = u.rest[size:]
	return n
}

func (u *unpacker) text() string { return string(u.take(int(min(u.number(), 1<<30)))) }

func (u *unpacker) take(n int) []byte {
	if n > len(u.rest) {
		u.bad, u.rest = true, nil
		return nil
	}
	b := u.rest[:n]
	u.rest = u.rest[n:]
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
