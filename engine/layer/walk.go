package layer

import (
	"archive/tar"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/cataloger"
	"github.com/pratique/pratique/engine/inventory"
)

// Names by which a layer deletes. Other names that begin with whiteoutMeta are
// bookkeeping of AUFS.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts
const (
	whiteout     = ".wh."
	whiteoutMeta = ".wh..wh."
	opaque       = ".wh..wh..opq"
)

// replay is a stream of which the first bytes have been read already.
type replay struct {
	head []byte
	*unpacked
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.unpacked.Read(p)
}

// errLimit ends a walk; the gap is recorded.
var errLimit = errors.New("limit reached")

// stream is what walk reads: bytes that end, and say what ended them.
type stream interface {
	io.Reader
	ended() error
	rest() (dirty bool)
}

// ended gives what ended the stream, nil while it goes on.
func (u *unpacked) ended() error { return u.failure }

// walk reads the tar entry by entry and the stream to its end. What is wrong
// with the tar is recorded; what is wrong with the stream is the caller's.
func (rec *recorder) walk(in stream) {
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == nil {
			err = rec.entry(h, tr)
		}
		switch {
		case err == nil:
			continue
		case err == io.EOF:
			if in.rest() {
				rec.gap(inventory.Partial, "tar-trailing-data", "", "there are data after the end of the tar, which no runtime unpacks")
			}
		case errors.Is(err, errLimit):
			in.rest()
		case in.ended() == nil || in.ended() == io.EOF:
			rec.gap(inventory.Blind, "tar-invalid", "", fmt.Sprintf("the tar cannot be read to its end: %v", err))
			in.rest()
		}
		return
	}
}

// entry records one entry of the tar.
func (rec *recorder) entry(h *tar.Header, body io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, climbs := inventory.CleanPath(h.Name)
	if climbs {
		rec.gap(inventory.Partial, "path-climbs", "", "an entry's path climbs out of the root: "+shorten(h.Name))
	}
	if len(h.Name) > rec.limits.PathLength || len(h.Linkname) > rec.limits.PathLength {
		rec.gap(inventory.Partial, "path-too-long", "", "an entry's path is too long to be unpacked: "+shorten(h.Name))
		return nil
	}
	if name == "" {
		return nil // the root is there already
	}
	if base := path.Base(name); strings.HasPrefix(base, whiteout) {
		return rec.whiteout(name, base)
	}
	rec.forget(name) // the last entry of a name wins
	e := inventory.Entry{Path: name, Mode: uint32(h.Mode) & 0o7777, UID: id(h.Uid), GID: id(h.Gid)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return rec.regular(e, h, body)
	case tar.TypeDir:
		e.Kind = inventory.Dir
	case tar.TypeSymlink:
		e.Kind, e.Link = inventory.Symlink, inventory.Printable(h.Linkname)
	case tar.TypeLink:
		e.Kind = inventory.File
		e.Link, _ = inventory.CleanPath(h.Linkname)
		return rec.hardLink(e, h.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		e.Kind = inventory.Special
	default:
		e.Kind = inventory.Special
		rec.gap(inventory.Partial, "entry-type-unknown", name, fmt.Sprintf("an entry of type %q, which no runtime unpacks", h.Typeflag))
	}
	return rec.add(e)
}

// regular records a file when its content has gone by.
func (rec *recorder) regular(e inventory.Entry, h *tar.Header, body io.Reader) error {
	e.Kind, e.Size = inventory.File, h.Size
	if caps := h.PAXRecords["SCHILY.xattr.security.capability"]; len(caps) <= maxCaps {
		e.Caps = hex.EncodeToString([]byte(caps))
	}
	if err := rec.room(&e); err != nil {
		return err
	}
	if rec.affords(h) {
		rec.read(&e, h.Size, body)
	} else {
		rec.gap(inventory.Blind, "sparse-too-large", e.Path, "the layer's sparse files claim more bytes than this version reads")
	}
	rec.report.Entries.Append(e)
	return nil
}

// maxCaps is the length of the longest form of the capability attribute, in
// bytes: vfs_ns_cap_data of linux/capability.h.
const maxCaps = 24

// id brings an owner into the bounds that the kernel has for it.
func id(n int) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// affords reports whether a file may be read. A sparse one can claim any size
// at no cost of stored bytes, so those have a budget of their own.
func (rec *recorder) affords(h *tar.Header) bool {
	sparse := h.Typeflag == tar.TypeGNUSparse
	for key := range h.PAXRecords {
		sparse = sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	if !sparse {
		return true
	}
	rec.sparse += min(h.Size, rec.limits.FreeBytes)
	return h.Size <= rec.limits.FreeBytes && rec.sparse <= rec.limits.FreeBytes
}

// whiteout records a deletion. Names that would delete a directory by its own
// name or its parent's are no deletions.
func (rec *recorder) whiteout(name, base string) error {
	dir := strings.TrimSuffix(strings.TrimSuffix(name, base), "/")
	if base == opaque {
		return rec.add(inventory.Entry{Path: dir, Kind: inventory.OpaqueDir})
	}
	target := strings.TrimPrefix(base, whiteout)
	if target == "" || target == "." || target == ".." || strings.HasPrefix(base, whiteoutMeta) {
		rec.gap(inventory.Partial, "whiteout-odd", "", "a whiteout that deletes nothing: "+shorten(name))
		return nil
	}
	return rec.add(inventory.Entry{Path: path.Join(dir, target), Kind: inventory.Whiteout})
}

// hardLink gives a name of its own to what was learnt from a file of this layer.
func (rec *recorder) hardLink(e inventory.Entry, linkname string) error {
	if err := rec.add(e); err != nil {
		return err
	}
	wants := cataloger.ForPath(e.Path)
	known, ok := rec.learnt[e.Link]
	waits, pending := rec.waiting[e.Link]
	switch {
	case wants != nil && wants.ByPath:
		result := rec.result(e.Path)
		wants.Read(nil, result)
		rec.learn(e.Path, wants, result)
	case ok && (wants == nil && known.by.Wants == nil || wants == known.by):
		rec.learn(e.Path, known.by, known.result.At(e.Path))
	case pending && wants == waits.by:
		rec.links = append(rec.links, hardLink{e.Path, e.Link})
	case wants != nil:
		rec.fileGap(wants, "hardlink-unread", e.Path, "a hard link to a file that was not read in this layer: "+shorten(linkname))
	}
	return nil
}

// shorten makes a name fit for a gap's detail.
func shorten(name string) string {
	if len(name) > 200 {
		name = name[:200] + "..."
	}
	return inventory.Printable(name)
}
