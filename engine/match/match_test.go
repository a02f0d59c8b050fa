package match_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
)

// memory is an Index over a few advisories.
type memory struct {
	advisories []advisory.Advisory
	scores     map[string]advisory.Score
	facts      map[string]advisory.CVEFacts
	covered    []string
	broken     bool
}

func (m *memory) Lookup(ecosystem, pkg string) ([]advisory.Advisory, error) {
	if m.broken {
		return nil, errors.New("checksum of the value is wrong")
	}
	var list []advisory.Advisory
	for _, a := range m.advisories {
		if a.Ecosystem == ecosystem && advisory.NormalizeName(ecosystem, a.Package) == advisory.NormalizeName(ecosystem, pkg) {
			list = append(list, a)
		}
	}
	return list, nil
}

func (m *memory) CVE(cve string) (advisory.CVEFacts, bool, error) {
	f, ok := m.facts[cve]
	return f, ok, nil
}

func (m *memory) Score(cve string) (advisory.Score, bool, error) {
	s, ok := m.scores[cve]
	return s, ok, nil
}

func (m *memory) Covers(ecosystem string) (advisory.Coverage, bool) {
	return advisory.Coverage{Ecosystem: ecosystem, Records: 1}, slices.Contains(m.covered, ecosystem)
}

var everything = []string{"Debian:12", "Alpine:v3.20", "Go", "npm", "PyPI"}

func debian(packages ...inventory.Package) *inventory.Image {
	return &inventory.Image{
		Distro:   inventory.Distro{ID: "debian", VersionID: "12", Ecosystem: "Debian:12"},
		Packages: packages,
	}
}

func npm(name, version, location string) inventory.Package {
	return inventory.Package{Name: name, Version: version, Type: inventory.TypeNpm, Location: location}
}

// events builds a range of "introduced 0", "fixed 1.2" and so on.
func events(typ string, pairs ...string) []advisory.Range {
	r := advisory.Range{Type: typ}
	for i := 0; i < len(pairs); i += 2 {
		var e advisory.Event
		switch pairs[i] {
		case "introduced":
			e.Introduced = pairs[i+1]
		case "fixed":
			e.Fixed = pairs[i+1]
		case "last_affected":
			e.LastAffected = pairs[i+1]
		case "limit":
			e.Limit = pairs[i+1]
		}
		r.Events = append(r.Events, e)
	}
	return []advisory.Range{r}
}

