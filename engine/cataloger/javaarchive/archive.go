// Package javaarchive finds the components that a Java archive holds: its own
// and those that were packed into it, at any depth of archives in archives.
//
// It knows zip archives and Maven's and OSGi's metadata, and neither images nor
// layers. Start with Read.
package javaarchive

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Component is one component found in an archive.
type Component struct {
	Group, Artifact, Version string // Group is empty when nothing tells it
	// Inner is the place within the outermost archive, "!/" between archives.
	// It is empty when the outermost archive's name alone told of it.
	Inner   string
	License string // as the metadata spell it
	ByName  bool   // the file name alone tells the version
}

// Problem is something that could not be read; its code is short and stable.
type Problem struct{ Code, Detail string }

// Codes of problems.
const (
	CodeInvalid     = "archive-invalid"   // no zip archive, or a damaged one
	CodeTooDeep     = "archive-too-deep"  // Limits.Depth
	CodeTooLarge    = "archive-too-large" // Limits.Free, Ratio, Bytes
	CodeTooMany     = "archive-too-many"  // Limits.Archives, Entries, Kept, Places
	CodeLong        = "archive-long"      // a name or a description is longer than is read
	CodeSpool       = "archive-spool"     // no room for a temporary file
	CodeCoordinates = "java-coordinates"  // classes of an unknown component
)

// Limits bound what one outermost archive may cost. What is beyond them is a
// Problem.
type Limits struct {
	Depth    int   // archives in archives
	Archives int   // archives that are opened in a small archive; a larger one may have one more for each archiveSize
	Entries  int   // lines of all directories
	Kept     int64 // bytes of memory for the entries that matter, of all archives open at once
	Places   int64 // bytes of all Component.Inner
	Free     int64 // bytes of nested archives for which any ratio is lawful
	Ratio    int64 // bytes of nested archives for one byte of the outermost
	Bytes    int64 // bytes of nested archives, whatever the ratio
	Metadata int64 // bytes of descriptions beyond Ratio
	Memory   int64 // bytes of nested archives held in memory; the rest is in unlinked files
}

// DefaultLimits are far above any lawful archive that is known.
var DefaultLimits = Limits{
	Depth: 16, Archives: 64, Entries: 4_000_000, Kept: 64 << 20, Places: 4 << 20,
	Free: 8 << 20, Ratio: 16, Metadata: 256 << 10, Bytes: 8 << 30, Memory: 16 << 20,
}

// Sizes of what is read, in bytes.
const (
	maxMetadata = 256 << 10 // of a pom.properties, pom.xml or MANIFEST.MF
	maxPlace    = 4096      // of a place in the outermost archive
	maxLicense  = 200       // longer ones are the text, not its name
	archiveSize = 256       // of the smallest archive that is worth its place
)

// Read reads the archive of the given size. name is its file's base name.
// Components are handed to found in the order in which they stand there; found
// ends the reading by returning false. Each code of a problem comes once, with
// the first that had it.
func Read(f io.ReaderAt, size int64, name string, limits Limits, found func(Component) bool) []Problem {
	lawful := limits.Ratio * min(size, limits.Bytes)
	r := &reader{limits: limits, found: found, bytes: min(limits.Bytes, limits.Free+lawful), described: limits.Metadata + lawful}
	r.archives = limits.Archives + int(size/archiveSize)
	err := r.archive(archive{ReaderAt: f, size: size, name: name})
	if err != nil && !errors.Is(err, errStop) {
		r.problem(CodeInvalid, "the archive could not be read: %v", err)
	}
	if r.nameless > 0 {
		r.problem(CodeCoordinates, "archives with classes do not tell their group, name or version, so they cannot be looked up: %d, one is %s", r.nameless, r.example)
	}
	return r.problems
}

// errStop ends the reading: found wants no more, or a limit was reached.
var errStop = errors.New("stop")

// reader reads one outermost archive and what is in it.
type reader struct {
	limits   Limits
	found    func(Component) bool
	problems []Problem

	// What may still be read:
	bytes     int64 // of nested archives
	described int64 // bytes of descriptions
	archives  int

	// What was read:
	entries  int
	held     int64  // bytes of nested archives in memory now
	kept     int64  // bytes of entries in memory now
	places   int64  // bytes of the places that were handed over
	nameless int    // archives that cannot be looked up
	example  string // one of them

	inflater io.ReadCloser // for descriptions
}

