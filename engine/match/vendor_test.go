package match_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
)

// fixedIn is an advisory for everything before a version; "" for all versions.
func fixedIn(id, ecosystem, pkg, fixed string, more ...func(*advisory.Advisory)) advisory.Advisory {
	events := []advisory.Event{{Introduced: "0"}}
	if fixed != "" {
		events = append(events, advisory.Event{Fixed: fixed})
	}
	a := advisory.Advisory{ID: id, Ecosystem: ecosystem, Package: pkg, Ranges: []advisory.Range{{Type: "ECOSYSTEM", Events: events}}}
	for _, change := range more {
		change(&a)
	}
	return a
}

func status(s string) func(*advisory.Advisory) { return func(a *advisory.Advisory) { a.Status = s } }
func module(m string) func(*advisory.Advisory) { return func(a *advisory.Advisory) { a.Module = m } }
func alias(names ...string) func(*advisory.Advisory) {
	return func(a *advisory.Advisory) { a.Aliases = names }
}

func rpm(name, version string) inventory.Package {
	return inventory.Package{Type: inventory.TypeRPM, Name: name, Version: version, Source: name, SourceVersion: version, Location: "var/lib/rpm/rpmdb.sqlite"}
}

// TestVendors: what the records of distributions say, beside ranges of versions.
func TestVendors(t *testing.T) {
	alma := inventory.Distro{ID: "almalinux", VersionID: "9.0", Ecosystem: "AlmaLinux:9"}
	rhel := inventory.Distro{ID: "rhel", VersionID: "9.4", Ecosystem: "Red Hat:enterprise_linux:9::baseos", Also: []string{"Red Hat:enterprise_linux:9::appstream"}}
	rocky := inventory.Distro{ID: "rocky", VersionID: "9.0", Ecosystem: "Rocky Linux:9"}
	ubuntu := inventory.Distro{ID: "ubuntu", VersionID: "18.04", Ecosystem: "Ubuntu:18.04:LTS", Also: []string{"Ubuntu:Pro:18.04:LTS"}}
	modular := rpm("nodejs", "1:16.20.2-1.module_el9.2.0+1+abc")
	modular.Module = "nodejs:16"
	sub := rpm("ruby-libs", "3.0.4-160.el9")
	sub.Source = "ruby"
	esm := inventory.Package{Type: inventory.TypeDeb, Name: "zlib1g", Source: "zlib", Version: "1:1.2.11-0ubuntu2.2+esm1", Location: "var/lib/dpkg/status"}
	plain := esm
	plain.Version = "1:1.2.11-0ubuntu2.2"
	for _, tt := range []struct {
		name    string
		distro  inventory.Distro
		pkg     inventory.Package
		records []advisory.Advisory
		want    []string
	}{
		{"rpm by binary name", alma, rpm("bash", "0:5.1.8-4.el9"), []advisory.Advisory{fixedIn("ALSA-1", "AlmaLinux:9", "bash", "5.1.8-6.el9_1")}, []string{"ALSA-1 5.1.8-6.el9_1"}},
		{"rpm with the fix", alma, rpm("bash", "0:5.1.8-6.el9_1"), []advisory.Advisory{fixedIn("ALSA-1", "AlmaLinux:9", "bash", "5.1.8-6.el9_1")}, nil},
		{"an epoch counts", alma, rpm("bash", "1:5.1.8-4.el9"), []advisory.Advisory{fixedIn("ALSA-1", "AlmaLinux:9", "bash", "5.1.8-6.el9_1")}, nil},
		{"rpm by source name", rocky, sub, []advisory.Advisory{fixedIn("RLSA-1", "Rocky Linux:9", "ruby", "0:3.0.4-161.el9")}, []string{"RLSA-1 0:3.0.4-161.el9"}},
		{"in another repository of the release", rhel, rpm("git", "0:2.39.3-1.el9"), []advisory.Advisory{fixedIn("RHSA-1", "Red Hat:enterprise_linux:9::appstream", "git", "0:2.43.0-1.el9")}, []string{"RHSA-1 0:2.43.0-1.el9"}},
		{"in two repositories of the release", rhel, rpm("git", "0:2.39.3-1.el9"), []advisory.Advisory{
			fixedIn("RHSA-1", "Red Hat:enterprise_linux:9::appstream", "git", "0:2.43.0-1.el9"), fixedIn("RHSA-1", "Red Hat:enterprise_linux:9::baseos", "git", "0:2.43.0-1.el9"),
		}, []string{"RHSA-1 0:2.43.0-1.el9"}},
		{"another module stream", alma, modular, []advisory.Advisory{fixedIn("ALSA-1", "AlmaLinux:9", "nodejs", "1:18.0.0-1.module_el9", module("nodejs:18"))}, nil},
		{"the same module stream", alma, modular, []advisory.Advisory{fixedIn("ALSA-1", "AlmaLinux:9", "nodejs", "1:16.20.3-1.module_el9", module("nodejs:16"))}, []string{"ALSA-1 1:16.20.3-1.module_el9"}},
		{"a module's record and a package of none", alma, rpm("nodejs", "1:16.20.2-1.el9"), []advisory.Advisory{fixedIn("ALSA-1", "AlmaLinux:9", "nodejs", "1:18.0.0-1.module_el9", module("nodejs:18"))}, nil},
		{"not affected, says the vendor", rhel, rpm("git", "0:2.39.3-1.el9"), []advisory.Advisory{
			fixedIn("RHSA-1", "Red Hat:enterprise_linux:9::appstream", "git", "", alias("CVE-2024-1")),
			fixedIn("VEX-1", "Red Hat:enterprise_linux:9::baseos", "git", "", alias("CVE-2024-1"), status(advisory.StatusNotAffected)),
		}, nil},
		{"not affected by one of two", rhel, rpm("git", "0:2.39.3-1.el9"), []advisory.Advisory{
			fixedIn("RHSA-1", "Red Hat:enterprise_linux:9::appstream", "git", "", alias("CVE-2024-1", "CVE-2024-2")),
			fixedIn("VEX-1", "Red Hat:enterprise_linux:9::baseos", "git", "", alias("CVE-2024-1"), status(advisory.StatusNotAffected)),
		}, []string{"RHSA-1"}},
		{"will not be fixed", rhel, rpm("git", "0:2.39.3-1.el9"), []advisory.Advisory{fixedIn("CVE-2024-1", "Red Hat:enterprise_linux:9::appstream", "git", "", status("will-not-fix"))}, []string{"CVE-2024-1 will-not-fix"}},
		{"Ubuntu Pro's package by its own records", ubuntu, esm, []advisory.Advisory{
			fixedIn("UBUNTU-CVE-2022-1", "Ubuntu:18.04:LTS", "zlib", ""), fixedIn("UBUNTU-CVE-2022-1", "Ubuntu:Pro:18.04:LTS", "zlib", "1:1.2.11-0ubuntu2.2+esm1"),
		}, nil},
		{"what only Ubuntu Pro fixes", ubuntu, plain, []advisory.Advisory{fixedIn("UBUNTU-CVE-2022-1", "Ubuntu:Pro:18.04:LTS", "zlib", "1:1.2.11-0ubuntu2.2+esm1")}, []string{"UBUNTU-CVE-2022-1 1:1.2.11-0ubuntu2.2+esm1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := match.Match(&inventory.Image{Distro: tt.distro, Packages: []inventory.Package{tt.pkg}}, &memory{advisories: tt.records, covered: []string{tt.distro.Ecosystem}})
			var got []string
			for _, f := range res.Findings {
				line := f.ID
				for _, more := range []string{f.Fixed, f.VendorStatus} {
					if more != "" {
						line += " " + more
					}
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(res.Gaps) > 0 {
				t.Errorf("gaps %+v", res.Gaps)
			}
		})
	}
}

// TestErrata: an erratum that mends no vulnerability is told apart, and comes
// after those that do; what is known of attacks is told of an erratum's CVEs too.
func TestErrata(t *testing.T) {
	added := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	ix := &memory{
		advisories: []advisory.Advisory{
			fixedIn("ALBA-1", "AlmaLinux:9", "bash", "6", func(a *advisory.Advisory) { a.Kind, a.Rating = "bugfix", "critical" }),
			fixedIn("ALSA-1", "AlmaLinux:9", "bash", "6", func(a *advisory.Advisory) { a.Related = []string{"CVE-2024-2", "CVE-2024-1"} }),
		},
		facts:   map[string]advisory.CVEFacts{"CVE-2024-2": {EPSS: 0.5, Percentile: 0.9, KEV: &advisory.KEVEntry{Added: added, Ransomware: true}}, "CVE-2024-1": {EPSS: 0.1, Percentile: 0.4}},
		covered: []string{"AlmaLinux:9"},
	}
	im := &inventory.Image{
		Distro: inventory.Distro{ID: "almalinux", VersionID: "9.0", Ecosystem: "AlmaLinux:9"}, Packages: []inventory.Package{rpm("bash", "5")},
		Layers: []digest.Digest{"sha256:base"}, Instructions: []string{"ADD rootfs /"},
	}
	res := match.Match(im, ix)
	vulnerabilities := res.Vulnerabilities()
	if len(res.Findings) != 2 || len(vulnerabilities) != 1 || vulnerabilities[0].ID != "ALSA-1" || res.Findings[1].Class != "bugfix" {
		t.Fatalf("%+v", res.Findings)
	}
	f := vulnerabilities[0]
	if want := (&finding.KEV{CVE: "CVE-2024-2", Added: added, Ransomware: true}); !cmp.Equal(f.KEV, want) || f.EPSS != 0.5 || f.EPSSPercentile != 0.9 {
		t.Errorf("attacks: %+v %v %v", f.KEV, f.EPSS, f.EPSSPercentile)
	}
	if !slices.Equal(f.Related, []string{"CVE-2024-1", "CVE-2024-2"}) || f.LayerDigest != "sha256:base" || f.Instruction != "ADD rootfs /" {
		t.Errorf("%+v", f)
	}
}

// TestUnsupported: a release that its vendor has given up is a gap.
func TestUnsupported(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		id, version string
		want        int
	}{
		{"debian", "12", 0}, {"debian", "10", 1}, {"debian", "12.7", 0}, {"alpine", "3.12.12", 1}, {"alpine", "3.22.1", 0}, {"ubuntu", "18.04", 1},
		{"opensuse-leap", "15.4", 1}, {"rhel", "9.4", 0}, {"wolfi", "2023", 0}, {"", "", 0},
	} {
		if got := match.Unsupported(inventory.Distro{ID: tt.id, VersionID: tt.version}, now); len(got) != tt.want {
			t.Errorf("%s %s: %+v", tt.id, tt.version, got)
		}
	}
}
