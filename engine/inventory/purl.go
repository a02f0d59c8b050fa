package inventory

import (
	"strings"

	"github.com/package-url/packageurl-go"
)

// purlTypes are the types of purls where they are not those of ours.
// https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst
var purlTypes = map[string]string{
	TypeGo:      packageurl.TypeGolang,
	TypePython:  packageurl.TypePyPi,
	TypeJava:    packageurl.TypeMaven,
	TypeBinary:  packageurl.TypeGeneric,
	TypePortage: "ebuild",
	TypePacman:  packageurl.TypeAlpm,
}

// purlNamespaces are the vendors' names of distributions where they are not the
// IDs of os-release.
var purlNamespaces = map[string]string{
	"rhel": "redhat", "sles": "suse", "sled": "suse", "sles_sap": "suse", "opensuse-leap": "opensuse",
	"opensuse-tumbleweed": "opensuse", "amzn": "amazon", "ol": "oracle",
}

// purl names a package for the rest of the world; "" for a system package of
// an unknown distribution. https://github.com/package-url/purl-spec
func purl(p Package, d Distro) string {
	kind, namespace, name, version := p.Type, "", p.Name, p.Version
	if t := purlTypes[p.Type]; t != "" {
		kind = t
	}
	qualifiers := map[string]string{}
	switch {
	case IsSystem(p.Type):
		if d.ID == "" {
			return ""
		}
		if namespace = purlNamespaces[d.ID]; namespace == "" {
			namespace = d.ID
		}
		version = systemQualifiers(p, d, qualifiers)
	case p.Type == TypeGo && name == "stdlib":
		version = strings.TrimPrefix(version, "go")
	case p.Type == TypeJava:
		group, artifact, ok := strings.Cut(name, ":")
		if !ok {
			group, artifact = "", name
		}
		namespace, name = group, artifact
	}
	if strings.Contains(name, "/") && (p.Type == TypeGo || p.Type == TypeNpm || p.Type == TypeComposer || p.Type == TypeSwift) {
		i := strings.LastIndexByte(name, '/')
		namespace, name = name[:i], name[i+1:]
	}
	u := packageurl.NewPackageURL(kind, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "")
	if err := u.Normalize(); err != nil {
		return "" // a name that no purl can hold; the package is listed all the same
	}
	return u.ToString()
}

// systemQualifiers fills in what is said of a system package, and gives the
// version: an rpm's epoch is a qualifier.
func systemQualifiers(p Package, d Distro, qualifiers map[string]string) (version string) {
	version = p.Version
	qualifiers["distro"] = d.ID
	if d.VersionID != "" {
		qualifiers["distro"] += "-" + d.VersionID
	}
	if p.Arch != "" {
		qualifiers["arch"] = p.Arch
	}
	if p.Source != "" && p.Source != p.Name {
		qualifiers["upstream"] = p.Source
	}
	if p.Type == TypeRPM {
		if epoch, rest, ok := strings.Cut(version, ":"); ok {
			version = rest
			if epoch != "0" {
				qualifiers["epoch"] = epoch
			}
		}
		if p.Module != "" {
			qualifiers["rpmmod"] = p.Module
		}
	}
	return version
}
