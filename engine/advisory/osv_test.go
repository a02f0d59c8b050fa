package advisory_test

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/sharedtest"
)

func TestFromOSV(t *testing.T) {
	raw := `{
	  "id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-02-03T04:05:06.789Z", "published": "2025-02-03T04:05:06Z",
	  "aliases": ["CVE-2025-1", "GHSA-aaaa-bbbb-cccc"], "upstream": ["CVE-2025-2", "CVE-2025-1"], "related": ["CVE-2025-3"],
	  "summary": " Prototype\tpollution\u0000 ", "details": "long",
	  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
	  "affected": [
	    {"package": {"ecosystem": "npm", "name": "x"}, "ranges": [
	      {"type": "SEMVER", "events": [{"introduced": "0", "fixed": "1.2.3"}, {"introduced": "2.0.0"}, {"last_affected": "2.1.0"}]},
	      {"type": "GIT", "repo": "https://example.com/x", "events": [{"introduced": "0"}]}]},
	    {"package": {"ecosystem": "Haiku:r1", "name": "y"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}], "versions": ["1", "2"],
	      "severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}], "ecosystem_specific": {"severity": "LOW"}},
	    {"package": {"ecosystem": "PyPI", "name": "z"}, "ranges": [{"type": "GIT", "repo": "https://example.com/z", "events": [{"introduced": "0"}]}]},
	    {"ranges": [{"type": "GIT", "repo": "https://example.com/z", "events": [{"introduced": "0"}]}]}
	  ],
	  "references": [{"type": "WEB", "url": "https://example.com/web"}, {"type": "ADVISORY", "url": "javascript:alert(1)"}, {"type": "ADVISORY", "url": "https://example.com/advisory"}],
	  "database_specific": {"severity": "MODERATE", "cwe_ids": ["CWE-1"]}
	}`
	common := advisory.Advisory{
		ID: "GHSA-aaaa-bbbb-cccc", Aliases: []string{"CVE-2025-1", "CVE-2025-2"}, Summary: "Prototype pollution", URL: "https://example.com/advisory",
		Published: time.Date(2025, 2, 3, 4, 5, 6, 0, time.UTC), Modified: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), RatingSource: "GHSA",
	}
	common.Related = []string{"CVE-2025-3"}
	x, y := common, common
	x.Ecosystem, x.Package, x.Rating = "npm", "x", "medium"
	x.CVSS = []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
	x.Ranges = []advisory.Range{{Type: "SEMVER", Events: []advisory.Event{{Introduced: "0"}, {Fixed: "1.2.3"}, {Introduced: "2.0.0"}, {LastAffected: "2.1.0"}}}}
	y.Ecosystem, y.Package, y.Rating = "Haiku:r1", "y", "low"
	y.CVSS = []string{"AV:N/AC:L/Au:N/C:P/I:P/A:P"}
	y.Versions = []string{"1", "2"}
	got, err := advisory.FromOSV([]byte(raw))
	if diff := cmp.Diff([]advisory.Advisory{x, y}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// record is an OSV record with one affected package.
func record(id, ecosystem, affected, more string) string {
	return `{"id": "` + id + `", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "` + ecosystem + `", "name": "p"},
	  "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]` + affected + `}]` + more + `}`
}

func TestRating(t *testing.T) {
	tests := []struct {
		name, record, rating, source string
		final, wontFix               bool
	}{
		{"none", record("GO-1", "Go", "", ""), "", "", false, false},
		{"GHSA", record("GHSA-1", "npm", "", `, "database_specific": {"severity": "HIGH"}`), "high", "GHSA", false, false},
		{"named source", record("DEBIAN-CVE-1", "Debian:12", "", `, "database_specific": {"severity": "MODERATE", "severity_source": "AlmaLinux"}`), "medium", "AlmaLinux", false, false},
		{"package before record", record("GHSA-1", "npm", `, "database_specific": {"severity": "Critical"}`, `, "database_specific": {"severity": "LOW"}`), "critical", "GHSA", false, false},
		{"severity of another shape", record("GHSA-1", "npm", `, "database_specific": {"severity": 7}`, `, "database_specific": {"severity": {"a": 1}}`), "", "", false, false},
		{"unknown word", record("BIT-1", "Bitnami", "", `, "database_specific": {"severity": "Unknown"}`), "", "", false, false},
		{"Debian unimportant", record("DEBIAN-CVE-1", "Debian:12", `, "ecosystem_specific": {"urgency": "unimportant"}`, `, "database_specific": {"severity": "HIGH"}`), "negligible", "Debian urgency", true, false},
		{"Debian urgency", record("DEBIAN-CVE-1", "Debian:12", `, "ecosystem_specific": {"urgency": "low**"}`, ""), "low", "Debian urgency", false, false},
		{"Debian urgency after a word", record("DEBIAN-CVE-1", "Debian:12", `, "ecosystem_specific": {"urgency": "low"}`, `, "database_specific": {"severity": "HIGH"}`), "high", "Debian", false, false},
		{"Debian not yet assigned", record("DEBIAN-CVE-1", "Debian:12", `, "ecosystem_specific": {"urgency": "not yet assigned"}`, ""), "", "", false, false},
		{"Debian end of life", record("DEBIAN-CVE-1", "Debian:12", `, "ecosystem_specific": {"urgency": "end-of-life"}`, ""), "", "", false, true},
		{"urgency outside Debian", record("X-1", "npm", `, "ecosystem_specific": {"urgency": "unimportant"}`, ""), "", "", false, false},
		{"Ubuntu", record("UBUNTU-CVE-1", "Ubuntu:22.04:LTS", "", `, "severity": [{"type": "Ubuntu", "score": "negligible"}]`), "negligible", "Ubuntu", false, false},
		{"AlmaLinux", record("ALSA-2026:1", "AlmaLinux:9", "", `, "summary": "Important: kernel security update"`), "high", "AlmaLinux", false, false},
		{"AlmaLinux none", record("ALSA-2026:1", "AlmaLinux:9", "", `, "summary": "kernel security update"`), "", "", false, false},
		{"malware", record("MAL-2026-1", "npm", "", ""), "critical", "OSV malware", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := advisory.FromOSV([]byte(tt.record))
			if err != nil || len(got) != 1 {
				t.Fatalf("%d advisories, %v", len(got), err)
			}
			a := got[0]
			if a.Rating != tt.rating || a.RatingSource != tt.source || a.VendorFinal != tt.final || a.WillNotFix != tt.wontFix {
				t.Errorf("%q by %q, final %v, will not fix %v", a.Rating, a.RatingSource, a.VendorFinal, a.WillNotFix)
			}
		})
	}
}

