// Package cataloger reads the files of an image that tell of packages: one file
// of this package for each ecosystem, one Cataloger for each kind of file.
//
// It knows one file at a time, as a stream that is read once, and neither
// layers, images nor distributions. Start with All, the table of what is read.
package cataloger

import (
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// Cataloger reads one kind of file.
type Cataloger struct {
	Name string
	// Wants chooses by the clean path; nil when the content decides.
	Wants func(path string) bool
	// Sniff chooses by the first bytes (up to HeadSize), when no cataloger
	// wants the path.
	Sniff func(head []byte) bool
	// Database is true when the file is a database of packages: what cannot be
	// read of it is a blind gap.
	Database bool
	// ByPath is true when the path says all: Read gets no content.
	ByPath bool
	// MaxSize is how much of the file is read, in bytes; 0 means all of it.
	MaxSize int64
	// Read adds what the file tells to the result. Content that cannot be
	// understood is a gap there. An error of the reader ends the file; the
	// caller knows of it.
	Read func(r io.Reader, out *Result)
	// ReadAt stands in place of Read where a file cannot be read from its
	// beginning to its end (databases, zip files). The caller holds the content
	// in memory or in an unlinked file; a file larger than MaxSize is a gap and
	// is not offered.
	ReadAt func(f File, out *Result)
	// Beside is the suffix of a second file that belongs to this one
	// ("-wal"): it is handed over as File.Beside when the same layer has it.
	Beside string
}

// File is the content of one file, for reading in any order.
type File struct {
	io.ReaderAt
	Size int64
	// Beside is the file that the cataloger asked for beside this one; its
	// ReaderAt is nil when the layer has none.
	Beside *File
}

// HeadSize is how many bytes of a file Sniff may see.
const HeadSize = 16

// Sizes of what is read, in bytes. The largest lawful files known are 100 times
// smaller.
const (
	maxDatabase = 1 << 30
	maxList     = 64 << 20
	maxManifest = 4 << 20
	maxRelease  = 64 << 10
)

// All is the table of what is read, in the order in which a path is offered.
var All = []*Cataloger{
	{Name: "dpkg", Wants: isDpkgStatus, Database: true, MaxSize: maxDatabase, Read: readDpkgStatus},
	{Name: "dpkg-list", Wants: isDpkgList, MaxSize: maxList, Read: readDpkgList},
	{Name: "apk", Wants: isApkInstalled, Database: true, MaxSize: maxDatabase, Read: readApkInstalled},
	{Name: "os-release", Wants: isRelease, MaxSize: maxRelease, Read: readRelease},
	{Name: "npm", Wants: isPackageJSON, MaxSize: maxManifest, Read: readPackageJSON},
	{Name: "python", Wants: isPythonMetadata, MaxSize: maxManifest, Read: readPythonMetadata},
	{Name: "unread", Wants: isUnread, ByPath: true, Read: readUnread},
	{Name: "go", Sniff: isProgram, Read: readGoProgram},
}

// ForPath gives the cataloger that wants a file for its path, or nil.
func ForPath(path string) *Cataloger {
	for _, c := range All {
		if c.Wants != nil && c.Wants(path) {
			return c
		}
	}
	return nil
}

// ForContent gives the cataloger that wants a file for its first bytes, or nil.
func ForContent(head []byte) *Cataloger {
	for _, c := range All {
		if c.Sniff != nil && c.Sniff(head) {
			return c
		}
	}
	return nil
}

// isAt reports whether p is name or ends with it, at an element's border.
func isAt(p, name string) bool {
	return strings.HasSuffix(p, name) && (len(p) == len(name) || p[len(p)-len(name)-1] == '/')
}

// isIn reports whether p is directly in a directory of that name.
func isIn(p, dir string) bool { return isAt(path.Dir(p), dir) }

// isUnder reports whether p is below a directory of that name, at any depth.
func isUnder(p, dir string) bool {
	return strings.HasPrefix(p, dir+"/") || strings.Contains(p, "/"+dir+"/")
}

// mayBeProgram chooses the claims of a package database that are worth keeping:
// those of files that a language package can come from.
func mayBeProgram(p string) bool {
	base := path.Base(p)
	switch {
	case base == "METADATA" || base == "PKG-INFO" || base == "package.json" || strings.HasSuffix(base, ".egg-info"):
		return true
	case isUnder(p, "bin") || isUnder(p, "sbin") || isUnder(p, "libexec"):
		return true
	}
	return !strings.Contains(base, ".") && !isUnder(p, "usr/share") && !isUnder(p, "usr/include") && !isUnder(p, "etc")
}

// addOwned keeps a claim if it is worth it.
func (r *Result) addOwned(pkg, file string) {
	if pkg == "" || !mayBeProgram(file) {
		return
	}
	if len(r.Owned) >= r.limits.Owned {
		r.gap(inventory.Partial, "too-many-owned-files", "more files are claimed than are kept; some language packages may not be known as the distribution's")
		return
	}
	clean, _ := inventory.CleanPath(inventory.DatabaseRoot(r.Path) + file)
	r.Owned = append(r.Owned, inventory.Owned{Package: inventory.Printable(pkg), Path: clean, Database: r.Path})
}
