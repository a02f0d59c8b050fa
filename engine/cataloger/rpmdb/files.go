package rpmdb

import (
	"bytes"
	"encoding/binary"
)

// Flags of a file, as Files gives them: lib/rpmfiles.h of rpm.
const (
	FlagConfig  = 1 << 0
	FlagDoc     = 1 << 1
	FlagGhost   = 1 << 6 // belongs to the package, but the package does not bring it
	FlagLicense = 1 << 7
)

const (
	// maxPath is PATH_MAX of Linux, in bytes.
	maxPath = 4096
	// pathBytes is how many bytes of paths a byte of the header may give. Files
	// share their directories' names, so a small header could list gigabytes;
	// real ones are longer than their paths.
	pathBytes = 16
)

// Files gives the files of the package until yield returns false: the absolute
// path, the flags, the mode as stat has it, and the digest in hexadecimal
// (empty for what is no regular file; its length tells the algorithm). Flags,
// mode and digest are zero when the header has none.
//
// It may be called only until the function that was given the package returns.
// The error says that the list is damaged or too long, and so is not complete.
func (p *Package) Files(yield func(path string, flags uint32, mode uint16, digest string) bool) error {
	l, err := p.header.fileList(p.maxFiles)
	if err != nil {
		return err
	}
	var path []byte
	room := pathBytes*len(p.header.data) + maxPath
	for i := range l.count {
		if path, err = l.path(path[:0], i); err != nil {
			return err
		}
		if room -= len(path); room < 0 {
			return damagef("the paths of %d files are far longer than the header", l.count)
		}
		digest, ok := l.digests.next()
		if !ok {
			return damagef("the digest of file %d has no end", i)
		}
		var flags uint32
		if l.flags != nil {
			flags = binary.BigEndian.Uint32(l.flags[4*i:])
		}
		var mode uint16
		if l.modes != nil {
			mode = binary.BigEndian.Uint16(l.modes[2*i:])
		}
		if !yield(string(path), flags, mode, string(digest)) {
			return nil
		}
	}
	return nil
}

// fileList is the lists of a header that run in parallel, one element for each
// file. Those that the header has not are nil.
type fileList struct {
	count   int
	names   texts  // base names, or whole paths when there are no dirs
	dirs    []byte // of the directories' names
	starts  []uint32
	indexes []byte // of a file's directory
	flags   []byte
	modes   []byte
	digests texts
}

// fileList opens the lists. Old packages have whole paths, all others base
// names with directories beside them.
func (h *header) fileList(most int) (l fileList, err error) {
	names := uint32(tagBaseNames)
	if !h.has(names) {
		names = tagOldFileNames
	}
	if !h.has(names) {
		return l, nil
	}
	count := h.entry(names).count
	if int64(count) > int64(most) {
		return l, damagef("header entry %d lists %d files, more than %d", names, count, most)
	}
	if l.names, err = h.texts(names, count); err != nil {
		return l, err
	}
	if names == tagBaseNames {
		if err = h.directories(&l, count); err != nil {
			return l, err
		}
	}
	if l.flags, err = h.numbers(tagFileFlags, typeInt32, count); err != nil {
		return l, err
	}
	if l.modes, err = h.numbers(tagFileModes, typeInt16, count); err != nil {
		return l, err
	}
	l.digests, err = h.texts(tagFileDigests, count)
	l.count = int(count)
	return l, err
}

// directories opens the directories of so many files; there are never more of
// them than files.
func (h *header) directories(l *fileList, files uint32) (err error) {
	dirs := h.entry(tagDirNames).count
	if !h.has(tagDirNames) || !h.has(tagDirIndexes) || dirs > files {
		return damagef("header lists %d directories for %d files", dirs, files)
	}
	if l.indexes, err = h.numbers(tagDirIndexes, typeInt32, files); err != nil {
		return err
	}
	names, err := h.texts(tagDirNames, dirs)
	if err != nil {
		return err
	}
	l.dirs = names.rest
	for range dirs {
		l.starts = append(l.starts, uint32(len(l.dirs)-len(names.rest)))
		if _, ok := names.next(); !ok {
			return damagef("header lists %d directories and has fewer", dirs)
		}
	}
	return nil
}

// path appends the path of file i; to be called for one file after the other.
func (l *fileList) path(to []byte, i int) ([]byte, error) {
	base, ok := l.names.next()
	if !ok {
		return nil, damagef("the name of file %d has no end", i)
	}
	if l.indexes != nil {
		n := binary.BigEndian.Uint32(l.indexes[4*i:])
		if int64(n) >= int64(len(l.starts)) {
			return nil, damagef("file %d is in directory %d of %d", i, n, len(l.starts))
		}
		dir := l.dirs[l.starts[n]:]
		dir = dir[:bytes.IndexByte(dir[:min(len(dir), maxPath)], 0)+1]
		if len(dir) == 0 {
			return nil, damagef("the directory of file %d is too long", i)
		}
		to = append(to, dir[:len(dir)-1]...)
	}
	if len(to)+len(base) > maxPath {
		return nil, damagef("the path of file %d is too long", i)
	}
	return append(to, base...), nil
}

// texts is a list of strings, each ended by a zero byte.
type texts struct {
	rest   []byte
	absent bool
}

func (t *texts) next() (text []byte, ok bool) {
	if t.absent {
		return nil, true
	}
	end := bytes.IndexByte(t.rest, 0)
	if end < 0 {
		return nil, false
	}
	text, t.rest = t.rest[:end], t.rest[end+1:]
	return text, true
}

// texts gives an entry's list of so many strings.
func (h *header) texts(tag, count uint32) (texts, error) {
	e := h.entry(tag)
	switch {
	case e.kind == 0:
		return texts{absent: true}, nil
	case e.kind != typeStringArray || e.count != count:
		return texts{}, damagef("header entry %d has type %d and count %d for %d files", tag, e.kind, e.count, count)
	}
	return texts{rest: h.data[e.offset:]}, nil
}

// numbers gives an entry's list of so many numbers, nil when there is none.
func (h *header) numbers(tag, kind, count uint32) ([]byte, error) {
	e := h.entry(tag)
	if e.kind == 0 {
		return nil, nil
	}
	width := int64(4)
	if kind == typeInt16 {
		width = 2
	}
	size := width * int64(count)
	if e.kind != kind || e.count != count || int64(e.offset)+size > int64(len(h.data)) {
		return nil, damagef("header entry %d has type %d and count %d for %d files", tag, e.kind, e.count, count)
	}
	return h.data[e.offset:][:size], nil
}
