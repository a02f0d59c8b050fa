package rpmdb

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Package is one installed package. Its strings are its own; they may hold
// whatever the author of the database liked, control characters too.
type Package struct {
	Name    string
	Epoch   string // decimal; empty when the header has none, which compares as 0
	Version string
	Release string
	Arch    string // empty for keys
	// SourceRPM is the file name of the source package; see SourceName.
	SourceRPM       string
	License         string
	Vendor          string
	ModularityLabel string // name:stream:version:context, of modular packages
	Size            int64  // bytes of all files, as the package says
	InstallTime     int64  // Unix time in seconds

	header   header
	maxFiles int
}

// IsKey reports whether the entry is a key that rpm trusts and no package.
func (p *Package) IsKey() bool { return p.Name == "gpg-pubkey" }

// Types of entries, and tags: "Header format" of rpm's reference manual
// (rpm.org), lib/rpmtag.h.
const (
	typeInt16       = 3
	typeInt32       = 4
	typeInt64       = 5
	typeString      = 6
	typeStringArray = 8
	typeI18NString  = 9

	tagName            = 1000
	tagVersion         = 1001
	tagRelease         = 1002
	tagEpoch           = 1003
	tagInstallTime     = 1008
	tagSize            = 1009
	tagVendor          = 1011
	tagLicense         = 1014
	tagArch            = 1022
	tagOldFileNames    = 1027
	tagFileModes       = 1030
	tagFileDigests     = 1035
	tagFileFlags       = 1037
	tagSourceRPM       = 1044
	tagDirIndexes      = 1116
	tagBaseNames       = 1117
	tagDirNames        = 1118
	tagLongSize        = 5009
	tagModularityLabel = 5096
)

// wanted lists the tags that are kept of a header; an entry's place is the
// tag's place here.
var wanted = [...]uint32{
	tagName, tagVersion, tagRelease, tagEpoch, tagInstallTime, tagSize, tagVendor,
	tagLicense, tagArch, tagOldFileNames, tagFileModes, tagFileDigests, tagFileFlags,
	tagSourceRPM, tagDirIndexes, tagBaseNames, tagDirNames, tagLongSize, tagModularityLabel,
}

const (
	headerIntro = 8       // bytes: number of entries, size of the data
	headerEntry = 16      // bytes: tag, type, offset, count
	maxEntries  = 1 << 16 // rpm's own limit
	maxText     = 1 << 16 // bytes of one string; licences of a few thousand exist
)

// header is the binary form of a package's fields: an index whose entries point
// into the data.
type header struct {
	data    []byte
	entries [len(wanted)]entry
	err     error // the first thing that was wrong
}

type entry struct{ kind, offset, count uint32 }

// ParseHeader reads one header as rpm keeps it in its databases: without the
// magic that begins it in a package file. The package refers to blob for its
// file list.
func ParseHeader(blob []byte, limits Limits) (*Package, error) {
	h, err := openHeader(blob)
	if err != nil {
		return nil, err
	}
	p := &Package{
		Name:            h.text(tagName),
		Version:         h.text(tagVersion),
		Release:         h.text(tagRelease),
		Epoch:           h.decimal(tagEpoch),
		Arch:            h.text(tagArch),
		SourceRPM:       h.text(tagSourceRPM),
		License:         h.text(tagLicense),
		Vendor:          h.text(tagVendor),
		ModularityLabel: h.text(tagModularityLabel),
		InstallTime:     h.number(tagInstallTime),
		Size:            h.number(tagLongSize),
		maxFiles:        limits.Files,
	}
	if !h.has(tagLongSize) {
		p.Size = h.number(tagSize)
	}
	if p.SourceRPM == "(none)" {
		p.SourceRPM = "" // so says rpm of keys
	}
	if h.err == nil && (p.Name == "" || p.Version == "" || p.Release == "") {
		h.err = damagef("header without name, version or release")
	}
	if h.err != nil {
		return nil, h.err
	}
	p.header = h
	return p, nil
}

// openHeader finds the wanted entries. A header may begin with a region, the
// entries that were signed, whose own entry and trailer are not wanted; rpm
// appends entries behind it at installation, and they replace those of the
// region: the last of a tag holds.
func openHeader(blob []byte) (header, error) {
	if len(blob) < headerIntro {
		return header{}, damagef("header of %d bytes", len(blob))
	}
	entries, size := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	if entries == 0 || entries >= maxEntries || headerIntro+headerEntry*int64(entries)+int64(size) != int64(len(blob)) {
		return header{}, damagef("header of %d bytes claims %d entries and %d bytes of data", len(blob), entries, size)
	}
	index := blob[headerIntro:][:headerEntry*entries]
	h := header{data: blob[headerIntro+len(index):]}
	for ; len(index) > 0; index = index[headerEntry:] {
		place := placeOf(binary.BigEndian.Uint32(index))
		if place < 0 {
			continue
		}
		e := entry{binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])}
		if e.kind == 0 || e.count == 0 || int64(e.offset) >= int64(size) {
			return header{}, damagef("header entry %d has type %d, offset %d and count %d", wanted[place], e.kind, e.offset, e.count)
		}
		h.entries[place] = e
	}
	return h, nil
}

func placeOf(tag uint32) int {
	for i, w := range wanted {
		if w == tag {
			return i
		}
	}
	return -1
}

// entry gives the entry of a tag; its kind is 0 when the header has none.
func (h *header) entry(tag uint32) entry { return h.entries[placeOf(tag)] }

func (h *header) has(tag uint32) bool { return h.entry(tag).kind != 0 }

func (h *header) fail(tag uint32, what string) {
	if h.err == nil {
		h.err = damagef("header entry %d %s", tag, what)
	}
}

// text gives the first string of an entry, or "".
func (h *header) text(tag uint32) string {
	e := h.entry(tag)
	switch e.kind {
	case 0:
		return ""
	case typeString, typeStringArray, typeI18NString:
	default:
		h.fail(tag, "is no string")
		return ""
	}
	rest := h.data[e.offset:]
	end := bytes.IndexByte(rest[:min(len(rest), maxText)], 0)
	if end < 0 {
		h.fail(tag, "has no end, or is too long")
		return ""
	}
	return string(rest[:end])
}

// number gives the first number of an entry, or 0.
func (h *header) number(tag uint32) int64 {
	e := h.entry(tag)
	rest := h.data[e.offset:] // all of it when there is no entry
	switch {
	case e.kind == 0:
		return 0
	case e.kind == typeInt32 && len(rest) >= 4:
		return int64(binary.BigEndian.Uint32(rest))
	case e.kind == typeInt64 && len(rest) >= 8:
		if n := int64(binary.BigEndian.Uint64(rest)); n >= 0 {
			return n
		}
	}
	h.fail(tag, "is no number")
	return 0
}

// decimal gives the number of an entry in decimal, "" when the header has none.
func (h *header) decimal(tag uint32) string {
	if !h.has(tag) {
		return ""
	}
	return strconv.FormatInt(h.number(tag), 10)
}