func TestRanges(t *testing.T) {
	two := append(events("SEMVER", "introduced", "0", "fixed", "1.5.0"), events("SEMVER", "introduced", "1.0.0", "fixed", "1.4.0")...)
	tests := []struct {
		name     string
		ranges   []advisory.Range
		versions []string
		version  string
		affected bool
		fixed    string
	}{
		{"from the beginning", events("SEMVER", "introduced", "0", "fixed", "1.2.0"), nil, "0.0.1", true, "1.2.0"},
		{"at the fix", events("SEMVER", "introduced", "0", "fixed", "1.2.0"), nil, "1.2.0", false, ""},
		{"never fixed", events("SEMVER", "introduced", "0"), nil, "9.0.0", true, ""},
		{"before it came", events("SEMVER", "introduced", "1.0.0"), nil, "0.9.0", false, ""},
		{"at its introduction", events("SEMVER", "introduced", "1.0.0"), nil, "1.0.0", true, ""},
		{"events out of order", events("SEMVER", "fixed", "3.1.0", "introduced", "3.0.0", "fixed", "2.5.0", "introduced", "2.0.0"), nil, "2.1.0", true, "2.5.0"},
		{"between intervals", events("SEMVER", "introduced", "2.0.0", "fixed", "2.5.0", "introduced", "3.0.0", "fixed", "3.1.0"), nil, "2.9.0", false, ""},
		{"second interval", events("SEMVER", "introduced", "2.0.0", "fixed", "2.5.0", "introduced", "3.0.0", "fixed", "3.1.0"), nil, "3.0.5", true, "3.1.0"},
		{"last affected", events("SEMVER", "introduced", "0", "last_affected", "1.2.0"), nil, "1.2.0", true, ""},
		{"after the last affected", events("SEMVER", "introduced", "0", "last_affected", "1.2.0"), nil, "1.2.1", false, ""},
		{"one version only", events("SEMVER", "introduced", "1.2.0", "last_affected", "1.2.0"), nil, "1.2.0", true, ""},
		{"after one version, events swapped", events("SEMVER", "last_affected", "1.2.0", "introduced", "1.2.0"), nil, "1.3.0", false, ""},
		{"a later fix does not end an interval without one", events("SEMVER", "introduced", "0", "last_affected", "1.2.0", "introduced", "2.0.0", "fixed", "2.1.0"), nil, "1.0.0", true, ""},
		{"empty interval", events("SEMVER", "introduced", "1.0.0", "fixed", "1.0.0"), nil, "1.0.0", false, ""},
		{"never affected", events("SEMVER", "introduced", "0", "fixed", "0"), nil, "1.0.0", false, ""},
		{"below the limit", events("SEMVER", "introduced", "1.0.0", "limit", "2.0.0"), nil, "1.5.0", true, ""},
		{"at the limit", events("SEMVER", "introduced", "1.0.0", "limit", "2.0.0"), nil, "2.0.0", false, ""},
		{"no limit", events("SEMVER", "introduced", "1.0.0", "limit", "*"), nil, "2.0.0", true, ""},
		{"listed", nil, []string{"1.0.0", "1.1.0"}, "1.1.0", true, ""},
		{"not listed", nil, []string{"1.0.0", "1.1.0"}, "1.2.0", false, ""},
		{"listed outside of the ranges", events("SEMVER", "introduced", "2.0.0", "fixed", "2.1.0"), []string{"1.1.0"}, "1.1.0", true, "2.1.0"},
		{"in two ranges", two, nil, "1.2.0", true, "1.5.0"},
		{"before a release", events("SEMVER", "introduced", "0", "fixed", "1.2.0"), nil, "1.2.0-rc.1", true, "1.2.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ix := &memory{covered: everything, advisories: []advisory.Advisory{
				{ID: "GHSA-1", Ecosystem: "npm", Package: "left-pad", Ranges: tt.ranges, Versions: tt.versions},
			}}
			got := match.Match(&inventory.Image{Packages: []inventory.Package{npm("left-pad", tt.version, "a/package.json")}}, ix)
			if affected := len(got.Findings) == 1; affected != tt.affected {
				t.Fatalf("affected = %v, want %v; gaps %v", affected, tt.affected, got.Gaps)
			}
			if tt.affected && got.Findings[0].Fixed != tt.fixed {
				t.Errorf("fixed in %q, want %q", got.Findings[0].Fixed, tt.fixed)
			}
			if len(got.Gaps) != 0 {
				t.Errorf("gaps %v", got.Gaps)
			}
		})
	}
}

func TestSourcePackage(t *testing.T) {
	ix := &memory{covered: everything, advisories: []advisory.Advisory{{
		ID: "DEBIAN-CVE-2023-0286", Aliases: []string{"CVE-2023-0286"}, Ecosystem: "Debian:12", Package: "openssl",
		Ranges: events("ECOSYSTEM", "introduced", "0", "fixed", "3.0.8-1"),
	}}}
	im := debian(
		inventory.Package{Name: "libssl3", Version: "3.0.7-1+b1", Type: inventory.TypeDeb, Source: "openssl", SourceVersion: "3.0.7-1", Location: "var/lib/dpkg/status"},
		inventory.Package{Name: "openssl", Version: "3.0.8-1", Type: inventory.TypeDeb, Source: "openssl", SourceVersion: "3.0.8-1", Location: "var/lib/dpkg/status"},
	)
	got := match.Match(im, ix)
	want := []finding.Finding{{
		ID: "DEBIAN-CVE-2023-0286", Aliases: []string{"CVE-2023-0286"}, Package: "libssl3", Version: "3.0.7-1+b1", Type: "deb",
		MatchedAs: "openssl", Fixed: "3.0.8-1", Feed: "Debian:12", Locations: []string{"var/lib/dpkg/status"},
	}}
	if diff := cmp.Diff(want, got.Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]advisory.Key{{Ecosystem: "Debian:12", Package: "openssl"}}, got.Keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if !got.Covered || got.Distro.Ecosystem != "Debian:12" {
		t.Errorf("covered %v by %v", got.Covered, got.Distro)
	}
}

