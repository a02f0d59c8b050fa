package match

import (
	"cmp"
	"slices"

	"github.com/pratique/pratique/engine/inventory"
)

// target is one installed package at all its places, and the name and version
// under which the advisories know it.
type target struct {
	pkg       inventory.Package // the first of its places
	system    bool
	ecosystem string
	name      string
	version   string
	locations []string // sorted, at least one
}

// distroOf names the distributions, as OSV spells them, whose packages are of a
// type of system package. A package of another type (a chroot of another
// distribution inside the image) is not spoken of by the image's data.
var distroOf = map[string][]string{
	inventory.TypeDeb: {"Debian", "Ubuntu"},
	inventory.TypeApk: {"Alpine", "Wolfi", "Chainguard", "Alpaquita", "MinimOS"},
}

// ecosystemOf names OSV's ecosystem of a type of language package.
var ecosystemOf = map[string]string{
	inventory.TypeGo:     "Go",
	inventory.TypeNpm:    "npm",
	inventory.TypePython: "PyPI",
}

// IsSystem reports whether packages of a type are installed by the
// distribution's package manager.
func IsSystem(typ string) bool {
	_, ok := distroOf[typ]
	return ok
}

// targets groups the installed packages: the same package and version at
// several places is one target, so that it becomes one finding.
func (m *matcher) targets() []*target {
	type identity struct{ typ, name, version, source, sourceVersion string }
	known := map[identity]*target{}
	var list []*target
	for _, p := range m.im.Packages {
		// The distribution patches without changing the upstream version: its
		// own data decide about the files it owns, where there are such data.
		if !IsSystem(p.Type) && p.OwnedBy != "" && m.distroCovered {
			continue
		}
		id := identity{p.Type, p.Name, p.Version, p.Source, p.SourceVersion}
		if t, ok := known[id]; ok {
			t.locations = append(t.locations, p.Location)
			t.pkg.Layer = min(t.pkg.Layer, p.Layer)
			continue
		}
		t := m.newTarget(p)
		known[id] = t
		list = append(list, t)
	}
	for _, t := range list {
		slices.Sort(t.locations)
		t.locations = slices.Compact(t.locations)
	}
	return list
}

func (m *matcher) newTarget(p inventory.Package) *target {
	t := &target{pkg: p, system: IsSystem(p.Type), name: p.Name, version: p.Version, locations: []string{p.Location}}
	if !t.system {
		t.ecosystem = ecosystemOf[p.Type]
		return t
	}
	// Debian's and Alpine's records speak of source packages. The version is
	// the source's too: a rebuild ("+b1") changes the binary's version alone.
	t.ecosystem = m.im.Distro.Ecosystem
	t.name = cmp.Or(p.Source, p.Name)
	t.version = cmp.Or(p.SourceVersion, p.Version)
	return t
}
