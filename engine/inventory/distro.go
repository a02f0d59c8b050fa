package inventory

import (
	"strconv"
	"strings"
)

// releaseFiles name the distribution, the strongest first: os-release(5), then
// what distributions wrote before it.
var releaseFiles = []string{"etc/os-release", "usr/lib/os-release", "etc/alpine-release", "etc/debian_version",
	"etc/almalinux-release", "etc/rocky-release", "etc/redhat-release"}

// distro binds the distribution, after all layers: the database and the
// release file are often of different ones.
func (s *squasher) distro() Distro {
	for _, path := range releaseFiles {
		n, _ := s.tree.walk(path, false)
		if n == nil || n.facts == nil || n.facts.release == nil || n.facts.release.ID == "" {
			continue
		}
		r := n.facts.release
		d := Distro{ID: r.ID, VersionID: r.VersionID, Name: r.PrettyName}
		if all := Ecosystems(*r); len(all) > 0 {
			d.Ecosystem = all[0]
			d.Also = append(d.Also, all[1:]...)
		}
		return d
	}
	return Distro{}
}

// ecosystems gives the ecosystems of a distribution's release by its
// os-release ID. A release that cannot be named gives none.
var ecosystems = map[string]func(OSRelease) []string{
	"almalinux":           major("AlmaLinux:"),
	"alpine":              one(alpineEcosystem),
	"amzn":                major("Amazon Linux:"),
	"azurelinux":          major("Azure Linux:"),
	"centos":              redHat,
	"chainguard":          rolling("Chainguard"),
	"debian":              major("Debian:"),
	"mageia":              major("Mageia:"),
	"mariner":             major("Azure Linux:"),
	"minimos":             rolling("MinimOS"),
	"ol":                  major("Oracle Linux:"),
	"openeuler":           one(openEuler),
	"opensuse-leap":       one(func(r OSRelease) string { return "openSUSE:Leap " + r.VersionID }),
	"opensuse-tumbleweed": rolling("openSUSE:Tumbleweed"),
	"photon":              one(func(r OSRelease) string { return "Photon OS:" + r.VersionID }),
	"rhel":                redHat,
	"rocky":               major("Rocky Linux:"),
	"sled":                suse,
	"sles":                suse,
	"sles_sap":            suse,
	"ubuntu":              ubuntu,
	"wolfi":               rolling("Wolfi"),
}

// Ecosystems gives the names under which records are about a distribution and
// release, the main one first: OSV's names, or names formed like them where OSV
// has none (Amazon Linux, Oracle Linux). None when the distribution is unknown.
// https://ossf.github.io/osv-schema/#defined-ecosystems
func Ecosystems(r OSRelease) []string {
	if names := ecosystems[r.ID]; names != nil {
		return names(r)
	}
	return nil
}

func rolling(name string) func(OSRelease) []string {
	return func(OSRelease) []string { return []string{name} }
}

// one is for releases that have one ecosystem, named by the whole version.
func one(name func(OSRelease) string) func(OSRelease) []string {
	return func(r OSRelease) []string {
		if ecosystem := name(r); r.VersionID != "" && ecosystem != "" {
			return []string{ecosystem}
		}
		return nil
	}
}

// major is for releases that are named by their first number.
func major(prefix string) func(OSRelease) []string {
	return func(r OSRelease) []string {
		number, _, _ := strings.Cut(r.VersionID, ".")
		if _, err := strconv.Atoi(number); err != nil {
			return nil
		}
		return []string{prefix + number}
	}
}

// redHatRepositories are those of a release; Red Hat's records name the one
// that a fix is published in.
var redHatRepositories = []string{"::baseos", "::appstream", "", "::crb", "::highavailability", "::resilientstorage",
	"::supplementary", "::nfv", "::realtime", "::sap", "::sap_hana", "::server", "::client", "::workstation", "::computenode"}

// redHat: CentOS, Linux and Stream, carries Red Hat's packages.
func redHat(r OSRelease) []string {
	number, _, _ := strings.Cut(r.VersionID, ".")
	if _, err := strconv.Atoi(number); err != nil {
		return nil
	}
	var names []string
	for _, repository := range redHatRepositories {
		names = append(names, "Red Hat:enterprise_linux:"+number+repository)
	}
	return names
}

// suseModules are the modules of SUSE Linux Enterprise 15 that base images and
// containers install from.
var suseModules = []string{"Basesystem", "Server Applications", "Development Tools", "Web and Scripting", "Containers",
	"Python 3", "Legacy", "Public Cloud", "Certifications", "Desktop Applications", "Package Hub"}

// suse: "15.5" is service pack 5 of version 15.
func suse(r OSRelease) []string {
	release, pack, _ := strings.Cut(r.VersionID, ".")
	if _, err := strconv.Atoi(release); err != nil {
		return nil
	}
	if pack != "" && pack != "0" {
		release += " SP" + pack
	}
	names := []string{"SUSE:Linux Enterprise Server " + release}
	if r.ID == "sled" {
		names = append([]string{"SUSE:Linux Enterprise Desktop " + release}, names...)
	}
	if r.ID == "sles_sap" {
		names = append([]string{"SUSE:Linux Enterprise Server for SAP Applications " + release}, names...)
	}
	for _, module := range suseModules {
		names = append(names, "SUSE:Linux Enterprise Module for "+module+" "+release)
	}
	return names
}

// ubuntu: what is found after the end of standard support is in the records of
// Ubuntu Pro alone (ESM).
func ubuntu(r OSRelease) []string {
	year, rest, _ := strings.Cut(r.VersionID, ".")
	number, err := strconv.Atoi(year)
	if err != nil || rest == "" {
		return nil
	}
	minor, _, _ := strings.Cut(rest, ".")
	release := year + "." + minor
	if number%2 == 0 && minor == "04" {
		release += ":LTS"
		return []string{"Ubuntu:" + release, "Ubuntu:Pro:" + release}
	}
	return []string{"Ubuntu:" + release}
}

// openEuler: "22.03 (LTS-SP3)" is "22.03-LTS-SP3".
func openEuler(r OSRelease) string {
	_, pack, found := strings.Cut(r.PrettyName, "(")
	if pack, closed := strings.CutSuffix(pack, ")"); found && closed {
		return "openEuler:" + r.VersionID + "-" + pack
	}
	return "openEuler:" + r.VersionID
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
