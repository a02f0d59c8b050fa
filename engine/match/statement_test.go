package match_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
)

func rated(word string, cvss ...string) func(*advisory.Advisory) {
	return func(a *advisory.Advisory) {
		a.Rating, a.RatingSource, a.VendorFinal, a.CVSS = word, "Red Hat", true, cvss
	}
}

// TestStatements: what a vendor states of single CVEs fills what its errata do
// not tell, and changes neither id nor fix of what they do.
func TestStatements(t *testing.T) {
	const appstream, release = "Red Hat:enterprise_linux:9::appstream", "Red Hat:enterprise_linux:9"
	const suse = "SUSE:Linux Enterprise Server 15 SP5"
	rhel := inventory.Distro{ID: "rhel", VersionID: "9.4", Ecosystem: "Red Hat:enterprise_linux:9::baseos", Also: []string{appstream, release}}
	sles := inventory.Distro{ID: "sles", VersionID: "15.5", Ecosystem: suse}
	curl := rpm("libcurl", "0:7.76.1-20.el9")
	curl.Source = "curl"
	pcre := rpm("libpcre1", "0:8.45-8.7.1")
	pcre.Source = "pcre"
	node := rpm("nodejs", "1:16.20.2-1.module_el9")
	node.Module = "nodejs:16"
	erratum := fixedIn("RHSA-1", appstream, "libcurl", "0:7.76.1-26.el9_3.2", alias("CVE-1", "CVE-2"))
	related := fixedIn("RHSA-1", appstream, "libcurl", "0:7.76.1-26.el9_3.2", func(a *advisory.Advisory) { a.Related = []string{"CVE-1"} })
	for _, tt := range []struct {
		name    string
		distro  inventory.Distro
		pkg     inventory.Package
		records []advisory.Advisory
		want    []string
	}{
		{"no fix is planned", rhel, curl, []advisory.Advisory{fixedIn("CVE-1", release, "libcurl", "", status("will-not-fix"), rated("low"))}, []string{"CVE-1 [] will-not-fix low"}},
		{"of the source package", rhel, curl, []advisory.Advisory{fixedIn("CVE-1", release, "curl.src", "", status("affected"))}, []string{"CVE-1 [] affected unknown as curl"}},
		{"of both, once", rhel, curl, []advisory.Advisory{
			fixedIn("CVE-1", release, "libcurl", "", status("fix-deferred")), fixedIn("CVE-1", release, "curl.src", "", status("affected")),
		}, []string{"CVE-1 [] fix-deferred unknown"}},
		{"of another package of that name", rhel, curl, []advisory.Advisory{fixedIn("CVE-1", release, "curl", "", status("affected"))}, nil},
		{"fixed, without an erratum", rhel, curl, []advisory.Advisory{fixedIn("CVE-1", release, "libcurl", "0:7.76.1-26.el9_3.2")}, []string{"CVE-1 [] 0:7.76.1-26.el9_3.2 unknown"}},
		{"an erratum stays one finding", rhel, curl, []advisory.Advisory{
			erratum, fixedIn("CVE-1", release, "libcurl", "0:7.76.1-30.el9_4", rated("medium")), fixedIn("CVE-2", release, "libcurl", "0:7.76.1-30.el9_4", rated("low")),
		}, []string{"RHSA-1 [CVE-1 CVE-2] 0:7.76.1-26.el9_3.2 medium"}},
		{"a CVE that the vendor does not rate keeps the severity", rhel, curl, []advisory.Advisory{
			erratum, fixedIn("CVE-1", release, "libcurl", "0:7.76.1-26.el9_3.2", rated("low", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")),
		}, []string{"RHSA-1 [CVE-1 CVE-2] 0:7.76.1-26.el9_3.2 critical"}},
		{"an erratum that only relates", rhel, curl, []advisory.Advisory{related, fixedIn("CVE-1", release, "libcurl", "0:9", rated("medium"))}, []string{"RHSA-1 [CVE-1] 0:7.76.1-26.el9_3.2 medium"}},
		{"an erratum, and what it does not fix", rhel, curl, []advisory.Advisory{
			erratum, fixedIn("CVE-3", release, "libcurl", "", status("affected")),
		}, []string{"RHSA-1 [CVE-1 CVE-2] 0:7.76.1-26.el9_3.2 unknown", "CVE-3 [] affected unknown"}},
		{"an erratum beats an old statement", rhel, curl, []advisory.Advisory{
			erratum, fixedIn("CVE-1", release, "curl.src", "", status("will-not-fix")),
		}, []string{"RHSA-1 [CVE-1 CVE-2] 0:7.76.1-26.el9_3.2 unknown"}},
		{"installed is the fix of an erratum", rhel, rpm("libcurl", "0:7.76.1-26.el9_3.2"), []advisory.Advisory{
			erratum, fixedIn("CVE-1", release, "libcurl", "", status("affected")), fixedIn("CVE-2", release, "libcurl", "0:7.76.1-30.el9_4"),
		}, nil},
		{"not affected", rhel, curl, []advisory.Advisory{
			fixedIn("CVE-1", release, "libcurl", "", status("not-affected")), fixedIn("CVE-1", release, "curl.src", "", status("affected")),
		}, nil},
		{"the source is not affected, and yet the package", rhel, curl, []advisory.Advisory{
			fixedIn("CVE-1", release, "libcurl", "", status("affected")), fixedIn("CVE-1", release, "curl.src", "", status("not-affected")),
		}, []string{"CVE-1 [] affected unknown"}},
		{"the source is not affected", rhel, curl, []advisory.Advisory{erratum, fixedIn("CVE-1", release, "curl.src", "", status("not-affected"))}, []string{"RHSA-1 [CVE-1 CVE-2] 0:7.76.1-26.el9_3.2 unknown"}},
		{"another stream is not affected", rhel, node, []advisory.Advisory{
			fixedIn("CVE-1", release, "nodejs", "", status("not-affected")), fixedIn("CVE-1", release, "nodejs", "", status("affected"), module("nodejs:16")),
		}, []string{"CVE-1 [] affected unknown"}},
		{"SUSE's binary has the fix that its source lacks", sles, pcre, []advisory.Advisory{
			fixedIn("CVE-1", suse, "libpcre1.rpm", "8.39-8.3.1"), fixedIn("CVE-1", suse, "pcre", "", status("affected")), fixedIn("CVE-1", suse, "pcre.rpm", "", status("affected")),
		}, nil},
		{"SUSE's source has none", sles, pcre, []advisory.Advisory{fixedIn("CVE-1", suse, "pcre", "", status("will-not-fix")), fixedIn("CVE-1", suse, "pcre.rpm", "", status("will-not-fix"))}, []string{"CVE-1 [] will-not-fix unknown as pcre"}},
		{"SUSE's binary beside an erratum", sles, pcre, []advisory.Advisory{
			fixedIn("SUSE-SU-2024:1-1", suse, "pcre", "8.45-8.9.1", alias("CVE-1")), fixedIn("CVE-1", suse, "libpcre1.rpm", "8.45-8.9.1", rated("high")),
		}, []string{"SUSE-SU-2024:1-1 [CVE-1] 8.45-8.9.1 high as pcre"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.records {
				tt.records[i].WillNotFix = tt.records[i].Status == advisory.StatusWillNotFix
			}
			res := match.Match(&inventory.Image{Distro: tt.distro, Packages: []inventory.Package{tt.pkg}}, &memory{advisories: tt.records, covered: []string{tt.distro.Ecosystem}})
			var got []string
			for _, f := range res.Findings {
				line := f.ID + " [" + strings.Join(f.Aliases, " ") + "]"
				if f.MatchedAs != "" {
					f.MatchedAs = "as " + f.MatchedAs
				}
				for _, more := range []string{f.Fixed, f.VendorStatus, f.Severity.String(), f.MatchedAs} {
					if more != "" {
						line += " " + more
					}
				}
				if f.WillNotFix != (f.VendorStatus == advisory.StatusWillNotFix) {
					line += " and yet to be fixed"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCPE: a program that no ecosystem has records about is looked up by its CPE,
// and the finding says so. What an ecosystem or a distribution knows is not.
func TestCPE(t *testing.T) {
	const openssl = "cpe:2.3:a:openssl:openssl"
	program := inventory.Package{Type: inventory.TypeBinary, Name: "openssl", Version: "1.1.1t", Location: "usr/local/lib/libssl.so", CPE: openssl + ":1.1.1t:*:*:*:*:*:*:*"}
	redis := inventory.Package{Type: inventory.TypeBinary, Name: "redis", Version: "7.0.0", Location: "usr/local/bin/redis-server", CPE: "cpe:2.3:a:redis:redis:7.0.0:*:*:*:*:*:*:*"}
	owned := program
	owned.OwnedBy = "libssl1.1"
	ix := &memory{covered: []string{"Debian:12", "Bitnami", advisory.NVD}, scores: map[string]advisory.Score{"CVE-2024-1": {CVE: "CVE-2024-1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Base: 9.8}}, advisories: []advisory.Advisory{
		fixedIn("CVE-2024-1", advisory.NVD, openssl, "1.1.1w"), fixedIn("CVE-2024-2", advisory.NVD, openssl, "1.1.1"), fixedIn("CVE-2024-3", advisory.NVD, "cpe:2.3:a:redis:redis", "8.0.0"),
	}}
	res := match.Match(debian(program, redis), ix)
	if len(res.Findings) != 1 || len(res.Gaps) != 0 {
		t.Fatalf("%+v\n%+v", res.Findings, res.Gaps)
	}
	if f := res.Findings[0]; f.ID != "CVE-2024-1" || f.Feed != advisory.NVD || f.MatchedAs != openssl || f.Fixed != "1.1.1w" || f.Severity.String() != "critical" {
		t.Errorf("%+v", f)
	}
	if res := match.Match(debian(owned), ix); len(res.Findings) != 0 {
		t.Errorf("owned by the distribution: %+v", res.Findings)
	}
}
