package cataloger

import (
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isRDescription(p string) bool { return path.Base(p) == "DESCRIPTION" }

// readRDescription reads the description of an R package. Only installed ones
// have the field Built; other files of that name say nothing.
// https://cran.r-project.org/doc/manuals/r-release/R-exts.html#The-DESCRIPTION-file
func readRDescription(r io.Reader, out *Result) {
	p := inventory.Package{Type: inventory.TypeCran}
	built := false
	for in := newLines(r); in.next(); {
		name, value, ok := strings.Cut(in.text, ":")
		if !ok || in.text[0] == ' ' || in.text[0] == '\t' {
			continue
		}
		value = strings.TrimSpace(value)
		switch name {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "License":
			p.License = value
		case "Built":
			built = true
		}
	}
	switch {
	case !built:
	case p.Name == "" || p.Version == "":
		out.gap(inventory.Partial, "r-description", "the R package's description has no name or no version")
	default:
		out.add(p)
	}
}
