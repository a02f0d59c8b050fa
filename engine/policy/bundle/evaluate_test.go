package bundle_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/policies"
)

func pack(t *testing.T, name string) string {
	t.Helper()
	packs, err := policies.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		if p.Name == name {
			return string(p.Raw)
		}
	}
	t.Fatalf("no pack %q", name)
	return ""
}

// anchoreDefault is the rules of section 4 with exceptions and image lists.
func anchoreDefault(items []string, extra string) string {
	return document([]string{
		rule("STOP", "dockerfile", "exposed_ports", "ports", "22", "type", "blacklist"),
		rule("WARN", "dockerfile", "instruction", "instruction", "HEALTHCHECK", "check", "not_exists"),
		rule("WARN", "vulnerabilities", "stale_feed_data", "max_days_since_sync", "2"),
		rule("WARN", "vulnerabilities", "vulnerability_data_unavailable"),
		rule("WARN", "vulnerabilities", "package", "package_type", "all", "severity_comparison", "=", "severity", "medium"),
		rule("STOP", "vulnerabilities", "package", "package_type", "all", "severity_comparison", ">", "severity", "medium"),
	}, items, extra)
}

// ssh is the image of section 6: port 22, no health check, one high CVE.
func ssh() policy.Input {
	in := facts(with(openssl(), func(f *finding.Finding) { f.Severity = finding.High }))
	in.Image.Runtime = &image.Runtime{ExposedPorts: []string{"22/tcp"}}
	return in
}

func TestWorkedBundles(t *testing.T) {
	const (
		port   = "cc05c35507995b4a657b63f9b0baa281"
		health = "41cb7cdf04850e33a11f80c42bf660b3"
		vuln   = "CVE-2018-0737+openssl"

		exceptPort = `{"id": "1", "gate": "dockerfile", "trigger_id": "` + port + `"}`
		exceptVuln = `{"id": "2", "gate": "Vulnerabilities", "trigger_id": "` + vuln + `"}`
		expired    = `{"id": "2", "gate": "vulnerabilities", "trigger_id": "` + vuln + `", "expires_on": "2026-11-21T12:00:00Z"}`

		allow = `, "whitelisted_images": [{"id": "x", "name": "ours", "registry": "docker.io", "repository": "acme/*", "image": {"type": "tag", "value": "*"}}]`
		deny  = `, "blacklisted_images": [{"id": "y", "name": "bad", "registry": "*", "repository": "*", "image": {"type": "digest", "value": "sha512:bbbb"}}]`
	)
	all := []string{"stop " + port, "warn " + health, "stop " + vuln}
	tests := []struct {
		name   string
		doc    string
		rows   []string
		policy policy.Action
		final  policy.Action
		reason string
	}{
		{"6.1", anchoreDefault(nil, ""), all, policy.Stop, policy.Stop, policy.ReasonEvaluation},
		{"6.2", anchoreDefault([]string{exceptPort, exceptVuln}, ""), []string{"go " + port + " *", "warn " + health, "go " + vuln + " *"},
			policy.Warn, policy.Warn, policy.ReasonEvaluation},
		{"6.3", anchoreDefault([]string{exceptPort, expired}, ""), []string{"go " + port + " *", "warn " + health, "stop " + vuln},
			policy.Stop, policy.Stop, policy.ReasonEvaluation},
		{"6.4", anchoreDefault(nil, allow), all, policy.Stop, policy.Go, policy.ReasonWhitelisted},
		{"6.5", anchoreDefault(nil, allow+deny), all, policy.Stop, policy.Stop, policy.ReasonBlacklisted},
		{"4, as it ships", pack(t, "anchore_default_bundle"), all, policy.Stop, policy.Stop, policy.ReasonEvaluation},
		{"3.1 always", document([]string{rule("stop", "ALWAYS", "Always")}, nil, ""), []string{"stop always"}, policy.Stop, policy.Stop, policy.ReasonEvaluation},
		{"3.1 always, excepted", document([]string{rule("STOP", "always", "always")}, []string{`{"id": "1", "gate": "always", "trigger_id": "always"}`}, ""),
			[]string{"go always *"}, policy.Go, policy.Go, policy.ReasonEvaluation},
		{"no rules", document(nil, nil, ""), []string{}, policy.Go, policy.Go, policy.ReasonEvaluation},
		{"rows by gate", document([]string{
			rule("WARN", "vulnerabilities", "package", "package_type", "all"), rule("GO", "always", "always"), rule("STOP", "vulnerabilities", "package", "package_type", "os"),
		}, nil, ""), []string{"warn " + vuln, "stop " + vuln, "go always"}, policy.Stop, policy.Stop, policy.ReasonEvaluation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := ssh()
			before := toJSON(t, in)
			v := mustParse(t, tt.doc).Select(web, nil).Evaluate(in)
			if diff := cmp.Diff(tt.rows, lines(v)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if v.PolicyAction != tt.policy || v.Action != tt.final || v.Reason != tt.reason {
				t.Errorf("got %v, %v, %s; want %v, %v, %s", v.PolicyAction, v.Action, v.Reason, tt.policy, tt.final, tt.reason)
			}
			if toJSON(t, in) != before {
				t.Error("the input was changed")
			}
		})
	}
}

