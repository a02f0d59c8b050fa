// Package javaarchive reads the components that a Java archive (jar, war, ear
// and the like) holds: its own, those of archives nested in it, and those that
// were merged into it ("shaded").
//
// It knows zip files and what build tools leave in them, and nothing of layers
// or images. Content is hostile: everything is bounded, and what is cut short is
// told. Start with Read.
package javaarchive

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
)

// Component is one library or program.
type Component struct {
	Group    string // Maven's groupId; "" when nothing tells it
	Artifact string // artifactId
	Version  string
	License  string
	// Inner is where in the outer archive it was found:
	// "WEB-INF/lib/a.jar!/META-INF/maven/g/a/pom.properties"; "" for the archive
	// itself, when its manifest or its name tells of it.
	Inner string
	// ByName: the archive's file name alone tells the version.
	ByName bool
}

// Limits bound what one outer archive may cost.
type Limits struct {
	Depth      int   // archives in each other
	Entries    int   // files of all archives together
	Nested     int64 // bytes of one nested archive
	Inflated   int64 // bytes of everything that is inflated
	Components int
}

// DefaultLimits are above what application servers ship.
var DefaultLimits = Limits{Depth: 16, Entries: 500_000, Nested: 512 << 20, Inflated: 4 << 30, Components: 50_000}

// Problem is something that could not be read. The rest was.
type Problem struct {
	Inner  string
	Detail string
}

// Result is what an archive holds.
type Result struct {
	Components []Component
	Problems   []Problem
}

// IsArchive reports whether a path is that of a Java archive, by its ending.
func IsArchive(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".lpkg", ".rar":
		return true
	}
	return false
}

// Read reads an archive; name is its path, whose last element may tell what it
// is. The error is for an outer archive that is no zip file at all.
func Read(r io.ReaderAt, size int64, name string, limits Limits) (Result, error) {
	w := &walk{limits: limits}
	z, err := openZip(r, size)
	if err != nil {
		return Result{}, fmt.Errorf("read zip directory: %w", err)
	}
	w.archive(z, path.Base(name), "", 1)
	return w.result, nil
}

// walk is the state of one outer archive.
type walk struct {
	limits   Limits
	result   Result
	entries  int
	inflated int64
	full     bool // a bound of the whole was reached, and told
}

// archive reads one archive: what its own files tell, then those nested in it.
func (w *walk) archive(z *zip.Reader, name, inner string, depth int) {
	own := evidence{name: name, inner: strings.TrimSuffix(inner, "!/")}
	for _, f := range z.File {
		if w.entries++; w.entries > w.limits.Entries {
			w.exceeded(inner, fmt.Sprintf("more than %d files in it and in archives within it", w.limits.Entries))
			return
		}
		base := path.Base(f.Name)
		switch {
		case strings.HasSuffix(f.Name, "/"):
		case base == "pom.properties":
			w.properties(f, inner, &own)
		case f.Name == "META-INF/MANIFEST.MF":
			own.manifest = readManifest(w.small(f, inner))
		case IsArchive(f.Name):
			w.nested(f, inner, depth)
		}
		if w.full {
			return
		}
	}
	if c, ok := own.component(); ok {
		w.add(c)
	}
}

// nested reads an archive within an archive, in memory.
func (w *walk) nested(f *zip.File, inner string, depth int) {
	place := inner + f.Name
	if depth >= w.limits.Depth {
		w.problem(place, fmt.Sprintf("archives lie more than %d deep in each other; deeper ones were not read", w.limits.Depth))
		return
	}
	if f.UncompressedSize64 > uint64(w.limits.Nested) {
		w.problem(place, fmt.Sprintf("a nested archive has %d bytes; at most %d are read", f.UncompressedSize64, w.limits.Nested))
		return
	}
	content, err := w.hold(f)
	if err == nil {
		defer content.close()
		var z *zip.Reader
		if z, err = openZip(content, content.size); err == nil {
			w.archive(z, path.Base(f.Name), place+"!/", depth+1)
			return
		}
	}
	w.problem(place, "a nested archive could not be read: "+err.Error())
}

