package gate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/gate"
)

const (
	reportURL = "http://127.0.0.1:8228"
	report    = "; report: " + reportURL + "/report/sha256:m"
)

func small(t *testing.T) *gate.Gate {
	t.Helper()
	g, err := gate.New(gate.Options{Config: gate.Defaults(), SpoolDir: t.TempDir(), ReportURL: reportURL})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// vulnerable is a stopping row: CVE, package, version, fixed version.
func vulnerable(s finding.Severity, facts ...string) policy.Row {
	return policy.Row{Action: policy.Stop, Severity: s, CVE: facts[0], Package: facts[1], Version: facts[2], Fixed: facts[3], Message: "Anchore's words"}
}

func TestStopMessage(t *testing.T) {
	openssl := vulnerable(finding.Critical, "CVE-2023-0286", "openssl", "1.1.1n-0+deb11u3", "1.1.1n-0+deb11u4")
	libssl := openssl
	libssl.Package = "libssl1.1"
	many := func(n int) (rows []policy.Row) {
		for i := range n {
			rows = append(rows, vulnerable(finding.High, fmt.Sprintf("CVE-2024-%04d", i), "p", "1", ""))
		}
		return rows
	}
	other := func(messages ...string) (rows []policy.Row) {
		for _, m := range messages {
			rows = append(rows, policy.Row{Action: policy.Stop, Message: m})
		}
		return rows
	}
	for _, tt := range []struct {
		name    string
		verdict policy.Verdict
		want    string
	}{
		{"one", policy.Verdict{Rows: []policy.Row{openssl}},
			"1 critical vulnerability with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4)"},
		{"packages of one source", policy.Verdict{Rows: []policy.Row{openssl, libssl, openssl}},
			"1 critical vulnerability with a fix: CVE-2023-0286 openssl, libssl1.1 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4)"},
		{"the worst first", policy.Verdict{Rows: []policy.Row{
			vulnerable(finding.Low, "CVE-3", "a", "1", ""), vulnerable(finding.High, "CVE-2", "b", "1", "2"), vulnerable(finding.Critical, "CVE-1", "c", "1", ""), vulnerable(finding.High, "CVE-4", "a", "1", ""),
		}}, "1 critical, 2 high, 1 low vulnerabilities (1 with a fix): CVE-1 c 1, CVE-4 a 1, CVE-2 b 1 (fixed in 2), CVE-3 a 1"},
		{"more than are named", policy.Verdict{Rows: many(7)},
			"7 high vulnerabilities: CVE-2024-0000 p 1, CVE-2024-0001 p 1, CVE-2024-0002 p 1, CVE-2024-0003 p 1, and 3 more"},
		{"of unknown severity", policy.Verdict{Rows: []policy.Row{vulnerable(finding.Unknown, "GHSA-1", "a", "1", "")}}, "1 unknown vulnerability: GHSA-1 a 1"},
		{"warnings and exceptions are no reasons", policy.Verdict{Rows: []policy.Row{
			{Action: policy.Warn, Message: "a warning"}, {Action: policy.Go, CVE: "CVE-9", Whitelist: &policy.Exempt{}}, openssl,
		}}, "1 critical vulnerability with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4)"},
		{"other rules", policy.Verdict{Rows: other("exposed port 22", "runs as root")}, "exposed port 22; runs as root"},
		{"many other rules", policy.Verdict{Rows: other("1", "2", "3", "4", "5", "6")}, "1; 2; 3; 4; and 2 more"},
		{"vulnerabilities before other rules", policy.Verdict{Rows: append(other("exposed port 22"), many(1)...)}, "1 high vulnerability: CVE-2024-0000 p 1; exposed port 22"},
		{"a policy that could not be evaluated", policy.Verdict{Problems: []policy.Problem{{Details: "rule r"}, {Details: "rule s"}}}, "the policy could not be evaluated: rule r"},
		{"blacklisted", policy.Verdict{Reason: policy.ReasonBlacklisted, Rows: []policy.Row{openssl}}, "the image is on the bundle's blacklist"},
		{"hostile text", policy.Verdict{Rows: append(other("a\x1b[2Jb\u009bc\nd"), vulnerable(finding.High, "CVE-1\n", "p\u202e", "1\r", "2\x00"))},
			"1 high vulnerability with a fix: CVE-1? p? 1? (fixed in 2?); a?[2Jb?c?d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.verdict.Manifest = "sha256:m"
			want := `refused by policy "default": ` + tt.want + report
			if got := small(t).StopMessage("default", &tt.verdict); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

// TestStopMessageIsBounded: names in a package database are as long as their
// author likes.
func TestStopMessageIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	var rows []policy.Row
	for i := range 1000 {
		rows = append(rows, vulnerable(finding.High, fmt.Sprint(i, long), long, long, long), policy.Row{Action: policy.Stop, Message: fmt.Sprint(i, long)})
	}
	if got := small(t).StopMessage("default", &policy.Verdict{Rows: rows}); len(got) > 8<<10 {
		t.Errorf("a message of %d bytes", len(got))
	}
}

func TestGapMessage(t *testing.T) {
	gaps := func(n int) (all []inventory.Gap) {
		for i := range n {
			all = append(all, inventory.Gap{Kind: inventory.Blind, Detail: fmt.Sprintf("gap %d", i)})
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		blind []inventory.Gap
		want  string
	}{
		{"one", []inventory.Gap{{Detail: "the rpm database is not read"}}, "the rpm database is not read"},
		{"four", gaps(4), "gap 0; gap 1; gap 2; gap 3"},
		{"more", gaps(6), "gap 0; gap 1; gap 2; gap 3; and 2 more"},
		{"hostile text", []inventory.Gap{{Detail: "a\x1b[2J\n"}}, "a?[2J?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "refused, because the image is not understood: " + tt.want + " (gate.on_gap is deny)" + report
			if got := small(t).GapMessage(&policy.Verdict{Manifest: "sha256:m"}, tt.blind); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}