func TestUnmapped(t *testing.T) {
	doc := `{"id": "b", "version": "1_0", "policies": [{"id": "p", "version": "1_0", "rules": []}], "mappings": [
		{"name": "quay", "registry": "quay.io", "repository": "*", "image": {"type": "tag", "value": "*"}, "policy_id": "p", "whitelist_ids": []},
		{"name": "library", "registry": "docker.io", "repository": "library/*", "image": {"type": "tag", "value": "*"}, "policy_id": "p", "whitelist_ids": []}]}`
	b := mustParse(t, doc)
	s := b.Select(web, nil)
	if v := s.Evaluate(ssh()); s.Mapped || v.Action != policy.Go || v.Mapping != "" {
		t.Errorf("6.6: mapped %v by %q, action %v; want go, and that nothing mapped it", s.Mapped, v.Mapping, v.Action)
	}
}

func TestDefaultPack(t *testing.T) {
	at := func(s finding.Severity, fixed string) finding.Finding {
		return with(openssl(), func(f *finding.Finding) { f.Severity, f.Fixed = s, fixed })
	}
	tests := []struct {
		name   string
		change func(*policy.Input)
		want   policy.Action
	}{
		{"clean", func(in *policy.Input) { in.Findings = nil }, policy.Go},
		{"high with a fix", func(in *policy.Input) { in.Findings[0] = at(finding.High, "2") }, policy.Stop},
		{"critical without a fix", func(in *policy.Input) { in.Findings[0] = at(finding.Critical, "") }, policy.Go},
		{"medium with a fix", func(in *policy.Input) { in.Findings[0] = at(finding.Medium, "2") }, policy.Go},
		{"unknown", func(in *policy.Input) { in.Findings[0] = at(finding.Unknown, "2") }, policy.Warn},
		{"old data", func(in *policy.Input) { in.Findings, in.Data.Synced = nil, now.Add(-49*time.Hour) }, policy.Warn},
		{"no data", func(in *policy.Input) { in.Findings, in.Data.Covered = nil, false }, policy.Warn},
	}
	b := mustParse(t, pack(t, policies.Default))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := facts(openssl())
			tt.change(&in)
			v := b.Select(web, nil).Evaluate(in)
			if v.Action != tt.want || len(v.Problems) != 0 {
				t.Errorf("action %v, want %v; problems %v", v.Action, tt.want, v.Problems)
			}
		})
	}
}

func TestPacksHaveNoProblems(t *testing.T) {
	packs, err := policies.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		if b := mustParse(t, string(p.Raw)); len(b.Problems) != 0 {
			t.Errorf("%s: %v", p.Name, b.Problems)
		}
	}
}