func TestURL(t *testing.T) {
	for id, want := range map[string]string{
		"DEBIAN-CVE-2023-1": "https://security-tracker.debian.org/tracker/CVE-2023-1",
		"GO-2023-2102":      "https://osv.dev/vulnerability/GO-2023-2102",
	} {
		got, err := advisory.FromOSV([]byte(record(id, "Debian:12", "", "")))
		if err != nil || len(got) != 1 || got[0].URL != want {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}

// TestErrata: errata that mend no vulnerability are told apart; those about a
// module name its stream.
func TestErrata(t *testing.T) {
	const modular = `, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1:18.1-1.module_el9"}]}]`
	for _, test := range []struct{ id, affected, more, kind, module string }{
		{"ALSA-2026:1", "", `, "summary": "Important: nodejs security update"`, "", ""},
		{"ALBA-2026:1", "", "", advisory.KindBugFix, ""},
		{"ALEA-2026:1", "", "", advisory.KindEnhancement, ""},
		{"RHBA-2026:1", "", "", advisory.KindBugFix, ""},
		{"ALSA-2026:2", modular, `, "summary": "Important: nodejs:18 security update"`, "", "nodejs:18"},
		{"ALSA-2026:3", "", `, "summary": "Important: nodejs:18 security update"`, "", ""},
	} {
		got, err := advisory.FromOSV([]byte(record(test.id, "AlmaLinux:9", test.affected, test.more)))
		if err != nil || len(got) != 1 || got[0].Kind != test.kind || got[0].Module != test.module {
			t.Errorf("%s: %+v, %v", test.id, got, err)
		}
	}
}

func TestRecordsWithoutAdvisories(t *testing.T) {
	for name, raw := range map[string]string{
		"withdrawn":     record("GHSA-1", "npm", "", `, "withdrawn": "2026-01-01T00:00:00Z"`),
		"no packages":   `{"id": "X-1"}`,
		"no order only": record("X-1", "OSS-Fuzz", "", ""),
	} {
		if got, err := advisory.FromOSV([]byte(raw)); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestBadRecords(t *testing.T) {
	for name, raw := range map[string]string{
		"empty":           "",
		"not JSON":        "<html>",
		"no id":           `{"affected": []}`,
		"id with blank":   `{"id": "X 1"}`,
		"bad time":        `{"id": "X-1", "modified": "yesterday"}`,
		"bad alias":       `{"id": "X-1", "aliases": ["a b"]}`,
		"NUL in name":     `{"id": "X-1", "affected": [{"package": {"ecosystem": "npm", "name": "a\u0000b"}}]}`,
		"no ecosystem":    `{"id": "X-1", "affected": [{"package": {"name": "a"}}]}`,
		"unknown range":   strings.Replace(record("X-1", "npm", "", ""), "ECOSYSTEM", "DATE", 1),
		"unknown event":   strings.Replace(record("X-1", "npm", "", ""), "introduced", "appeared", 1),
		"empty version":   record("X-1", "npm", `, "versions": [""]`, ""),
		"long version":    record("X-1", "npm", `, "versions": ["`+strings.Repeat("1", 600)+`"]`, ""),
		"too large":       record("X-1", "npm", "", strings.Repeat(" ", advisory.MaxRecord)),
		"many packages":   `{"id": "X-1", "affected": [{}` + strings.Repeat(",{}", 30_000) + `]}`,
		"many severities": record("X-1", "npm", "", `, "severity": [{}`+strings.Repeat(",{}", 100)+`]`),
	} {
		if got, err := advisory.FromOSV([]byte(raw)); !errors.Is(err, advisory.ErrBadRecord) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestSummaryIsOneLine(t *testing.T) {
	for summary, want := range map[string]string{
		`first\nsecond`:            "first",
		`### Impact\nA bad regexp`: "Impact",
		`a\u001b[31mb\u202ec`:      "a [31mbc",
		strings.Repeat("ä", 150):   strings.Repeat("ä", 98) + "...",
	} {
		got, err := advisory.FromOSV([]byte(record("X-1", "npm", "", `, "details": "`+summary+`"`)))
		if err != nil || len(got) != 1 || got[0].Summary != want {
			t.Errorf("%q: %+v, %v; want %q", summary, got, err, want)
		}
	}
}

func TestFromNVD(t *testing.T) {
	metric := func(kind, vector, base string) string {
		return `{"source": "s", "type": "` + kind + `", "cvssData": {"vectorString": "` + vector + `", "baseScore": ` + base + `}}`
	}
	entry := func(metrics string) string { return `{"cve": {"id": "CVE-2024-1234", "metrics": {` + metrics + `}}}` }
	tests := []struct {
		name, raw string
		want      advisory.Score
		ok, bad   bool
	}{
		{"primary", entry(`"cvssMetricV31": [` + metric("Secondary", "A", "9.8") + `,` + metric("Primary", "B", "7.5") + `]`), advisory.Score{Vector: "B", Base: 7.5}, true, false},
		{"highest of others", entry(`"cvssMetricV31": [` + metric("Secondary", "A", "5") + `,` + metric("Secondary", "B", "7.5") + `]`), advisory.Score{Vector: "B", Base: 7.5}, true, false},
		{"3 before 4", entry(`"cvssMetricV40": [` + metric("Primary", "A", "9") + `], "cvssMetricV30": [` + metric("Secondary", "B", "7") + `]`), advisory.Score{Vector: "B", Base: 7}, true, false},
		{"4 before 2", entry(`"cvssMetricV40": [` + metric("Primary", "A", "9") + `], "cvssMetricV2": [` + metric("Primary", "B", "7") + `]`), advisory.Score{Vector: "A", Base: 9}, true, false},
		{"2 alone", entry(`"cvssMetricV2": [` + metric("Primary", "AV:N", "7") + `]`), advisory.Score{Vector: "AV:N", Base: 7}, true, false},
		{"none", entry(""), advisory.Score{}, false, false},
		{"rejected", `{"cve": {"id": "CVE-2024-1234", "vulnStatus": "Rejected"}}`, advisory.Score{}, false, false},
		{"base out of bounds", entry(`"cvssMetricV31": [` + metric("Primary", "A", "11") + `]`), advisory.Score{}, false, true},
		{"no vector", entry(`"cvssMetricV31": [` + metric("Primary", "", "1") + `]`), advisory.Score{}, false, true},
		{"no id", `{"cve": {}}`, advisory.Score{}, false, true},
		{"not JSON", `{`, advisory.Score{}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok, err := advisory.FromNVD([]byte(tt.raw))
			if tt.ok {
				tt.want.CVE, tt.want.Source = "CVE-2024-1234", "s"
			}
			if got != tt.want || ok != tt.ok || errors.Is(err, advisory.ErrBadRecord) != tt.bad {
				t.Errorf("%+v, %v, %v", got, ok, err)
			}
		})
	}
}

func TestSharedRecords(t *testing.T) {
	root := sharedtest.Dir(t, "data")
	t.Run("samples", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(root, "formats", "osv-samples", "*-*-*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no samples: %v", err)
		}
		for _, file := range files {
			if filepath.Base(file) == "osv-schema.json" {
				continue
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := advisory.FromOSV(raw)
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(file), err)
			}
			t.Logf("%s: %d advisories", filepath.Base(file), len(got))
		}
	})
	zips, err := filepath.Glob(filepath.Join(root, "vulndb", "*", "all.zip"))
	if err != nil || len(zips) == 0 {
		t.Fatalf("no dumps: %v", err)
	}
	for _, path := range zips {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { readDump(t, path) })
	}
}

func readDump(t *testing.T, path string) {
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	advisories, bad := 0, 0
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := advisory.FromOSV(raw)
		if err != nil {
			bad++
			t.Logf("%s: %v", entry.Name, err)
		}
		advisories += len(got)
	}
	t.Logf("%d records, %d advisories, %d unusable", len(z.File), advisories, bad)
	if bad > 0 || advisories == 0 {
		t.Errorf("%d of %d records are unusable", bad, len(z.File))
	}
}