// archive is one archive, the outermost or a nested one.
type archive struct {
	io.ReaderAt
	size  int64
	name  string // of its file, without directories
	inner string // where it stands in the outermost archive; "" for that one
	depth int
}

// place gives the place of an entry in the outermost archive.
func (a archive) place(name string) string {
	if a.inner == "" {
		return name
	}
	return a.inner + "!/" + name
}

func (r *reader) problem(code, format string, args ...any) {
	for _, p := range r.problems {
		if p.Code == code {
			return
		}
	}
	r.problems = append(r.problems, Problem{code, fmt.Sprintf(format, args...)})
}

// contents is what of an archive's directory matters.
type contents struct {
	poms     []entry // pom.properties, wherever they stand
	models   []entry // pom.xml
	nested   []entry
	manifest *entry
	native   []string // components with settings for native images, "group/artifact"; two at most
	classes  bool
}

// archive reads one archive: the components that its metadata name, its own if
// they do not, and then the archives in it.
func (r *reader) archive(a archive) error {
	if r.archives--; r.archives < 0 {
		r.problem(CodeTooMany, "the archive holds more archives than are read; not read: %s and what comes after it", a.where())
		return errStop
	}
	before := r.kept
	defer func() { r.kept = before }()
	c, err := r.list(a)
	if err != nil {
		return err
	}
	if err := r.components(a, c); err != nil {
		return err
	}
	for _, e := range c.nested {
		if err := r.open(a, e); err != nil {
			return err
		}
	}
	return nil
}

// entryCost is about what an entry takes beside its name, in bytes.
const entryCost = 100

// list reads the directory of an archive.
func (r *reader) list(a archive) (*contents, error) {
	d, err := findDirectory(a, a.size)
	if err != nil {
		return nil, err
	}
	c := &contents{}
	err = d.walk(a, func(e entry) error { return r.keep(a, c, e) })
	if errors.Is(err, errDirectory) { // the entries before the damage are there
		r.problem(CodeInvalid, "%s: %v", a.where(), err)
		err = nil
	}
	return c, err
}

func (a archive) where() string {
	if a.inner == "" {
		return "the archive"
	}
	return shorten(a.inner)
}

// keep keeps an entry of an archive if it matters.
func (r *reader) keep(a archive, c *contents, e entry) error {
	if r.entries++; r.entries > r.limits.Entries {
		r.problem(CodeTooMany, "the archive has more than %d entries", r.limits.Entries)
		return errStop
	}
	base := path.Base(e.name)
	native, isNative := strings.CutPrefix(e.name, "META-INF/native-image/")
	isPOM, isManifest := base == "pom.properties", strings.EqualFold(e.name, "META-INF/MANIFEST.MF")
	isModel := base == "pom.xml" && strings.HasPrefix(e.name, "META-INF/maven/")
	switch {
	case strings.HasSuffix(e.name, "/"):
		return nil
	case isNative:
		c.native = addNative(c.native, native)
		return nil
	case !isPOM && !isManifest && !isModel && !IsArchive(base):
		c.classes = c.classes || strings.HasSuffix(base, ".class")
		return nil
	case len(a.place(e.name)) > maxPlace:
		r.problem(CodeLong, "%s has a name in it that is too long: %s", a.where(), shorten(e.name))
		return nil
	}
	if r.kept += int64(len(e.name)) + entryCost; r.kept > r.limits.Kept {
		r.problem(CodeTooMany, "%s holds more archives and Maven descriptions than are read", a.where())
		return errStop
	}
	switch {
	case isPOM:
		c.poms = append(c.poms, e)
	case isModel:
		c.models = append(c.models, e)
	case isManifest:
		c.manifest = &e
	default:
		c.nested = append(c.nested, e)
	}
	return nil
}

// addNative adds the component that a file of settings is for, once:
// "group/artifact/file".
func addNative(known []string, name string) []string {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || len(name) > maxPlace || len(known) > 1 || slices.Contains(known, parts[0]+"/"+parts[1]) {
		return known
	}
	return append(known, parts[0]+"/"+parts[1])
}

// extensions of the files that are Java archives.
var extensions = []string{".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".lpkg", ".kar", ".rar", ".aar"}

// IsArchive reports whether a file of that name is a Java archive.
func IsArchive(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	for _, e := range extensions {
		if ext == e && len(name) > len(e) {
			return true
		}
	}
	return false
}
