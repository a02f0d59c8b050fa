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

// Compare holds a bill against what is in the image. Packages are the same when
// kind, namespace and name of their purls are; a bill's entry without a purl is
// the package of that name, if there is only one.
func Compare(im *inventory.Image, doc *Document) Difference {
	ours, theirs := map[string]*entry{}, map[string]*entry{}
	named := map[string]string{} // the key of a name; "" of several
	for _, p := range im.Packages {
		id := identify(p.Name, p.Version, p.PURL)
		id.note(ours, p.Name, p.PURL)
		if key, ok := named[nameKey(p.Name)]; ok && key != id.key {
			id.key = ""
		}
		named[nameKey(p.Name)] = id.key
	}
	for _, p := range doc.Packages {
		id := identify(p.Name, p.Version, p.PURL)
		if key := named[id.key]; key != "" {
			id.key = key
		}
		id.note(theirs, p.Name, p.PURL)
	}
	return differ(doc.Format, ours, theirs)
}

func differ(format string, ours, theirs map[string]*entry) Difference {
	d := Difference{Format: format, OnlyImage: []Package{}, OnlyBill: []Package{}, Versions: []Change{}}
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

// identity is what makes an entry of a bill and a package of an image the same.
type identity struct{ key, version string }

// identify takes it from the purl, which is spelled alike on both sides; else
// from name and version.
func identify(name, version, purl string) identity {
	u, err := packageurl.FromString(purl)
	if purl == "" || err != nil {
		return identity{nameKey(name), strings.TrimPrefix(version, "0:")} // an epoch that says nothing
	}
	if u.Version != "" {
		version = u.Version
	}
	version = strings.TrimPrefix(version, "0:")
	if epoch := u.Qualifiers.Map()["epoch"]; epoch != "" && epoch != "0" && !strings.Contains(version, ":") {
		version = epoch + ":" + version
	}
	if u.Type == packageurl.TypeGolang {
		version = strings.TrimPrefix(version, "v") // which some tools leave out
	}
	return identity{strings.ToLower(u.Type + "/" + u.Namespace + "/" + u.Name), version}
}

// nameKey is the key of what has no purl. A group stands before "/" in bills,
// before ":" in Java.
func nameKey(name string) string {
	return "name:" + strings.ToLower(strings.ReplaceAll(name, ":", "/"))
}

// note adds a version to what a side says of a package.
func (id identity) note(side map[string]*entry, name, purl string) {
	e := side[id.key]
	if e == nil {
		e = &entry{name: name, purl: purl, versions: map[string]bool{}}
		side[id.key] = e
	}
	e.versions[id.version] = true
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
