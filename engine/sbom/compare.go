package sbom

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/pratique/pratique/engine/inventory"
)

// Difference is what a bill and an image do not agree on.
type Difference struct {
	Format string `json:"format"`
	Same   int    `json:"same"` // packages that both have, in the same version
	// OnlyImage are packages that the bill conceals; OnlyBill are those that it
	// claims and that were not found.
	OnlyImage []Package `json:"only_in_image"`
	OnlyBill  []Package `json:"only_in_sbom"`
	Versions  []Change  `json:"other_version"`
}

// Change is a package that both have, in different versions.
type Change struct {
	Name  string   `json:"name"`
	Image []string `json:"in_image"`
	Bill  []string `json:"in_sbom"`
}

// Agrees reports whether the bill says what is in the image.
func (d *Difference) Agrees() bool {
	return len(d.OnlyImage) == 0 && len(d.OnlyBill) == 0 && len(d.Versions) == 0
}

// entry is what one side says of a package.
type entry struct {
	name     string
	purl     string
	versions map[string]bool
}

// Compare holds a bill against what is in the image.
func Compare(im *inventory.Image, doc *Document) Difference {
	ours, theirs := map[string]*entry{}, map[string]*entry{}
	for _, p := range im.Packages {
		note(ours, keyOf(p.Name, p.PURL), p.Name, p.PURL, versionOf(p.Version, p.PURL))
	}
	for _, p := range doc.Packages {
		note(theirs, keyOf(p.Name, p.PURL), p.Name, p.PURL, versionOf(p.Version, p.PURL))
	}
	d := Difference{Format: doc.Format, OnlyImage: []Package{}, OnlyBill: []Package{}, Versions: []Change{}}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		o, t := ours[key], theirs[key]
		switch {
		case t == nil:
			d.OnlyImage = append(d.OnlyImage, o.packages()...)
		case maps.Equal(o.versions, t.versions):
			d.Same += len(o.versions)
		default:
			d.Versions = append(d.Versions, Change{o.name, sorted(o.versions), sorted(t.versions)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(theirs)) {
		if ours[key] == nil {
			d.OnlyBill = append(d.OnlyBill, theirs[key].packages()...)
		}
	}
	return d
}

// versionOf is the version of a purl, which is spelled alike on both sides; else
// the one that is given.
func versionOf(version, purl string) string {
	if u, err := packageurl.FromString(purl); purl != "" && err == nil && u.Version != "" {
		version = u.Version
	}
	return strings.TrimPrefix(version, "0:") // an epoch that says nothing
}

func note(side map[string]*entry, key, name, purl, version string) {
	e := side[key]
	if e == nil {
		e = &entry{name: name, purl: purl, versions: map[string]bool{}}
		side[key] = e
	}
	e.versions[version] = true
}

func (e *entry) packages() []Package {
	var all []Package
	for _, v := range sorted(e.versions) {
		all = append(all, Package{Name: e.name, Version: v, PURL: e.purl})
	}
	slices.SortFunc(all, func(a, b Package) int { return cmp.Compare(a.Version, b.Version) })
	return all
}

func sorted(versions map[string]bool) []string { return slices.Sorted(maps.Keys(versions)) }
