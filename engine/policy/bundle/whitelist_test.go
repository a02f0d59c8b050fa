package bundle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/policy"
)

func TestWhitelistItems(t *testing.T) {
	ghsa := finding.Finding{ID: "GHSA-x", Aliases: []string{"CVE-1", "GO-1"}, Package: "stdlib", Version: "go1.21.0", Type: "go",
		Severity: finding.High, Locations: []string{"usr/bin/a", "usr/bin/b"}}
	inner := finding.Finding{ID: "CVE-2", Package: "a:b", Version: "1", Type: "java", Severity: finding.High, Locations: []string{"app.jar!/META-INF/maven/a/b/pom.properties"}}
	tests := []struct {
		name     string
		item     string // the rest of the item after the gate
		found    finding.Finding
		excepted bool
	}{
		{"3.13.1 all of a CVE", `"trigger_id": "CVE-2018-0737+*"`, openssl(), true},
		{"3.13.1 all of a package", `"trigger_id": "*+openssl"`, openssl(), true},
		{"3.13.1 all of a year", `"trigger_id": "CVE-2018-*"`, openssl(), true},
		{"3.13.1 no package", `"trigger_id": "CVE-2018-0737"`, openssl(), false},
		{"exact", `"trigger_id": "CVE-2018-0737+openssl"`, openssl(), true},
		{"another package", `"trigger_id": "CVE-2018-0737+openss"`, openssl(), false},
		{"the record's own id", `"trigger_id": "DEBIAN-CVE-2018-0737+openssl"`, openssl(), true},
		{"regular expression, not anchored at the end", `"trigger_id": "regexp:CVE-20[0-9]{2}"`, openssl(), true},
		{"regular expression, anchored at the start", `"trigger_id": "regexp:openssl"`, openssl(), false},
		{"by the CVE of a GHSA", `"trigger_id": "CVE-1+stdlib-go1.21.0"`, ghsa, true},
		{"by the GHSA", `"trigger_id": "GHSA-x+stdlib-go1.21.0"`, ghsa, true},
		{"by a pattern on an alias", `"trigger_id": "GO-*"`, ghsa, true},
		{"version", `"trigger_id": "*", "package_version": "go1.21.0"`, ghsa, true},
		{"another version", `"trigger_id": "*", "package_version": "go1.22.0"`, ghsa, false},
		{"all places", `"trigger_id": "*", "path": "/usr/bin/*"`, ghsa, true},
		{"one place of two", `"trigger_id": "*", "path": "usr/bin/a"`, ghsa, false},
		{"image", `"trigger_id": "*", "image_digest": "sha256:aaaa"`, ghsa, true},
		{"another image", `"trigger_id": "*", "image_digest": "sha256:dddd"`, ghsa, false},
		{"not expired", `"trigger_id": "*", "expires_on": "2026-11-21T12:00:01Z"`, ghsa, true},
		{"expires now", `"trigger_id": "*", "expires_on": "2026-11-21T12:00:00Z"`, ghsa, false},
		{"expired, with a fraction", `"trigger_id": "*", "expires_on": "2026-11-21T11:59:59.999999Z"`, ghsa, false},
		{"expired, with a colon", `"trigger_id": "*", "expires_on": "2026-11-21T11:59:59:999999Z"`, ghsa, false},
		{"not expired, with an offset", `"trigger_id": "*", "expires_on": "2026-11-21T11:00:00-02:00"`, ghsa, true},
		{"java component of a larger archive", `"trigger_id": "CVE-2+b-1.jar"`, inner, true},
		{"another component of it", `"trigger_id": "CVE-2+c-1.jar"`, inner, false},
		{"by the archive, as in Anchore", `"trigger_id": "CVE-2+app.jar"`, inner, true},
		{"by the file that describes it", `"trigger_id": "CVE-2+pom.properties"`, inner, false},
		{"no expiry", `"trigger_id": "*", "expires_on": ""`, ghsa, true},
	}
	b := rule("STOP", "vulnerabilities", "package", "package_type", "all")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			item := `{"id": "1", "gate": "vulnerabilities", ` + tt.item + `}`
			v := mustParse(t, document([]string{b}, []string{item}, "")).Select(web, nil).Evaluate(facts(tt.found))
			if len(v.Rows) != 1 {
				t.Fatalf("%d rows", len(v.Rows))
			}
			if got := v.Rows[0].Whitelist != nil; got != tt.excepted {
				t.Errorf("excepted %v, want %v", got, tt.excepted)
			}
			if want := map[bool]policy.Action{true: policy.Go, false: policy.Stop}[tt.excepted]; v.Action != want {
				t.Errorf("action %v, want %v", v.Action, want)
			}
		})
	}
}

// Of several items that match, the first of the list is told.
func TestFirstItem(t *testing.T) {
	item := func(id, trigger string) string {
		return fmt.Sprintf(`{"id": %q, "gate": "always", "trigger_id": %q}`, id, trigger)
	}
	for _, items := range [][]string{
		{item("0", "never"), item("1", "always"), item("2", "*")},
		{item("0", "never"), item("1", "alw*"), item("2", "always")},
	} {
		v := mustParse(t, document([]string{rule("STOP", "always", "always")}, items, "")).Select(web, nil).Evaluate(facts())
		want := policy.Exempt{WhitelistName: "exceptions", WhitelistID: "w", MatchedRuleID: "1"}
		if got := v.Rows[0].Whitelist; got == nil || *got != want {
			t.Errorf("excepted by %v, want %v", got, want)
		}
	}
}

// An exception for a package never excepts what is about no package.
func TestNarrowedItemAndOtherRows(t *testing.T) {
	item := `{"id": "1", "gate": "always", "trigger_id": "always", "package_version": "1"}`
	v := mustParse(t, document([]string{rule("STOP", "always", "always")}, []string{item}, "")).Select(web, nil).Evaluate(facts())
	if v.Action != policy.Stop {
		t.Errorf("action %v", v.Action)
	}
}

func TestValidUntil(t *testing.T) {
	item := func(expires string) string {
		return fmt.Sprintf(`{"id": "1", "gate": "always", "trigger_id": "x", "expires_on": %q}`, expires)
	}
	stale := rule("WARN", "vulnerabilities", "stale_feed_data", "max_days_since_sync", "1")
	tests := []struct {
		name  string
		rules []string
		items []string
		want  time.Time
	}{
		{"nothing runs out", nil, []string{item("")}, time.Time{}},
		{"already out", nil, []string{item("2026-01-01T00:00:00Z")}, time.Time{}},
		{"the next of two", nil, []string{item("2026-12-02T00:00:00Z"), item("2026-12-01T00:00:00Z")}, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{"a rule before it", []string{stale}, []string{item("2026-12-01T00:00:00Z")}, now.Add(23*time.Hour + 1)},
		{"an exception before the rule", []string{stale}, []string{item("2026-11-21T13:00:00Z")}, now.Add(time.Hour)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := mustParse(t, document(tt.rules, tt.items, "")).Select(web, nil).Evaluate(facts())
			if !v.ValidUntil.Equal(tt.want) {
				t.Errorf("valid until %v, want %v", v.ValidUntil, tt.want)
			}
		})
	}
}
