package bundle_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/finding"
)

// The numbers are sections of the reference of Anchore's language.
func TestPackageTrigger(t *testing.T) {
	severity := func(s finding.Severity) finding.Finding {
		return with(openssl(), func(f *finding.Finding) { f.Severity = s })
	}
	unfixed := with(openssl(), func(f *finding.Finding) { f.Fixed = "" })
	wontFix := with(unfixed, func(f *finding.Finding) { f.WillNotFix, f.Severity = true, finding.High })
	unscored := with(openssl(), func(f *finding.Finding) { f.Score, f.CVSS = 0, nil })
	byNVD := with(unscored, func(f *finding.Finding) { f.Score, f.NVD = 9.8, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" })
	npm := finding.Finding{ID: "GHSA-x", Aliases: []string{"CVE-1"}, Package: "@scope/express", Version: "4.16.4", Type: "npm", Severity: finding.High,
		Locations: []string{"app/node_modules/express/package.json"}}
	golang := finding.Finding{ID: "GO-2023-1", Package: "stdlib", Version: "go1.21.0", Type: "go", Severity: finding.High, Locations: []string{"usr/local/bin/app"}}
	log4j := finding.Finding{ID: "CVE-2021-44228", Package: "org.apache.logging.log4j:log4j-core", Version: "2.14.1", Type: "java", Severity: finding.Critical}
	java := func(place string) finding.Finding {
		return with(log4j, func(f *finding.Finding) { f.Locations = []string{place} })
	}
	twice := with(npm, func(f *finding.Finding) {
		f.Locations = []string{"test/express/package.json", "app/node_modules/express/package.json"}
	})
	tests := []struct {
		name   string
		params []string
		found  finding.Finding
		want   string // trigger id; empty: silent
	}{
		{"3.13.1 worked: at least medium", []string{"severity_comparison", ">=", "severity", "medium"}, openssl(), "CVE-2018-0737+openssl"},
		{"3.13.1 worked: above medium", []string{"severity_comparison", ">", "severity", "medium"}, openssl(), ""},
		{"3.13.1 worked: without a fix", []string{"severity_comparison", ">=", "severity", "medium", "fix_available", "false"}, openssl(), ""},
		{"3.13.1 seed A: critical, no fix", seed(), with(unfixed, func(f *finding.Finding) { f.Severity = finding.Critical }), ""},
		{"3.13.1 seed B: high with fix", seed(), severity(finding.High), "CVE-2018-0737+openssl"},
		{"3.13.1 seed C: medium with fix", seed(), severity(finding.Medium), ""},
		{"3.13.1 seed D: high, will not be fixed", seed(), wontFix, ""},
		{"3.13.1 seed E: unknown with fix", seed(), severity(finding.Unknown), ""},
		{"6.8 defaults: unknown", nil, severity(finding.Unknown), ""},
		{"6.8 defaults: negligible", nil, severity(finding.Negligible), "CVE-2018-0737+openssl"},
		{"6.9 time of the fix not known", []string{"fix_available", "true", "max_days_since_fix", "7"}, openssl(), "CVE-2018-0737+openssl"},
		{"6.9 but no fix", []string{"fix_available", "true", "max_days_since_fix", "7"}, unfixed, ""},
		{"6.10 days without fix_available", []string{"max_days_since_fix", "7"}, unfixed, "CVE-2018-0737+openssl"},
		{"time of detection not known", []string{"max_days_since_creation", "7"}, openssl(), "CVE-2018-0737+openssl"},
		{"6.11 no score is below all", []string{"cvss_v3_base_score_comparison", "<", "cvss_v3_base_score", "4"}, unscored, "CVE-2018-0737+openssl"},
		{"no score is above none", []string{"cvss_v3_base_score", "0"}, unscored, ""},
		{"score at the limit", []string{"cvss_v3_base_score", "5.9"}, openssl(), "CVE-2018-0737+openssl"},
		{"score below the limit", []string{"cvss_v3_base_score", "6"}, openssl(), ""},
		{"score by NVD", []string{"cvss_v3_base_score", "9.8", "cvss_v3_impact_score", "5.9"}, byNVD, "CVE-2018-0737+openssl"},
		{"vendor score is not NVD's", []string{"vendor_cvss_v3_base_score", "0.1"}, byNVD, ""},
		{"vendor score", []string{"vendor_cvss_v3_base_score", "5"}, openssl(), "CVE-2018-0737+openssl"},
		{"exploitability", []string{"cvss_v3_exploitability_score", "2.3"}, openssl(), ""},
		{"impact", []string{"cvss_v3_impact_score_comparison", "=", "cvss_v3_impact_score", "3.6"}, openssl(), "CVE-2018-0737+openssl"},
		{"will not be fixed, wanted all the same", []string{"vendor_only", "FALSE"}, wontFix, "CVE-2018-0737+openssl"},
		{"os alone: system package", []string{"package_type", "os"}, openssl(), "CVE-2018-0737+openssl"},
		{"os alone: npm", []string{"package_type", "os"}, npm, ""},
		{"non-os alone: npm", []string{"package_type", "non-os"}, npm, "GHSA-x+express"},
		{"non-os alone: system package", []string{"package_type", "non-os"}, openssl(), ""},
		{"go", nil, golang, "GO-2023-1+stdlib-go1.21.0"},
		{"java archive", nil, java("opt/log4j-core-2.14.1.jar"), "CVE-2021-44228+log4j-core-2.14.1.jar"},
		{"java archive that describes itself", nil, java("opt/log4j-core-2.14.1.jar!/META-INF/maven/org.apache.logging.log4j/log4j-core/pom.properties"), "CVE-2021-44228+log4j-core-2.14.1.jar"},
		{"java archive with a manifest", nil, java("opt/log4j-core.jar!/META-INF/MANIFEST.MF"), "CVE-2021-44228+log4j-core.jar"},
		{"java archive in another", nil, java("app.war!/WEB-INF/lib/log4j-core-2.14.1.jar!/META-INF/MANIFEST.MF"), "CVE-2021-44228+log4j-core-2.14.1.jar"},
		{"java component of a larger archive", nil, java("app.jar!/META-INF/maven/org.apache.logging.log4j/log4j-core/pom.properties"), "CVE-2021-44228+log4j-core-2.14.1.jar"},
		{"java component of an archive of like name", nil, java("log4j-core-extras.jar!/META-INF/maven/x/y/pom.xml"), "CVE-2021-44228+log4j-core-2.14.1.jar"},
		{"java without a place", nil, log4j, "CVE-2021-44228+org.apache.logging.log4j:log4j-core-2.14.1"},
		{"excluded path", []string{"package_path_exclude", "/app/.*"}, npm, ""},
		{"excluded in the middle of a path", []string{"package_path_exclude", "node_modules"}, npm, "GHSA-x+express"},
		{"one of two places excluded", []string{"package_path_exclude", "/test/"}, twice, "GHSA-x+express"},
		{"system packages are not excluded", []string{"package_path_exclude", ".*"}, openssl(), "CVE-2018-0737+openssl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params := append([]string{"package_type", "all"}, tt.params...)
			b := mustParse(t, document([]string{rule("STOP", "vulnerabilities", "package", params...)}, nil, ""))
			v := b.Select(web, nil).Evaluate(facts(tt.found))
			want := []string{}
			if tt.want != "" {
				want = append(want, "stop "+tt.want)
			}
			if diff := cmp.Diff(want, lines(v)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// seed is the policy of the tutorial that people copy.
func seed() []string {
	return []string{"package_type", "all", "severity_comparison", ">", "severity", "medium", "fix_available", "true"}
}

func TestSeverityBoundaries(t *testing.T) {
	words := []string{"unknown", "negligible", "low", "medium", "high", "critical"}
	fires := map[string]func(have, limit int) bool{
		"=": func(a, b int) bool { return a == b }, "!=": func(a, b int) bool { return a != b },
		"<": func(a, b int) bool { return a < b }, ">": func(a, b int) bool { return a > b },
		"<=": func(a, b int) bool { return a <= b }, ">=": func(a, b int) bool { return a >= b },
	}
	for op, want := range fires {
		for limit, word := range words {
			b := mustParse(t, document([]string{rule("STOP", "vulnerabilities", "package", "package_type", "all", "severity_comparison", op, "severity", word)}, nil, ""))
			for have := range words {
				f := with(openssl(), func(f *finding.Finding) { f.Severity = finding.Severity(have) })
				if got := len(b.Select(web, nil).Evaluate(facts(f)).Rows) == 1; got != want(have, limit) {
					t.Errorf("%s %s %s: fires %v", words[have], op, word, got)
				}
			}
		}
	}
}

func TestPackageMessage(t *testing.T) {
	npm := finding.Finding{ID: "GHSA-x", Package: "express", Version: "4.16.4", Type: "npm", Severity: finding.High, Score: 10, Fixed: "4.17.0",
		CVSS: []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}, URL: "https://osv.dev/vulnerability/GHSA-x",
		Locations: []string{"app/node_modules/express/package.json"}}
	tests := []struct {
		name   string
		params []string
		found  finding.Finding
		want   string
	}{
		{"3.13.1 worked", nil, openssl(),
			"MEDIUM Vulnerability found in os package type (dpkg) - openssl (fixed in: 1.0.1t-1+deb8u9)(CVE-2018-0737 - https://security-tracker.debian.org/tracker/CVE-2018-0737)"},
		{"no fix", nil, with(openssl(), func(f *finding.Finding) { f.Fixed = "" }),
			"MEDIUM Vulnerability found in os package type (dpkg) - openssl (CVE-2018-0737 - https://security-tracker.debian.org/tracker/CVE-2018-0737)"},
		{"alpine", nil, with(openssl(), func(f *finding.Finding) { f.Type, f.ID = "apk", "ALPINE-CVE-2018-0737" }),
			"MEDIUM Vulnerability found in os package type (APKG) - openssl (fixed in: 1.0.1t-1+deb8u9)(CVE-2018-0737 - https://security-tracker.debian.org/tracker/CVE-2018-0737)"},
		{"language package and scores", []string{"cvss_v3_base_score", "7", "cvss_v3_exploitability_score", "1", "vendor_cvss_v3_impact_score", "1"}, npm,
			"HIGH Vulnerability found in non-os package type (npm) - /app/node_modules/express/package.json (fixed in: 4.17.0)(cvss_v3_base_score=10.0 cvss_v3_exploitability_score=3.9)(vendor_cvss_v3_impact_score=6.0)(GHSA-x - https://osv.dev/vulnerability/GHSA-x)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params := append([]string{"package_type", "all"}, tt.params...)
			b := mustParse(t, document([]string{rule("STOP", "vulnerabilities", "package", params...)}, nil, ""))
			v := b.Select(web, nil).Evaluate(facts(tt.found))
			if len(v.Rows) != 1 {
				t.Fatalf("%d rows", len(v.Rows))
			}
			if diff := cmp.Diff(tt.want, v.Rows[0].Message); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeniedVulnerabilities(t *testing.T) {
	wontFix := with(openssl(), func(f *finding.Finding) { f.Fixed, f.WillNotFix = "", true })
	tests := []struct {
		name    string
		trigger string
		params  []string
		found   finding.Finding
		want    string
	}{
		{"by its CVE", "blacklist", []string{"vulnerability_ids", "CVE-1, CVE-2018-0737"}, openssl(), "Blacklisted vulnerabilities detected: ['CVE-2018-0737']"},
		{"several, one by the record's id", "denylist", []string{"vulnerability_ids", "CVE-2018-0737,DEBIAN-CVE-2018-0737"}, openssl(),
			"Blacklisted vulnerabilities detected: ['CVE-2018-0737', 'DEBIAN-CVE-2018-0737']"},
		{"absent", "blacklist", []string{"vulnerability_ids", "CVE-1"}, openssl(), ""},
		{"vendor_only is the default", "blacklist", []string{"vulnerability_ids", "CVE-2018-0737"}, wontFix, ""},
		{"vendor_only off", "blacklist", []string{"vulnerability_ids", "CVE-2018-0737", "vendor_only", "false"}, wontFix, "Blacklisted vulnerabilities detected: ['CVE-2018-0737']"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := mustParse(t, document([]string{rule("STOP", "vulnerabilities", tt.trigger, tt.params...)}, nil, ""))
			v := b.Select(web, nil).Evaluate(facts(tt.found))
			got := ""
			for _, r := range v.Rows {
				got += r.Message
				if r.Trigger != tt.trigger {
					t.Errorf("trigger %q, want the name that the rule used, %q", r.Trigger, tt.trigger)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
