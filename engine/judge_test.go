package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// data are vulnerability data in memory: advisories by package, and when each
// ecosystem was synced.
type data struct {
	records map[string][]advisory.Advisory
	synced  map[string]time.Time
}

func (d data) Lookup(ecosystem, pkg string) ([]advisory.Advisory, error) {
	return d.records[ecosystem+" "+pkg], nil
}

func (d data) Score(string) (advisory.Score, bool, error) { return advisory.Score{}, false, nil }

func (d data) CVE(string) (advisory.CVEFacts, bool, error) { return advisory.CVEFacts{}, false, nil }

func (d data) Covers(ecosystem string) (advisory.Coverage, bool) {
	at, ok := d.synced[ecosystem]
	return advisory.Coverage{Ecosystem: ecosystem, Records: 1, Synced: at}, ok
}

func (d data) Revision() advisory.Revision {
	return advisory.Revision{Sequence: 7, Digest: "sha256:data", Built: now}
}

func lodash() []advisory.Advisory {
	return []advisory.Advisory{{
		ID: "GHSA-1", Aliases: []string{"CVE-2020-8203"}, Ecosystem: "npm", Package: "lodash", CVSS: []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
		Ranges: []advisory.Range{{Type: "SEMVER", Events: []advisory.Event{{Introduced: "0"}, {Fixed: "4.17.19"}}}},
	}}
}

// stale is a bundle that stops vulnerabilities and data that have not been
// renewed for three days.
const stale = `{"id": "b", "version": "1_0", "name": "test", "whitelists": [], "policies": [{"id": "p", "version": "1_0", "rules": [
	{"id": "v", "gate": "vulnerabilities", "trigger": "package", "action": "STOP", "params": [{"name": "package_type", "value": "all"}, {"name": "severity_comparison", "value": ">="}, {"name": "severity", "value": "high"}]},
	{"id": "s", "gate": "vulnerabilities", "trigger": "stale_feed_data", "action": "WARN", "params": [{"name": "max_days_since_sync", "value": "3"}]}]}],
	"mappings": [{"id": "m", "name": "all", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}, "policy_ids": ["p"], "whitelist_ids": []}]}`

func judge(t *testing.T, im *inventory.Image, d data) policy.Verdict {
	t.Helper()
	b, err := bundle.Parse([]byte(stale))
	if err != nil {
		t.Fatal(err)
	}
	sel := b.Select(bundle.Request{Registries: []string{"r"}, Repositories: []string{"app"}, Tag: "1"}, nil)
	return engine.Judge(im, engine.Match(im, d), d, sel, now)
}

func TestJudgeNamesWhatItRestsOn(t *testing.T) {
	gap := inventory.Gap{Kind: inventory.Partial, Code: "x", Detail: "x"}
	im := &inventory.Image{
		Engine: inventory.EngineVersion, Manifest: "sha256:image", Distro: inventory.Distro{ID: "alpine", VersionID: "3.20.3", Ecosystem: "Alpine:v3.20"}, Gaps: []inventory.Gap{gap},
		Packages: []inventory.Package{
			{Name: "openssl", Version: "3.3.7-r0", Type: inventory.TypeApk, Source: "openssl"},
			{Name: "lodash", Version: "4.17.15", Type: inventory.TypeNpm}, {Name: "requests", Version: "2.0.0", Type: inventory.TypePython},
		},
	}
	d := data{records: map[string][]advisory.Advisory{"npm lodash": lodash()}, synced: map[string]time.Time{"Alpine:v3.20": now, "npm": now}}
	v := judge(t, im, d)
	if v.Manifest != im.Manifest || v.Engine != inventory.EngineVersion || v.Data != d.Revision() || !v.EvaluatedAt.Equal(now) || v.BundleID != "b" || v.Selection == "" {
		t.Errorf("%+v", v)
	}
	if v.Action != policy.Stop || len(v.Rows) != 1 || v.Rows[0].CVE != "CVE-2020-8203" || v.Rows[0].Fixed != "4.17.19" {
		t.Errorf("%s, %+v", v.Action, v.Rows)
	}
	if diff := cmp.Diff([]string{"Alpine:v3.20", "PyPI", "npm"}, v.Feeds); diff != "" {
		t.Errorf("feeds (-want +got):\n%s", diff)
	}
	var codes []string
	for _, g := range v.Gaps {
		codes = append(codes, string(g.Kind)+" "+g.Code)
	}
	if diff := cmp.Diff([]string{"partial x", "blind no-data-for-ecosystem", "partial distribution-end-of-life"}, codes); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if len(im.Gaps) != 1 {
		t.Errorf("the inventory was changed: %+v", im.Gaps)
	}
}

// TestJudgeSynced: data of the distribution are what the age is counted from;
// an image without one is as stale as the feed that has waited longest.
func TestJudgeSynced(t *testing.T) {
	old := now.AddDate(0, 0, -10)
	alpine := inventory.Distro{ID: "alpine", VersionID: "3.20.3", Ecosystem: "Alpine:v3.20"}
	npm := inventory.Package{Name: "left-pad", Version: "1.0.0", Type: inventory.TypeNpm}
	python := inventory.Package{Name: "requests", Version: "2.0.0", Type: inventory.TypePython}
	for _, tt := range []struct {
		name     string
		distro   inventory.Distro
		packages []inventory.Package
		synced   map[string]time.Time
		action   policy.Action
	}{
		{"distribution just synced", alpine, nil, map[string]time.Time{"Alpine:v3.20": now}, policy.Go},
		{"distribution stale", alpine, nil, map[string]time.Time{"Alpine:v3.20": old}, policy.Warn},
		{"distribution just synced, npm stale", alpine, []inventory.Package{npm}, map[string]time.Time{"Alpine:v3.20": now, "npm": old}, policy.Go},
		{"no distribution, all just synced", inventory.Distro{}, []inventory.Package{npm, python}, map[string]time.Time{"npm": now, "PyPI": now}, policy.Go},
		{"no distribution, one stale", inventory.Distro{}, []inventory.Package{npm, python}, map[string]time.Time{"npm": now, "PyPI": old}, policy.Warn},
		{"no distribution, the other stale", inventory.Distro{}, []inventory.Package{npm, python}, map[string]time.Time{"npm": old, "PyPI": now}, policy.Warn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(t, &inventory.Image{Distro: tt.distro, Packages: tt.packages}, data{synced: tt.synced})
			if v.Action != tt.action {
				t.Errorf("%s %+v, want %s", v.Action, v.Rows, tt.action)
			}
		})
	}
}
