package cataloger

import (
	"io"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isPythonMetadata: wheels, eggs, and distutils' single file.
func isPythonMetadata(p string) bool {
	return strings.HasSuffix(p, ".dist-info/METADATA") || strings.HasSuffix(p, ".egg-info/PKG-INFO") ||
		isAt(p, "EGG-INFO/PKG-INFO") || strings.HasSuffix(p, ".egg-info")
}

// readPythonMetadata reads the headers of a core metadata file.
// https://packaging.python.org/en/latest/specifications/core-metadata/
func readPythonMetadata(r io.Reader, out *Result) {
	p := inventory.Package{Type: inventory.TypePython}
	for in := newLines(r); in.next() && in.text != ""; {
		name, value, _ := strings.Cut(in.text, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "name":
			p.Name = value
		case "version":
			p.Version = value
		case "license", "license-expression":
			p.License = value
		}
	}
	if p.Name == "" || p.Version == "" {
		out.gap(inventory.Partial, "python-metadata", "the Python package's metadata have no name or no version")
		return
	}
	if len(p.License) > 200 {
		p.License = "" // the whole text, not its name
	}
	out.add(p)
}