func TestDataTriggers(t *testing.T) {
	stale := rule("WARN", "vulnerabilities", "stale_feed_data", "max_days_since_sync", "2")
	unavailable := rule("WARN", "vulnerabilities", "vulnerability_data_unavailable")
	const fired = "The vulnerability feed for this image distro is older than MAXAGE (2) days"
	tests := []struct {
		name   string
		rule   string
		change func(*policy.Input)
		want   string // message
		until  time.Time
	}{
		{"fresh", stale, func(*policy.Input) {}, "", now.Add(47*time.Hour + 1)},
		{"exactly two days", stale, func(in *policy.Input) { in.Data.Synced = now.Add(-48 * time.Hour) }, "", now.Add(1)},
		{"older", stale, func(in *policy.Input) { in.Data.Synced = now.Add(-48*time.Hour - 1) }, fired, time.Time{}},
		{"never synced", stale, func(in *policy.Input) { in.Data.Synced = time.Time{} }, fired, time.Time{}},
		{"no system packages, data built today", stale, func(in *policy.Input) {
			in.Image.Packages, in.Data.Synced, in.Data.Revision.Built = nil, time.Time{}, now
		}, "", now.Add(48*time.Hour + 1)},
		{"no system packages, no data", stale, func(in *policy.Input) { in.Image.Packages, in.Data.Synced = nil, time.Time{} }, fired, time.Time{}},
		{"covered", unavailable, func(*policy.Input) {}, "", time.Time{}},
		{"not covered", unavailable, func(in *policy.Input) { in.Data.Covered = false },
			"Distro-specific feed data not found for distro namespace: debian:12. Cannot perform CVE scan OS/distro packages", time.Time{}},
		{"unknown distribution", unavailable, func(in *policy.Input) { in.Data.Covered, in.Image.Distro = false, inventory.Distro{} },
			"Distro-specific feed data not found for distro namespace: unknown:unknown. Cannot perform CVE scan OS/distro packages", time.Time{}},
		{"no system packages", unavailable, func(in *policy.Input) { in.Data.Covered, in.Image.Packages = false, nil }, "", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := facts()
			tt.change(&in)
			v := mustParse(t, document([]string{tt.rule}, nil, "")).Select(web, nil).Evaluate(in)
			got := ""
			for _, r := range v.Rows {
				got += r.Message
			}
			if got != tt.want {
				t.Errorf("message %q, want %q", got, tt.want)
			}
			if !v.ValidUntil.Equal(tt.until) {
				t.Errorf("valid until %v, want %v", v.ValidUntil, tt.until)
			}
		})
	}
}

func TestStaleFeedVector(t *testing.T) {
	in := facts()
	in.Data.Synced = time.Time{}
	v := mustParse(t, document([]string{rule("WARN", "vulnerabilities", "stale_feed_data", "max_days_since_sync", "2")}, nil, "")).Select(web, nil).Evaluate(in)
	if diff := cmp.Diff([]string{"warn deb3f1afb4ea0ddf587e6c62c341c6fa"}, lines(v)); diff != "" {
		t.Errorf("1.10 (-want +got):\n%s", diff)
	}
}

// What this version cannot evaluate counts as fired; what goes wrong as stop.
func TestProblemsFailClosed(t *testing.T) {
	suid := func(action string) string { return rule(action, "files", "suid_or_guid_set") }
	user := rule("WARN", "dockerfile", "instruction", "instruction", "USER", "check", "exists")
	health := rule("WARN", "dockerfile", "instruction", "instruction", "HEALTHCHECK", "check", "not_exists")
	tests := []struct {
		name string
		rule string
		in   policy.Input
		want policy.Action
		told []string
	}{
		{"stop", suid("STOP"), facts(), policy.Stop, []string{"error TriggerNotSupported"}},
		{"warn", suid("WARN"), facts(), policy.Warn, []string{"warn TriggerNotSupported"}},
		{"go", suid("GO"), facts(), policy.Go, []string{"warn TriggerNotSupported"}},
		{"another instruction", user, facts(), policy.Warn, []string{"warn TriggerNotSupported"}},
		{"configuration not known", health, func() policy.Input { in := facts(); in.Image.Runtime = nil; return in }(), policy.Stop, []string{"error PolicyEvaluationError"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := mustParse(t, document([]string{tt.rule}, nil, "")).Select(web, nil).Evaluate(tt.in)
			if v.Action != tt.want {
				t.Errorf("action %v, want %v", v.Action, tt.want)
			}
			if diff := cmp.Diff(tt.told, kinds(v.Problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
