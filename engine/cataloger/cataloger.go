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
)

// Cataloger reads one kind of file.
type Cataloger struct {
	Name string
	// Names are those of the paths that Wants is asked about: base names
	// ("status") and their extensions (".jar"), in lower case, whatever the
	// path's, and the name of the directory that a file is in ("status.d/").
	// Without any, Wants is asked about each of the 100,000 paths of an image.
	Names []string
	// Wants chooses by the clean path; nil when the content decides.
	Wants func(path string) bool
	// Sniff chooses by the first bytes (up to HeadSize), when no cataloger
	// wants the path.
	Sniff func(head []byte) bool
	// Database is true when the file is a database of packages: what cannot be
	// read of it is a blind gap.
	Database bool
	// Lock is true for lock files: what they name may not be installed, and
	// nobody asks which system package brought them.
	Lock bool
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
	maxLock     = 8 << 20
	maxArchive  = 256 << 20
	maxJava     = 4 << 30
	maxManifest = 4 << 20
	maxRelease  = 64 << 10
)

// All is the table of what is read, in the order in which a path is offered.
var All = []*Cataloger{
	{Name: "dpkg", Names: []string{"status", "status.d/"}, Wants: isDpkgStatus, Database: true, MaxSize: maxDatabase, Read: readDpkgStatus},
	{Name: "dpkg-list", Names: []string{".list"}, Wants: isDpkgList, MaxSize: maxList, Read: readDpkgList},
	{Name: "apk", Names: []string{"installed"}, Wants: isApkInstalled, Database: true, MaxSize: maxDatabase, Read: readApkInstalled},
	{Name: "opkg", Names: []string{"status"}, Wants: isOpkgStatus, Database: true, MaxSize: maxDatabase, Read: readOpkgStatus},
	{Name: "opkg-list", Names: []string{".list"}, Wants: isOpkgList, MaxSize: maxList, Read: readDpkgList},
	{Name: "pacman", Names: []string{"desc"}, Wants: isPacmanDesc, Database: true, MaxSize: maxManifest, Read: readPacmanDesc},
	{Name: "pacman-files", Names: []string{"files"}, Wants: isPacmanFiles, MaxSize: maxList, Read: readPacmanFiles},
	{Name: "portage", Names: []string{"pf"}, Wants: isPortagePF, Database: true, MaxSize: maxManifest, Read: readPortagePF},
	{Name: "portage-contents", Names: []string{"contents"}, Wants: isPortageContents, MaxSize: maxList, Read: readPortageContents},
	{Name: "rpm", Names: []string{"packages", "packages.db", "rpmdb.sqlite"}, Wants: isRPMDatabase, Database: true, MaxSize: maxDatabase, ReadAt: readRPMDatabase, Beside: "-wal"},
	{Name: "os-release", Wants: isRelease, MaxSize: maxRelease, Read: readRelease},
	{Name: "passwd", Names: []string{"passwd"}, Wants: isPasswd, MaxSize: maxManifest, Read: readPasswd},
	{Name: "shadow", Names: []string{"shadow"}, Wants: isShadow, MaxSize: maxManifest, Read: readShadow},
	{Name: "group", Names: []string{"group"}, Wants: isGroup, MaxSize: maxManifest, Read: readGroup},
	{Name: "sudoers", Names: []string{"sudoers", "sudoers.d/"}, Wants: isSudoers, MaxSize: maxManifest, Read: readSudoers},
	{Name: "npm", Names: []string{"package.json"}, Wants: isPackageJSON, MaxSize: maxManifest, Read: readPackageJSON},
	{Name: "yarn-cache", Names: []string{".zip"}, Wants: isYarnArchive, MaxSize: maxArchive, ReadAt: readYarnArchive},
	{Name: "python", Names: []string{"metadata", "pkg-info", ".egg-info"}, Wants: isPythonMetadata, MaxSize: maxManifest, Read: readPythonMetadata},
	{Name: "python-egg", Names: []string{".egg"}, Wants: isEgg, MaxSize: maxArchive, ReadAt: readEgg},
	{Name: "gem", Names: []string{".gemspec"}, Wants: isGemspec, MaxSize: maxManifest, Read: readGemspec},
	{Name: "composer", Names: []string{"installed.json"}, Wants: isComposerInstalled, MaxSize: maxLock, Read: readComposerInstalled},
	{Name: "dotnet", Names: []string{".json"}, Wants: isDotnetDeps, MaxSize: maxLock, Read: readDotnetDeps},
	{Name: "r", Names: []string{"description"}, Wants: isRDescription, MaxSize: maxManifest, Read: readRDescription},
	{Name: "lock", Names: lockNames, Wants: isLock, Lock: true, MaxSize: maxLock, Read: readLock},
	{Name: "java", Names: javaEndings, Wants: isJavaArchive, MaxSize: maxJava, ReadAt: readJavaArchive},
	{Name: "erlang", Names: []string{"otp_version"}, Wants: isOTPVersion, MaxSize: maxRelease, Read: readOTPVersion},
	{Name: "unread", Names: []string{"db.sqlite"}, Wants: isUnread, ByPath: true, Read: readUnread},
	{Name: "java-runtime", Sniff: isJDKRelease, MaxSize: maxRelease, Read: readJDKRelease},
	{Name: "zip", Sniff: isZip, MaxSize: maxJava, ReadAt: readZip},
	{Name: "program", Sniff: isProgram, Read: readProgram},
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
