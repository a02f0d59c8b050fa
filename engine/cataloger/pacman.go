package cataloger

import (
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isPacmanDesc(p string) bool { return path.Base(p) == "desc" && isUnder(p, "pacman/local") }

func isPacmanFiles(p string) bool { return path.Base(p) == "files" && isUnder(p, "pacman/local") }

// readPacmanDesc reads the description of one installed package: "%KEY%" on a
// line, the values on the lines below, an empty line.
// https://man.archlinux.org/man/alpm-db-desc.5
func readPacmanDesc(r io.Reader, out *Result) {
	out.database(inventory.TypePacman)
	defer out.close("pacman-records")
	p := inventory.Package{Type: inventory.TypePacman}
	var all []string // licences
	pacmanSections(r, func(key, value string) {
		switch key {
		case "%NAME%":
			p.Name = value
		case "%VERSION%":
			p.Version = value
		case "%ARCH%":
			p.Arch = value
		case "%BASE%":
			p.Source = value
		case "%LICENSE%":
			if len(all) < maxLicenses {
				all = append(all, value)
			}
		}
	})
	if p.Name == "" || p.Version == "" {
		out.bad("a description has no name or no version")
		return
	}
	p.License = strings.Join(all, " AND ")
	out.add(p)
}

// readPacmanFiles reads the list of one package's files. The package is named
// by the directory: name, version and release.
func readPacmanFiles(r io.Reader, out *Result) {
	name := path.Base(path.Dir(out.Path))
	for range 2 {
		i := strings.LastIndexByte(name, '-')
		if i < 0 {
			return
		}
		name = name[:i]
	}
	pacmanSections(r, func(key, value string) {
		if key == "%FILES%" && !strings.HasSuffix(value, "/") {
			out.addOwned(name, value)
		}
	})
}

func pacmanSections(r io.Reader, told func(key, value string)) {
	key := ""
	for in := newLines(r); in.next(); {
		switch line := strings.TrimSpace(in.text); {
		case line == "":
			key = ""
		case key == "":
			key = line
		default:
			told(key, line)
		}
	}
}
