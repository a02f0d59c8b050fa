package finding_test

import (
	"encoding/json"
	"testing"

	"github.com/pratique/pratique/engine/finding"
)

// TestSeverityText: every severity comes back as it was written, and what is
// none of the words is unknown.
func TestSeverityText(t *testing.T) {
	for severity, word := range map[finding.Severity]string{
		finding.Unknown: "unknown", finding.Negligible: "negligible", finding.Low: "low",
		finding.Medium: "medium", finding.High: "high", finding.Critical: "critical",
	} {
		t.Run(word, func(t *testing.T) {
			raw, err := json.Marshal(severity)
			if err != nil || string(raw) != `"`+word+`"` {
				t.Errorf("written %s, %v", raw, err)
			}
			back := finding.Severity(99)
			if err := json.Unmarshal(raw, &back); err != nil || back != severity {
				t.Errorf("read %v, %v", back, err)
			}
			if parsed, ok := finding.ParseSeverity(word); !ok || parsed != severity {
				t.Errorf("parsed %v, %v", parsed, ok)
			}
		})
	}
	for _, word := range []string{"", "HIGH", "Critical", "none", "6"} {
		s := finding.Critical
		if err := s.UnmarshalText([]byte(word)); err != nil || s != finding.Unknown {
			t.Errorf("%q read as %v, %v", word, s, err)
		}
		if parsed, ok := finding.ParseSeverity(word); ok || parsed != finding.Unknown {
			t.Errorf("%q parsed as %v, %v", word, parsed, ok)
		}
	}
	for _, s := range []finding.Severity{-1, finding.Critical + 1} {
		if s.String() != "unknown" {
			t.Errorf("severity %d is called %q", int(s), s)
		}
	}
}

func TestCVE(t *testing.T) {
	for _, tt := range []struct {
		name    string
		finding finding.Finding
		want    string
	}{
		{"its own id", finding.Finding{ID: "CVE-2024-1", Aliases: []string{"CVE-2024-2"}}, "CVE-2024-1"},
		{"the first alias that is one", finding.Finding{ID: "GHSA-1", Aliases: []string{"PYSEC-1", "CVE-2024-2", "CVE-2024-3"}}, "CVE-2024-2"},
		{"none", finding.Finding{ID: "GHSA-1", Aliases: []string{"GO-2024-1"}}, "GHSA-1"},
		{"a prefix alone", finding.Finding{ID: "GHSA-1", Aliases: []string{"CVE-"}}, "GHSA-1"},
		{"the name inside another", finding.Finding{ID: "DEBIAN-CVE-2024-1"}, "DEBIAN-CVE-2024-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.finding.CVE(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
