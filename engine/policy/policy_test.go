package policy_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
)

// TestActionText: every action comes back as it was written, and what is none
// of the words is unknown, which allows nothing.
func TestActionText(t *testing.T) {
	for action, word := range map[policy.Action]string{policy.Unknown: "unknown", policy.Go: "go", policy.Warn: "warn", policy.Stop: "stop"} {
		t.Run(word, func(t *testing.T) {
			raw, err := json.Marshal(action)
			if err != nil || string(raw) != `"`+word+`"` {
				t.Errorf("written %s, %v", raw, err)
			}
			back := policy.Action(99)
			if err := json.Unmarshal(raw, &back); err != nil || back != action {
				t.Errorf("read %v, %v", back, err)
			}
		})
	}
	for _, word := range []string{"", "GO", "Go", "allow", "1"} {
		a := policy.Go
		if err := a.UnmarshalText([]byte(word)); err != nil || a != policy.Unknown {
			t.Errorf("%q read as %v, %v", word, a, err)
		}
	}
	for _, a := range []policy.Action{-1, policy.Stop + 1} {
		if a.String() != "unknown" {
			t.Errorf("action %d is called %q", int(a), a)
		}
	}
}

// TestVerdictRoundTrip: stores keep verdicts as JSON. All but the index of a
// finding in an input that is gone comes back.
func TestVerdictRoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 5, time.UTC)
	v := policy.Verdict{
		Manifest: "sha256:m", Selection: "s", Action: policy.Go, Reason: policy.ReasonWhitelisted, PolicyAction: policy.Stop,
		BundleID: "b", BundleName: "Bundle", Mapping: "all", DryRun: true,
		Rows: []policy.Row{{
			Gate: "vulnerabilities", Trigger: "package", TriggerID: "CVE-1+a", Message: "<b> & \x1b", Action: policy.Go, PolicyID: "p", RuleID: "r",
			Whitelist: &policy.Exempt{WhitelistName: "w", WhitelistID: "1", MatchedRuleID: "2"},
			CVE:       "CVE-1", Package: "a", Version: "1", Fixed: "2", Severity: finding.High,
		}},
		Problems: []policy.Problem{{Severity: "warn", ProblemType: "x", Details: "y"}},
		Gaps:     []inventory.Gap{{Kind: inventory.Blind, Code: "c", Path: "p", Layer: -1, Detail: "d"}},
		Feeds:    []string{"npm"}, Data: advisory.Revision{Sequence: 3, Digest: "d", Built: at}, Engine: 1, EvaluatedAt: at, ValidUntil: at.Add(time.Hour),
	}
	for name, v := range map[string]policy.Verdict{"full": v, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var back policy.Verdict
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v, back); diff != "" {
				t.Errorf("(-kept +read):\n%s", diff)
			}
		})
	}
}

func TestOlder(t *testing.T) {
	v := func(engine int, sequence uint64) *policy.Verdict {
		return &policy.Verdict{Engine: engine, Data: advisory.Revision{Sequence: sequence}}
	}
	for _, tt := range []struct {
		name string
		a, b *policy.Verdict
		want bool
	}{
		{"the same", v(1, 5), v(1, 5), false},
		{"older data", v(1, 4), v(1, 5), true},
		{"newer data", v(1, 6), v(1, 5), false},
		{"older engine, newer data", v(1, 9), v(2, 5), true},
		{"newer engine, older data", v(2, 1), v(1, 5), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Older(tt.b); got != tt.want {
				t.Errorf("Older = %v, want %v", got, tt.want)
			}
		})
	}
}
