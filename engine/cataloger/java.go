package cataloger

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/cataloger/javaarchive"
	"github.com/pratique/pratique/engine/inventory"
)

// javaEndings are those of files that hold Java alone. Others that may, ".rar"
// and ".zip", are told by their content.
var javaEndings = []string{".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".lpkg"}

// isJavaArchive: jar and its relatives, by name; the content of one that is not
// whole says nothing.
func isJavaArchive(p string) bool {
	base := path.Base(p)
	return javaarchive.IsArchive(base) && slices.Contains(javaEndings, strings.ToLower(path.Ext(base)))
}

// isZip: a zip archive of any name. java runs one whatever it is called.
func isZip(head []byte) bool { return bytes.HasPrefix(head, []byte("PK\x03\x04")) }

// readZip lists the Java components of a zip archive whose name does not say
// that it has any. If it has none, it is not for Java.
func readZip(f File, out *Result) {
	problems := readComponents(f, out)
	if len(out.Packages) > 0 {
		out.problems(problems)
		return
	}
	out.problems(slices.DeleteFunc(problems, func(p javaarchive.Problem) bool {
		return p.Code == javaarchive.CodeInvalid || p.Code == javaarchive.CodeCoordinates
	}))
}

// readJavaArchive lists the components of a Java archive and of the archives in
// it.
func readJavaArchive(f File, out *Result) { out.problems(readComponents(f, out)) }

func readComponents(f File, out *Result) []javaarchive.Problem {
	if f.Size == 0 {
		return nil // a placeholder
	}
	seen := map[inventory.Package]bool{}
	problems := javaarchive.Read(f, f.Size, path.Base(out.Path), javaarchive.DefaultLimits, func(c javaarchive.Component) bool {
		p := inventory.Package{Type: inventory.TypeJava, Name: c.Artifact, Version: c.Version, Inner: c.Inner, License: c.License}
		if c.Group != "" {
			p.Name = c.Group + ":" + c.Artifact
		}
		if c.ByName {
			p.Evidence = inventory.EvidenceName
		}
		if seen[p] {
			return true // the same line twice in one directory
		}
		seen[p] = true
		return out.add(p)
	})
	out.close("java-components")
	return problems
}

// problems makes gaps of what could not be read.
func (r *Result) problems(problems []javaarchive.Problem) {
	for _, p := range problems {
		r.gap(inventory.Partial, p.Code, p.Detail)
	}
}
