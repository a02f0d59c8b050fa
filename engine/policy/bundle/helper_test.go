package bundle_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// rule writes a rule: action, gate, trigger, then names and values of params.
func rule(action, gate, trigger string, params ...string) string {
	var list []string
	for i := 0; i < len(params); i += 2 {
		list = append(list, fmt.Sprintf(`{"name": %q, "value": %q}`, params[i], params[i+1]))
	}
	return fmt.Sprintf(`{"id": "r", "gate": %q, "trigger": %q, "action": %q, "params": [%s]}`, gate, trigger, action, strings.Join(list, ","))
}

// document writes a bundle of one policy, one whitelist and one mapping for
// every image; extra is put beside them.
func document(rules, items []string, extra string) string {
	return fmt.Sprintf(`{"id": "b", "version": "1_0", "name": "test",
		"policies": [{"id": "p", "version": "1_0", "rules": [%s]}],
		"whitelists": [{"id": "w", "name": "exceptions", "version": "1_0", "items": [%s]}],
		"mappings": [{"id": "m", "name": "all", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}, "policy_ids": ["p"], "whitelist_ids": ["w"]}]%s}`,
		strings.Join(rules, ","), strings.Join(items, ","), extra)
}

func mustParse(t *testing.T, doc string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Parse([]byte(doc))
	if err != nil {
		t.Fatalf("%v\n%s", err, problemsOf(err))
	}
	return b
}

// problemsOf lists the problems of a validation error as "severity type".
func problemsOf(err error) []string {
	var invalid *bundle.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	return kinds(invalid.Problems)
}

func kinds(list []policy.Problem) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Severity+" "+p.ProblemType)
	}
	return out
}

// web is the request of docker.io/acme/web:1.0.
var web = bundle.Request{
	Registries: []string{"docker.io"}, Repositories: []string{"acme/web"}, Tag: "1.0",
	Digests: []string{"sha256:aaaa", "sha512:bbbb"}, ImageID: "sha256:cccc",
}

// facts is an input with fresh data about an image of Debian 12.
func facts(findings ...finding.Finding) policy.Input {
	return policy.Input{
		Image: &inventory.Image{
			Manifest: "sha256:aaaa",
			Distro:   inventory.Distro{ID: "debian", VersionID: "12", Ecosystem: "Debian:12"},
			Packages: []inventory.Package{{Name: "openssl", Type: inventory.TypeDeb}},
			Runtime:  &image.Runtime{Healthcheck: true},
		},
		Findings: findings,
		Data:     policy.Data{Synced: now.Add(-time.Hour), Covered: true},
		Now:      now,
	}
}

// openssl is the finding of the reference's worked example.
func openssl() finding.Finding {
	return finding.Finding{
		ID: "DEBIAN-CVE-2018-0737", Aliases: []string{"CVE-2018-0737"}, Package: "openssl", Version: "1.0.1t-1+deb8u8",
		Type: "deb", Fixed: "1.0.1t-1+deb8u9", Severity: finding.Medium, Score: 5.9,
		CVSS:      []string{"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N"},
		URL:       "https://security-tracker.debian.org/tracker/CVE-2018-0737",
		Locations: []string{"var/lib/dpkg/status"},
	}
}

// with changes a finding.
func with(f finding.Finding, change func(*finding.Finding)) finding.Finding {
	change(&f)
	return f
}

// lines writes rows as "action id", with a star behind excepted ones.
func lines(v policy.Verdict) []string {
	out := []string{}
	for _, r := range v.Rows {
		s := r.Action.String() + " " + r.TriggerID
		if r.Whitelist != nil {
			s += " *"
		}
		out = append(out, s)
	}
	return out
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}
