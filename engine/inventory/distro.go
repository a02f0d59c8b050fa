package inventory

import (
	"strconv"
	"strings"

	"github.com/package-url/packageurl-go"
)

// releaseFiles name the distribution, the strongest first: os-release(5), then
// what distributions wrote before it.
var releaseFiles = []string{"etc/os-release", "usr/lib/os-release", "etc/alpine-release", "etc/debian_version", "etc/redhat-release"}

// distro binds the distribution, after all layers: the database and the
// release file are often of different ones.
func (s *squasher) distro() Distro {
	for _, path := range releaseFiles {
		n, _ := s.tree.walk(path, false)
		if n == nil || n.facts == nil || n.facts.release == nil || n.facts.release.ID == "" {
			continue
		}
		r := n.facts.release
		return Distro{ID: r.ID, VersionID: r.VersionID, Name: r.PrettyName, Ecosystem: Ecosystem(*r)}
	}
	return Distro{}
}

// Ecosystem gives OSV's name for a distribution and release, "" when OSV has
// none. https://ossf.github.io/osv-schema/#defined-ecosystems
func Ecosystem(r OSRelease) string {
	major, rest, _ := strings.Cut(r.VersionID, ".")
	number, err := strconv.Atoi(major)
	switch r.ID {
	case "wolfi":
		return "Wolfi"
	case "chainguard":
		return "Chainguard"
	case "alpine":
		return alpineEcosystem(r)
	case "debian", "almalinux", "rocky":
		if err != nil {
			return ""
		}
		return map[string]string{"debian": "Debian:", "almalinux": "AlmaLinux:", "rocky": "Rocky Linux:"}[r.ID] + major
	case "ubuntu":
		if err != nil || rest == "" {
			return ""
		}
		minor, _, _ := strings.Cut(rest, ".")
		if number%2 == 0 && minor == "04" {
			return "Ubuntu:" + major + ".04:LTS"
		}
		return "Ubuntu:" + major + "." + minor
	}
	return ""
}

// alpineEcosystem: "3.20.3" is of branch v3.20; edge calls itself by the next
// release and "_alpha" and a date.
func alpineEcosystem(r OSRelease) string {
	if r.VersionID == "edge" || strings.Contains(r.VersionID, "_alpha") || strings.HasSuffix(r.PrettyName, " edge") {
		return "Alpine:edge"
	}
	parts := strings.SplitN(r.VersionID, ".", 3)
	if len(parts) < 2 {
		return ""
	}
	for _, part := range parts[:2] {
		if _, err := strconv.Atoi(part); err != nil {
			return ""
		}
	}
	return "Alpine:v" + parts[0] + "." + parts[1]
}

// purl names a package for the rest of the world; "" for a system package of
// an unknown distribution. https://github.com/package-url/purl-spec
func purl(p Package, d Distro) string {
	namespace, name := "", p.Name
	qualifiers := map[string]string{}
	kind, version := p.Type, p.Version
	switch p.Type {
	case TypeDeb, TypeApk:
		if d.ID == "" {
			return ""
		}
		namespace = d.ID
		qualifiers["distro"] = d.ID
		if d.VersionID != "" {
			qualifiers["distro"] += "-" + d.VersionID
		}
		if p.Arch != "" {
			qualifiers["arch"] = p.Arch
		}
	case TypeGo:
		kind = packageurl.TypeGolang
		if name == "stdlib" {
			version = strings.TrimPrefix(version, "go")
		}
	case TypePython:
		kind = packageurl.TypePyPi
	}
	if p.Type == TypeGo || p.Type == TypeNpm {
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			namespace, name = name[:i], name[i+1:]
		}
	}
	u := packageurl.NewPackageURL(kind, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "")
	if err := u.Normalize(); err != nil {
		return "" // a name that no purl can hold; the package is listed all the same
	}
	return u.ToString()
}
