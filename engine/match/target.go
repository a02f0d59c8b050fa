package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/pkgver"
)

// target is one installed package at all its places, and how the advisories know
// it.
type target struct {
	pkg       inventory.Package // the first of its places
	system    bool
	lookups   []lookup
	locations []string // sorted, at least one
}

// lookup is one name under which advisories know a target. Ecosystems that are
// looked up for one target order versions alike.
type lookup struct {
	ecosystem string
	name      string
	version   string
}

// distroOf names the distributions, as OSV spells them, whose packages are of a
// type of system package. A package of another type (a chroot of another
// distribution inside the image) is not spoken of by the image's data.
var distroOf = map[string][]string{
	inventory.TypeDeb: {"Debian", "Ubuntu"},
	inventory.TypeApk: {"Alpine", "Wolfi", "Chainguard", "Alpaquita", "MinimOS"},
	inventory.TypeRPM: {"AlmaLinux", "Amazon Linux", "Azure Linux", "Mageia", "Oracle Linux", "Photon OS", "Red Hat",
		"Rocky Linux", "SUSE", "openEuler", "openSUSE"},
}

// naming tells by which name a distribution's records speak of a package: of
// source packages (the default: Debian's, Alpine's, Rocky's, SUSE's), of
// binary ones, or of either.
var naming = map[string]namedBy{
	"AlmaLinux":    byBinary,
	"Amazon Linux": byBinary,
	"Oracle Linux": byBinary,
	"Red Hat":      byBinary,
	"Azure Linux":  byEither,
	"Mageia":       byEither,
	"Photon OS":    byEither,
	"openEuler":    byEither,
}

type namedBy int

const (
	bySource namedBy = iota
	byBinary
	byEither
)

// ecosystemOf names OSV's ecosystem of a type of language package. Programs that
// are known by their version alone are judged by Bitnami's records, which are
// about the upstream versions of servers and runtimes; what Bitnami does not
// speak of is also looked up in NVD, by CPE.
var ecosystemOf = map[string]string{
	inventory.TypeGo:       "Go",
	inventory.TypeNpm:      "npm",
	inventory.TypePython:   "PyPI",
	inventory.TypeJava:     "Maven",
	inventory.TypeGem:      "RubyGems",
	inventory.TypeCargo:    "crates.io",
	inventory.TypeComposer: "Packagist",
	inventory.TypeNuget:    "NuGet",
	inventory.TypeBinary:   "Bitnami",
	inventory.TypeConan:    "ConanCenter",
	inventory.TypeCran:     "CRAN",
	inventory.TypeHackage:  "Hackage",
	inventory.TypeHex:      "Hex",
	inventory.TypeJulia:    "Julia",
	inventory.TypePub:      "Pub",
	inventory.TypeSwift:    "SwiftURL",
}

// bitnamiNames are Bitnami's names of programs that are called otherwise.
var bitnamiNames = map[string]string{"httpd": "apache", "openjdk": "java"}

// targets groups the installed packages: the same package and version at
// several places is one target, so that it becomes one finding.
func (m *matcher) targets() []*target {
	type identity struct{ typ, name, version, source, sourceVersion, module string }
	known := map[identity]*target{}
	var list []*target
	for _, p := range m.im.Packages {
		if !m.judged(&p) {
			continue
		}
		id := identity{p.Type, p.Name, p.Version, p.Source, p.SourceVersion, p.Module}
		if t, ok := known[id]; ok {
			t.locations = append(t.locations, p.Place())
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

// judged reports whether a package is to be judged by itself. A lock file names
// what may be installed, not what is. The distribution patches without changing
// the upstream version: its own data decide about the files it owns, where there
// are such data.
func (m *matcher) judged(p *inventory.Package) bool {
	return p.Evidence != inventory.EvidenceLock && (inventory.IsSystem(p.Type) || p.OwnedBy == "" || !m.distroCovered)
}

func (m *matcher) newTarget(p inventory.Package) *target {
	t := &target{pkg: p, system: inventory.IsSystem(p.Type), locations: []string{p.Place()}}
	if !t.system {
		if ecosystem := ecosystemOf[p.Type]; ecosystem != "" {
			name := p.Name
			if p.Type == inventory.TypeBinary {
				name = cmp.Or(bitnamiNames[name], name)
			}
			t.lookups = []lookup{{ecosystem, name, p.Version}}
		}
		if product, ok := advisory.CPEProduct(p.CPE); ok && p.Type == inventory.TypeBinary {
			t.lookups = append(t.lookups, lookup{advisory.NVD, product, p.Version})
		}
		return t
	}
	for _, ecosystem := range m.ecosystems(&p) {
		t.lookups = append(t.lookups, systemLookups(&p, ecosystem)...)
	}
	return t
}

// ecosystems are those of the image's distribution that speak of a package. A
// package of Ubuntu Pro is judged by the records of Ubuntu Pro alone: the others
// do not know its fixes.
func (m *matcher) ecosystems(p *inventory.Package) []string {
	d := m.im.Distro
	base := pkgver.Base(d.Ecosystem)
	if !slices.Contains(distroOf[p.Type], base) {
		return nil
	}
	if base == "Ubuntu" && len(d.Also) > 0 && strings.Contains(p.Version, "esm") {
		return d.Also
	}
	return append([]string{d.Ecosystem}, d.Also...)
}

// systemLookups are the names of a system package in one ecosystem. The version
// of a source package is its own: a rebuild ("+b1") changes the binary's alone.
func systemLookups(p *inventory.Package, ecosystem string) []lookup {
	binary := lookup{ecosystem, p.Name, p.Version}
	source := lookup{ecosystem, cmp.Or(p.Source, p.Name), cmp.Or(p.SourceVersion, p.Version)}
	base := pkgver.Base(ecosystem)
	switch suffix := statements[base]; suffix {
	case advisory.SourceSuffix:
		return []lookup{binary, {ecosystem, source.name + suffix, source.version}}
	case advisory.BinarySuffix:
		return []lookup{source, {ecosystem, binary.name + suffix, binary.version}}
	}
	switch how := naming[base]; {
	case how == byBinary:
		return []lookup{binary}
	case how == byEither && binary.name != source.name:
		return []lookup{binary, source}
	}
	return []lookup{source}
}
