package match_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
)

const (
	vector98 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	vector75 = "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
	vector53 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"
	vector4  = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N"
	vector2  = "AV:N/AC:L/Au:N/C:C/I:C/A:C"
)

func TestSeverity(t *testing.T) {
	nvd := map[string]advisory.Score{"CVE-1": {CVE: "CVE-1", Vector: vector98, Base: 9.8}}
	tests := []struct {
		name   string
		record advisory.Advisory
		scores map[string]advisory.Score
		want   finding.Severity
		source string
		score  float64
		nvd    string
	}{
		{"the vendor's last word", advisory.Advisory{Rating: "negligible", RatingSource: "Debian urgency", VendorFinal: true, CVSS: []string{vector98}}, nvd,
			finding.Negligible, "Debian urgency", 9.8, ""},
		{"the record's vector beats NVD", advisory.Advisory{CVSS: []string{vector53}}, nvd, finding.Medium, "CVSS of GHSA-x", 5.3, ""},
		{"the highest vector", advisory.Advisory{CVSS: []string{vector53, vector75}}, nil, finding.High, "CVSS of GHSA-x", 7.5, ""},
		{"a vector that cannot be read", advisory.Advisory{CVSS: []string{"CVSS:3.1/AV:X", vector53}}, nil, finding.Medium, "CVSS of GHSA-x", 5.3, ""},
		{"version 4 alone, NVD gives the number", advisory.Advisory{CVSS: []string{vector4}}, nvd, finding.Medium, "CVSS of GHSA-x", 9.8, vector98},
		{"version 2 alone", advisory.Advisory{CVSS: []string{vector2}}, nil, finding.High, "CVSS of GHSA-x", 0, ""},
		{"version 2 beside 3", advisory.Advisory{CVSS: []string{vector2, vector53}}, nil, finding.Medium, "CVSS of GHSA-x", 5.3, ""},
		{"NVD beats a word", advisory.Advisory{Rating: "low", RatingSource: "GHSA"}, nvd, finding.Critical, match.SourceNVD, 9.8, vector98},
		{"NVD's number alone", advisory.Advisory{}, map[string]advisory.Score{"CVE-1": {Base: 7}}, finding.High, match.SourceNVD, 7, ""},
		{"NVD without a score", advisory.Advisory{}, map[string]advisory.Score{"CVE-1": {}}, finding.Unknown, "", 0, ""},
		{"a word", advisory.Advisory{Rating: "low", RatingSource: "GHSA"}, nil, finding.Low, "GHSA", 0, ""},
		{"a word that is none", advisory.Advisory{Rating: "bad", RatingSource: "GHSA"}, nil, finding.Unknown, "", 0, ""},
		{"nothing", advisory.Advisory{}, nil, finding.Unknown, "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.record.ID, tt.record.Aliases, tt.record.Ecosystem, tt.record.Package = "GHSA-x", []string{"CVE-1"}, "npm", "p"
			tt.record.Versions = []string{"1.0.0"}
			ix := &memory{covered: everything, advisories: []advisory.Advisory{tt.record}, scores: tt.scores}
			f := match.Match(&inventory.Image{Packages: []inventory.Package{npm("p", "1.0.0", "p/package.json")}}, ix).Findings[0]
			type facts struct {
				Severity, Source, NVD string
				Score                 float64
			}
			want := facts{tt.want.String(), tt.source, tt.nvd, tt.score}
			if diff := cmp.Diff(want, facts{f.Severity.String(), f.SeveritySource, f.NVD, f.Score}); diff != "" {
				t.Errorf("severity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseCVSS(t *testing.T) {
	tests := []struct {
		vector   string
		want     match.CVSS
		severity finding.Severity
	}{
		{vector98, match.CVSS{Version: 3, Base: 9.8, Exploitability: 3.9, Impact: 5.9}, finding.Critical},
		{vector75, match.CVSS{Version: 3, Base: 7.5, Exploitability: 3.9, Impact: 3.6}, finding.High},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", match.CVSS{Version: 3, Exploitability: 3.9}, finding.Negligible},
		{"CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:L", match.CVSS{Version: 3, Base: 1.6, Exploitability: 0.1, Impact: 1.4}, finding.Low},
		{vector4, match.CVSS{Version: 4, Base: 6.9}, finding.Medium},
		{vector2, match.CVSS{Version: 2, Base: 10}, finding.High},
		{"(AV:L/AC:H/Au:N/C:P/I:N/A:N)", match.CVSS{Version: 2, Base: 1.2}, finding.Low},
	}
	for _, tt := range tests {
		t.Run(tt.vector, func(t *testing.T) {
			got, ok := match.ParseCVSS(tt.vector)
			if !ok {
				t.Fatal("not read")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("scores (-want +got):\n%s", diff)
			}
			if got.Severity() != tt.severity {
				t.Errorf("severity %v, want %v", got.Severity(), tt.severity)
			}
		})
	}
}

func FuzzParseCVSS(f *testing.F) {
	for _, v := range []string{vector98, vector75, vector4, vector2, "CVSS:3.1/", "CVSS:9.9/AV:N", ""} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, vector string) {
		if c, ok := match.ParseCVSS(vector); ok && (c.Base < 0 || c.Base > 10 || c.Exploitability < 0 || c.Impact < 0) {
			t.Errorf("%q: %+v", vector, c)
		}
	})
}
