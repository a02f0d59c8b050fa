package match_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
)

func TestGaps(t *testing.T) {
	deb := inventory.Package{Name: "tar", Version: "1.34", Type: inventory.TypeDeb, Location: "var/lib/dpkg/status"}
	apk := inventory.Package{Name: "busybox", Version: "1.36-r0", Type: inventory.TypeApk, Location: "srv/lib/apk/db/installed"}
	alpine := inventory.Distro{ID: "alpine", VersionID: "3.99", Ecosystem: "Alpine:v3.99"}
	record := advisory.Advisory{ID: "GHSA-x", Ecosystem: "npm", Package: "p", Ranges: events("SEMVER", "introduced", "0", "fixed", "1.0.0")}
	tests := []struct {
		name    string
		image   *inventory.Image
		index   *memory
		covered bool
		want    []inventory.Gap
	}{
		{"all is covered", debian(deb, npm("p", "2.0.0", "p/package.json")), &memory{covered: everything}, true, nil},
		{"no packages at all", &inventory.Image{}, &memory{}, true, nil},
		{"unknown distribution", &inventory.Image{Distro: inventory.Distro{ID: "slackware", VersionID: "15"}, Packages: []inventory.Package{deb}},
			&memory{covered: everything}, false,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapNoDistroData, Layer: -1,
				Detail: `there are no vulnerability data for 1 system packages of "slackware" "15"`}}},
		{"no os-release", &inventory.Image{Packages: []inventory.Package{deb, deb}}, &memory{covered: everything}, false,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapNoDistroData, Layer: -1,
				Detail: "there are no vulnerability data for 1 system packages of an unknown distribution"}}},
		{"release without data", &inventory.Image{Distro: alpine, Packages: []inventory.Package{apk}}, &memory{covered: everything}, false,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapNoDistroData, Layer: -1,
				Detail: "there are no vulnerability data for 1 system packages of alpine 3.99 (Alpine:v3.99)"}}},
		{"another distribution inside", debian(deb, apk), &memory{covered: everything}, true,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapNoDistroData, Layer: -1,
				Detail: "there are no vulnerability data for 1 system packages of debian 12 (Debian:12)"}}},
		{"ecosystem without data", debian(npm("p", "1.0.0", "p/package.json"), npm("q", "1.0.0", "q/package.json")), &memory{covered: []string{"Debian:12"}}, true,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapNoEcosystemData, Layer: -1,
				Detail: "there are no vulnerability data for 2 npm packages"}}},
		{"type without ecosystem", debian(inventory.Package{Name: "j", Version: "1", Type: "vsix", Location: "j.vsix"}), &memory{covered: everything}, true,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapNoEcosystemData, Layer: -1,
				Detail: "there are no vulnerability data for 1 vsix packages"}}},
		{"programs known by their text alone", debian(inventory.Package{Name: "nginx", Version: "1.25.3", Type: inventory.TypeBinary, Location: "usr/sbin/nginx"}), &memory{covered: everything}, true,
			[]inventory.Gap{{Kind: inventory.Partial, Code: match.GapNoEcosystemData, Layer: -1,
				Detail: "there are no vulnerability data for 1 Bitnami packages"}}},
		{"version that cannot be read", &inventory.Image{Packages: []inventory.Package{npm("p", "not a version", "p/package.json")}},
			&memory{covered: everything, advisories: []advisory.Advisory{record}}, true,
			[]inventory.Gap{{Kind: inventory.Partial, Code: match.GapIncomparable, Path: "p/package.json",
				Detail: `version "not a version" of npm package "p" cannot be compared with GHSA-x`}}},
		{"index that cannot be read", &inventory.Image{Packages: []inventory.Package{npm("p", "1.0.0", "p/package.json")}},
			&memory{covered: everything, broken: true}, true,
			[]inventory.Gap{{Kind: inventory.Blind, Code: match.GapUnreadable, Path: "p/package.json",
				Detail: `the advisories of npm package "p" could not be read`}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := match.Match(tt.image, tt.index)
			if diff := cmp.Diff(tt.want, got.Gaps); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
			}
			if got.Covered != tt.covered {
				t.Errorf("covered = %v, want %v", got.Covered, tt.covered)
			}
			if len(got.Findings) != 0 {
				t.Errorf("findings %v", got.Findings)
			}
		})
	}
}

// A range from the beginning with no end affects every version but one that
// cannot be read: of that nothing is known.
func TestIncomparableIsNeverAffectedByRange(t *testing.T) {
	ix := &memory{covered: everything, advisories: []advisory.Advisory{
		{ID: "GHSA-x", Ecosystem: "npm", Package: "p", Ranges: events("SEMVER", "introduced", "0"), Versions: []string{"odd one"}},
	}}
	for version, want := range map[string][2]int{"odd one": {1, 0}, "odd two": {0, 1}} {
		got := match.Match(&inventory.Image{Packages: []inventory.Package{npm("p", version, "p/package.json")}}, ix)
		if diff := cmp.Diff(want, [2]int{len(got.Findings), len(got.Gaps)}); diff != "" {
			t.Errorf("%s: findings and gaps (-want +got):\n%s", version, diff)
		}
	}
}

func TestOwnedPackages(t *testing.T) {
	owned := inventory.Package{Name: "requests", Version: "2.0.0", Type: inventory.TypePython, Location: "usr/lib/python3/dist-packages/requests/METADATA", OwnedBy: "python3-requests"}
	free := inventory.Package{Name: "Requests", Version: "2.0.0", Type: inventory.TypePython, Location: "usr/local/lib/requests/METADATA"}
	record := advisory.Advisory{ID: "PYSEC-1", Ecosystem: "PyPI", Package: "requests", Versions: []string{"2.0"}}
	tests := []struct {
		name    string
		covered []string
		want    []string // locations of findings
	}{
		{"the distribution decides", everything, []string{"usr/local/lib/requests/METADATA"}},
		{"without its data it cannot", []string{"PyPI"}, []string{"usr/local/lib/requests/METADATA", "usr/lib/python3/dist-packages/requests/METADATA"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := match.Match(debian(owned, free), &memory{covered: tt.covered, advisories: []advisory.Advisory{record}})
			var at []string
			for _, f := range got.Findings {
				at = append(at, f.Locations...)
			}
			if diff := cmp.Diff(tt.want, at); diff != "" {
				t.Errorf("found at (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeveralPlaces(t *testing.T) {
	ix := &memory{covered: everything, advisories: []advisory.Advisory{{ID: "GHSA-x", Ecosystem: "npm", Package: "p", Versions: []string{"1.0.0"}}}}
	b, a := npm("p", "1.0.0", "b/package.json"), npm("p", "1.0.0", "a/package.json")
	b.Layer = 1
	got := match.Match(&inventory.Image{Packages: []inventory.Package{b, a, npm("p", "2.0.0", "c/package.json")}}, ix)
	if len(got.Findings) != 1 {
		t.Fatalf("%d findings, want 1", len(got.Findings))
	}
	if diff := cmp.Diff([]string{"a/package.json", "b/package.json"}, got.Findings[0].Locations); diff != "" {
		t.Errorf("locations (-want +got):\n%s", diff)
	}
}
