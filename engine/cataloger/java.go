package cataloger

import (
	"archive/zip"
	"errors"
	"fmt"

	"github.com/pratique/pratique/engine/cataloger/javaarchive"
	"github.com/pratique/pratique/engine/inventory"
)

// javaEndings are those of Java archives, as javaarchive.IsArchive knows them.
var javaEndings = []string{".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".lpkg", ".rar"}

func isJavaArchive(p string) bool { return javaarchive.IsArchive(p) }

// readJavaArchive lists the components of an archive and of those nested in it.
func readJavaArchive(f File, out *Result) {
	res, err := javaarchive.Read(f, f.Size, out.Path, javaarchive.DefaultLimits)
	if errors.Is(err, zip.ErrFormat) && f.Size == 0 {
		return // a placeholder
	}
	if err != nil {
		out.gap(inventory.Partial, "java-archive", fmt.Sprintf("the Java archive could not be read: %v", err))
		return
	}
	for _, c := range res.Components {
		p := inventory.Package{Type: inventory.TypeJava, Name: c.Artifact, Version: c.Version, License: c.License, Inner: c.Inner}
		if c.Group != "" {
			p.Name = c.Group + ":" + c.Artifact
		}
		if c.ByName {
			p.Evidence = inventory.EvidenceName
		}
		if !out.add(p) {
			return
		}
	}
	for _, problem := range res.Problems {
		out.gap(inventory.Partial, "java-archive-partly-read", problem.Inner+": "+problem.Detail)
	}
}