func FuzzFromOSV(f *testing.F) {
	f.Add([]byte(record("GHSA-1", "npm", `, "versions": ["1"]`, `, "database_specific": {"severity": "HIGH"}`)))
	f.Add([]byte(record("ALSA-1", "AlmaLinux:9", "", `, "summary": "Important: x"`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := advisory.FromOSV(raw)
		if err != nil {
			if !errors.Is(err, advisory.ErrBadRecord) {
				t.Errorf("error is not ErrBadRecord: %v", err)
			}
			return
		}
		for _, a := range got {
			back, err := advisory.DecodeValue(a.Ecosystem, advisory.EncodeValue([]advisory.Advisory{a}))
			if err != nil || len(back) != 1 || back[0].ID != a.ID || back[0].Package != a.Package || len(a.Summary) > 200 {
				t.Errorf("%+v came back as %+v, %v", a, back, err)
			}
		}
	})
}

func FuzzFromNVD(f *testing.F) {
	f.Add([]byte(`{"cve": {"id": "CVE-2024-1234", "metrics": {"cvssMetricV31": [{"type": "Primary", "cvssData": {"vectorString": "CVSS:3.1/AV:N", "baseScore": 7.5}}]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, ok, err := advisory.FromNVD(raw)
		if err != nil && !errors.Is(err, advisory.ErrBadRecord) || ok && !(s.Base >= 0 && s.Base <= 10) {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