func TestJoin(t *testing.T) {
	all := func(fixed string) []advisory.Range { return events("SEMVER", "introduced", "0", "fixed", fixed) }
	tests := []struct {
		name       string
		advisories []advisory.Advisory
		want       []string // id, aliases, fixed
	}{
		{"by alias", []advisory.Advisory{
			{ID: "GO-2023-1", Aliases: []string{"CVE-2023-1"}, Ranges: all("1.2.0")},
			{ID: "GHSA-x", Aliases: []string{"CVE-2023-1"}, Ranges: all("1.3.0")},
		}, []string{"GHSA-x [CVE-2023-1 GO-2023-1] 1.3.0"}},
		{"in a chain", []advisory.Advisory{
			{ID: "PYSEC-1", Aliases: []string{"CVE-1"}, Ranges: all("1.2.0")},
			{ID: "OTHER-1", Aliases: []string{"CVE-1", "GHSA-x"}, Ranges: all("1.2.0")},
			{ID: "GHSA-x", Ranges: all("1.2.0")},
		}, []string{"GHSA-x [CVE-1 OTHER-1 PYSEC-1] 1.2.0"}},
		{"a fix beats none", []advisory.Advisory{
			{ID: "GHSA-x", Aliases: []string{"CVE-1"}, Ranges: events("SEMVER", "introduced", "0")},
			{ID: "GO-1", Aliases: []string{"CVE-1"}, Ranges: all("1.2.0")},
		}, []string{"GHSA-x [CVE-1 GO-1] 1.2.0"}},
		{"nothing in common", []advisory.Advisory{
			{ID: "GHSA-x", Aliases: []string{"CVE-1"}, Ranges: all("1.2.0")},
			{ID: "GHSA-y", Aliases: []string{"CVE-2"}, Ranges: all("1.2.0")},
		}, []string{"GHSA-x [CVE-1] 1.2.0", "GHSA-y [CVE-2] 1.2.0"}},
		{"one that does not hit joins nothing", []advisory.Advisory{
			{ID: "GHSA-x", Aliases: []string{"CVE-1"}, Ranges: all("1.2.0")},
			{ID: "GHSA-y", Aliases: []string{"CVE-2"}, Ranges: all("1.2.0")},
			{ID: "GO-1", Aliases: []string{"CVE-1", "CVE-2"}, Ranges: all("0.5.0")},
		}, []string{"GHSA-x [CVE-1] 1.2.0", "GHSA-y [CVE-2] 1.2.0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.advisories {
				tt.advisories[i].Ecosystem, tt.advisories[i].Package = "npm", "p"
			}
			got := match.Match(&inventory.Image{Packages: []inventory.Package{npm("p", "1.0.0", "p/package.json")}},
				&memory{covered: everything, advisories: tt.advisories})
			if diff := cmp.Diff(tt.want, summaries(got.Findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// An erratum that fixes several vulnerabilities must not make them one.
func TestErratum(t *testing.T) {
	record := func(id, fixed string, aliases ...string) advisory.Advisory {
		return advisory.Advisory{ID: id, Aliases: aliases, Ecosystem: "Debian:12", Package: "expat", Ranges: events("ECOSYSTEM", "introduced", "0", "fixed", fixed)}
	}
	im := debian(inventory.Package{Name: "expat", Version: "1.0", Type: inventory.TypeDeb, Location: "var/lib/dpkg/status"})
	erratum := record("DSA-1", "1.1", "CVE-1", "CVE-2")
	tests := []struct {
		name       string
		advisories []advisory.Advisory
		want       []string
	}{
		{"all have records", []advisory.Advisory{record("DEBIAN-CVE-1", "1.1", "CVE-1"), erratum, record("DEBIAN-CVE-2", "1.1", "CVE-2")},
			[]string{"DEBIAN-CVE-1 [CVE-1 DSA-1] 1.1", "DEBIAN-CVE-2 [CVE-2 DSA-1] 1.1"}},
		{"one has none", []advisory.Advisory{record("DEBIAN-CVE-1", "1.1", "CVE-1"), erratum},
			[]string{"DEBIAN-CVE-1 [CVE-1 DSA-1] 1.1", "DSA-1 [CVE-2] 1.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := match.Match(im, &memory{covered: everything, advisories: tt.advisories})
			if diff := cmp.Diff(tt.want, summaries(got.Findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
