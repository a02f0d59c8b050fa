package cataloger

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isPythonMetadata: wheels, eggs, and distutils' single file.
func isPythonMetadata(p string) bool {
	return strings.HasSuffix(p, ".dist-info/METADATA") || strings.HasSuffix(p, ".egg-info/PKG-INFO") ||
		isAt(p, "EGG-INFO/PKG-INFO") || strings.HasSuffix(p, ".egg-info")
}

// isEgg: an egg that is a file is imported as it is, zipped. A wheel is not; it
// only waits to be installed.
func isEgg(p string) bool { return strings.HasSuffix(p, ".egg") }

// pythonHeaders are the fields of core metadata that are read.
// https://packaging.python.org/en/latest/specifications/core-metadata/
type pythonHeaders struct {
	name, version       string
	license, expression string
	classifiers         []string
}

func readPythonMetadata(r io.Reader, out *Result) { addPython(r, "", out) }

// readEgg reads the metadata in a zipped egg.
// https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html
func readEgg(f File, out *Result) {
	found := false
	err := eachZipped(f, func(name string) bool { return name == "EGG-INFO/PKG-INFO" }, func(name string, raw []byte) {
		if !found {
			found = true
			addPython(bytes.NewReader(raw), name, out)
		}
	})
	switch {
	case err != nil:
		out.gap(inventory.Partial, "python-egg", fmt.Sprintf("a zipped Python egg could not be read: %v", err))
	case !found:
		out.gap(inventory.Partial, "python-egg", "a zipped Python egg has no metadata")
	}
}

func addPython(r io.Reader, inner string, out *Result) {
	h := parsePythonHeaders(r)
	if h.name == "" || h.version == "" {
		out.gap(inventory.Partial, "python-metadata", "the Python package's metadata have no name or no version")
		return
	}
	out.add(inventory.Package{Type: inventory.TypePython, Name: h.name, Version: h.version, License: h.licenseName(), Inner: inner})
}

// parsePythonHeaders reads up to the empty line, where the description begins.
func parsePythonHeaders(r io.Reader) pythonHeaders {
	var h pythonHeaders
	last := ""
	for in := newLines(r); in.next() && in.text != ""; {
		if in.text[0] == ' ' || in.text[0] == '\t' {
			h.folded(last, strings.TrimSpace(in.text))
			continue
		}
		name, value, ok := strings.Cut(in.text, ":")
		if !ok {
			last = ""
			continue
		}
		last = strings.ToLower(name)
		h.field(last, strings.TrimSpace(value))
	}
	return h
}

func (h *pythonHeaders) field(name, value string) {
	switch name {
	case "name":
		h.name = value
	case "version":
		h.version = value
	case "license":
		h.license = value
	case "license-expression":
		h.expression = value
	case "classifier":
		if kind, rest, _ := strings.Cut(value, "::"); strings.TrimSpace(kind) == "License" && len(h.classifiers) < maxLicenses {
			h.classifiers = append(h.classifiers, rest)
		}
	}
}

// folded takes a line that continues a field.
func (h *pythonHeaders) folded(name, line string) {
	switch {
	case name == "name" && h.name == "":
		h.name = line
	case name == "version" && h.version == "":
		h.version = line
	case name == "license-expression" && len(h.expression) < maxField:
		h.expression = strings.TrimSpace(h.expression + " " + line)
	case name == "license" && len(h.license) < maxField:
		h.license = strings.TrimSpace(h.license + "\n" + line)
	}
}

// maxLicenseName: in old metadata the field holds a name or the whole text. In
// bytes.
const maxLicenseName = 200

// licenseName prefers the expression, then the free text if it is a name, then
// the classifiers, of which several may mean "all" or "any": all is assumed.
func (h *pythonHeaders) licenseName() string {
	if h.expression != "" {
		return h.expression
	}
	if h.license != "" && h.license != "UNKNOWN" && len(h.license) <= maxLicenseName && !strings.Contains(h.license, "\n") {
		return h.license
	}
	var names []string
	for _, c := range h.classifiers {
		name := strings.TrimSpace(c[strings.LastIndexByte(c, ':')+1:])
		if name != "" && name != "OSI Approved" {
			names = append(names, name)
		}
	}
	return strings.Join(names, " AND ")
}
