package cataloger

import (
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isPortagePF(p string) bool { return path.Base(p) == "PF" && isUnder(p, "var/db/pkg") }

func isPortageContents(p string) bool { return path.Base(p) == "CONTENTS" && isUnder(p, "var/db/pkg") }

// portageVersion is where the version of "name-version" begins and ends.
// https://projects.gentoo.org/pms/8/pms.html#version-specifications
var portageVersion = regexp.MustCompile(`^(.+?)-([0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*(?:-r[0-9]+)?)$`)

// readPortagePF reads the file that holds the name and version of one installed
// package. Its directories say the same: category/name-version.
func readPortagePF(r io.Reader, out *Result) {
	out.database(inventory.TypePortage)
	defer out.close("portage-records")
	in := newLines(r)
	in.next()
	name, version := portagePackage(out.Path)
	if name == "" {
		out.bad("the directory is not named category/name-version")
		return
	}
	if pf := path.Base(path.Dir(out.Path)); strings.TrimSpace(in.text) != pf {
		out.gap(inventory.Partial, "portage-name", "the package's record names another package than its directory, which was believed: "+pf)
	}
	out.add(inventory.Package{Type: inventory.TypePortage, Name: name, Version: version})
}

func portagePackage(p string) (name, version string) {
	dir := path.Dir(p)
	match := portageVersion.FindStringSubmatch(path.Base(dir))
	category := path.Base(path.Dir(dir))
	if match == nil || len(dir) > maxField {
		return "", ""
	}
	return category + "/" + match[1], match[2]
}

// readPortageContents reads the list of one package's files: "obj path md5
// time", "sym path -> target time", "dir path".
func readPortageContents(r io.Reader, out *Result) {
	name, _ := portagePackage(out.Path)
	for in := newLines(r); in.next(); {
		file, ok := strings.CutPrefix(in.text, "obj /")
		if !ok {
			continue
		}
		for range 2 { // the path may have blanks
			if i := strings.LastIndexByte(file, ' '); i >= 0 {
				file = file[:i]
			}
		}
		out.addOwned(name, file)
	}
}