// maxSmall bounds a pom.properties or a manifest, in bytes.
const maxSmall = 1 << 20

// small reads a small file; nil, and a problem, when it cannot be had.
func (w *walk) small(f *zip.File, inner string) []byte {
	raw, err := w.inflate(f, maxSmall)
	if err != nil {
		w.problem(inner+f.Name, "could not be read: "+err.Error())
		return nil
	}
	return raw
}

var errTooLarge = errors.New("it unpacks to more than is read")

// inflate reads one file within its own bound and that of the whole. Memory
// grows with what has come, never with what the directory claims.
func (w *walk) inflate(f *zip.File, limit int64) ([]byte, error) {
	limit = min(limit, w.limits.Inflated-w.inflated)
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	w.inflated += int64(len(raw))
	err = errors.Join(err, r.Close())
	if int64(len(raw)) > limit {
		return nil, errTooLarge
	}
	return raw, err
}

// inMemory is how much of one nested archive is held in memory, in bytes. What
// is larger goes to a file without a name.
const inMemory = 4 << 20

// held is a nested archive for reading in any order.
type held struct {
	io.ReaderAt
	size int64
	file *os.File // nil: in memory
}

func (h *held) close() {
	if h.file != nil {
		_ = h.file.Close() // nothing was promised of it
	}
}

// hold inflates a nested archive.
func (w *walk) hold(f *zip.File) (*held, error) {
	limit := min(w.limits.Nested, w.limits.Inflated-w.inflated)
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close() // read only
	in := io.LimitReader(r, limit+1)
	head, err := io.ReadAll(io.LimitReader(in, inMemory))
	w.inflated += int64(len(head))
	if err != nil || len(head) < inMemory {
		return &held{ReaderAt: bytes.NewReader(head), size: int64(len(head))}, err
	}
	out, err := os.CreateTemp("", "pratique-jar-*")
	if err != nil {
		return nil, err
	}
	h := &held{ReaderAt: out, file: out}
	err = os.Remove(out.Name())
	if err == nil {
		h.size, err = io.Copy(out, io.MultiReader(bytes.NewReader(head), in))
		w.inflated += h.size - int64(len(head))
	}
	if err == nil && h.size > limit {
		err = errTooLarge
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// maxDirectory bounds the list of files of one archive, in bytes: some two
// hundred thousand names.
const maxDirectory = 16 << 20

// openZip reads the list of files. The library keeps all of it in memory and
// believes what it says of its length.
func openZip(r io.ReaderAt, size int64) (*zip.Reader, error) {
	m := &metered{r: r, left: maxDirectory}
	z, err := zip.NewReader(m, size)
	m.left = math.MaxInt64
	return z, err
}

// metered ends after so many bytes.
type metered struct {
	r    io.ReaderAt
	left int64
}

func (m *metered) ReadAt(p []byte, at int64) (int, error) {
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, fmt.Errorf("%w: a list of files of more than %d bytes", errTooLarge, maxDirectory)
	}
	return m.r.ReadAt(p, at)
}

// properties adds the component that a pom.properties names.
func (w *walk) properties(f *zip.File, inner string, own *evidence) {
	raw := w.small(f, inner)
	if raw == nil {
		return
	}
	c, ok := readProperties(raw)
	if !ok {
		return
	}
	c.Inner = inner + f.Name
	own.poms = append(own.poms, c)
	w.add(c)
}

func (w *walk) add(c Component) {
	if len(w.result.Components) >= w.limits.Components {
		w.exceeded("", fmt.Sprintf("more than %d components in it", w.limits.Components))
		return
	}
	w.result.Components = append(w.result.Components, c)
}

// maxProblems bounds what is told of one archive.
const maxProblems = 100

func (w *walk) problem(inner, detail string) {
	if len(w.result.Problems) < maxProblems {
		w.result.Problems = append(w.result.Problems, Problem{inner, detail})
	}
}

// exceeded ends the reading of the whole archive.
func (w *walk) exceeded(inner, detail string) {
	if !w.full {
		w.full = true
		w.problem(inner, detail+"; the rest was not read")
	}
}
