package bundle_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/policy/bundle"
)

func TestParseErrors(t *testing.T) {
	ok := document([]string{rule("STOP", "always", "always")}, nil, "")
	edit := func(old, new string) string {
		if !strings.Contains(ok, old) {
			t.Fatalf("%s is not in the document", old)
		}
		return strings.ReplaceAll(ok, old, new)
	}
	one := func(r string) string { return document([]string{r}, nil, "") }
	item := func(s string) string { return document(nil, []string{s}, "") }
	format := []string{"error ValidationError"}
	tests := []struct {
		name string
		doc  string
		want []string
	}{
		{"no JSON", `{`, format},
		{"no object", `[]`, append(format, "error ValidationError", "error UnsupportedVersionError")},
		{"data behind it", ok + `{}`, format},
		{"a key twice", edit(`"id": "b"`, `"id": "b", "id": "c"`), format},
		{"too deep", `{"version": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, format},
		{"too large", `"` + strings.Repeat("x", bundle.MaxSize) + `"`, format},
		{"version", edit(`"id": "b", "version": "1_0"`, `"id": "b", "version": "2_0"`), []string{"error UnsupportedVersionError"}},
		{"version of a policy", edit(`"id": "p", "version": "1_0"`, `"id": "p", "version": "3"`), []string{"error UnsupportedVersionError"}},
		{"no version of a policy", edit(`"id": "p", "version": "1_0",`, `"id": "p",`), []string{"error UnsupportedVersionError"}},
		{"no mappings", `{"version": "1_0", "policies": []}`, format},
		{"no policies", `{"version": "1_0", "mappings": []}`, format},
		{"gate", one(rule("STOP", "nogate", "always")), []string{"error GateNotFoundError"}},
		{"trigger", one(rule("STOP", "always", "never")), []string{"error TriggerNotFoundError"}},
		{"end of life", one(rule("STOP", "anchoresec", "vulnhigh")), []string{"error EndOfLifedError"}},
		{"parameter", one(rule("STOP", "always", "always", "x", "y")), []string{"error InvalidParameterError"}},
		{"parameter of a trigger that is not evaluated", one(rule("STOP", "files", "suid_or_guid_set", "x", "y")), []string{"error InvalidParameterError"}},
		{"required parameter", one(rule("STOP", "vulnerabilities", "package")), []string{"error RequiredParameterNotSetError"}},
		{"enum", one(rule("STOP", "vulnerabilities", "package", "package_type", "ALL")), []string{"error ParameterValueInvalidError"}},
		{"integer", one(rule("STOP", "vulnerabilities", "stale_feed_data", "max_days_since_sync", "-1")), []string{"error ParameterValueInvalidError"}},
		{"float", one(rule("STOP", "vulnerabilities", "package", "package_type", "all", "cvss_v3_base_score", "1e3")), []string{"error ParameterValueInvalidError"}},
		{"boolean", one(rule("STOP", "vulnerabilities", "package", "package_type", "all", "fix_available", "yes")), []string{"error ParameterValueInvalidError"}},
		{"list", one(rule("STOP", "vulnerabilities", "blacklist", "vulnerability_ids", "a,,b")), []string{"error ParameterValueInvalidError"}},
		{"numbers", one(rule("STOP", "dockerfile", "exposed_ports", "ports", "22,ssh", "type", "blacklist")), []string{"error ParameterValueInvalidError"}},
		{"lookbehind", one(rule("STOP", "vulnerabilities", "package", "package_type", "all", "package_path_exclude", "(?<!x)y")), []string{"error ParameterValueInvalidError"}},
		{"action", one(rule("DENY", "always", "always")), []string{"error InvalidGateAction"}},
		{"action unknown", one(rule("unknown", "always", "always")), []string{"error InvalidGateAction"}},
		{"missing policy", edit(`"policy_ids": ["p"]`, `"policy_ids": ["p", "q"]`), []string{"error ReferencedObjectNotFoundError"}},
		{"missing whitelist", edit(`"whitelist_ids": ["w"]`, `"whitelist_ids": ["v"]`), []string{"error ReferencedObjectNotFoundError"}},
		{"policy twice", edit(`"policies": [`, `"policies": [{"id": "p", "version": "1_0", "rules": []},`), []string{"error DuplicateIdentifierFoundError"}},
		{"whitelist twice", edit(`"whitelists": [`, `"whitelists": [{"id": "w", "version": "1_0", "items": []},`), []string{"error DuplicateIdentifierFoundError"}},
		{"both forms of policy ids", edit(`"policy_ids"`, `"policy_id": "p", "policy_ids"`), format},
		{"no form of policy ids", edit(`"policy_ids": ["p"],`, ``), format},
		{"two names of one thing", edit(`"policies"`, `"rule_sets": [], "policies"`), format},
		{"image type", edit(`"type": "tag"`, `"type": "name"`), format},
		{"no registry", edit(`"registry": "*",`, ``), format},
		{"pattern", edit(`"registry": "*"`, `"registry": "regexp:("`), format},
		{"item without gate", item(`{"id": "1", "trigger_id": "x"}`), format},
		{"item without trigger id", item(`{"id": "1", "gate": "x"}`), format},
		{"expiry", item(`{"id": "1", "gate": "x", "trigger_id": "x", "expires_on": "tomorrow"}`), format},
		{"pattern of an item", item(`{"id": "1", "gate": "x", "trigger_id": "regexp:(?=x)"}`), format},
		{"all errors at once", one(rule("DENY", "nogate", "x") + "," + rule("STOP", "always", "never")),
			[]string{"error InvalidGateAction", "error GateNotFoundError", "error TriggerNotFoundError"}},
	}
	if _, err := bundle.Parse([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := bundle.Parse([]byte(tt.doc))
			if b != nil || err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, problemsOf(err)); diff != "" {
				t.Errorf("problems of %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseWarnings(t *testing.T) {
	ok := document(nil, nil, "")
	unreached := strings.ReplaceAll(ok, `"policies": [`, `"policies": [{"id": "q", "version": "1_0", "rules": [`+rule("STOP", "nogate", "x")+`]},`)
	tests := []struct {
		name string
		doc  string
		want []string
	}{
		{"nothing", ok, nil},
		{"a policy that no mapping reaches", unreached, []string{"warn GateNotFoundError"}},
		{"a misspelt field", strings.ReplaceAll(ok, `"name": "test"`, `"name": "test", "blacklisted_image": []`), []string{"warn UnknownField"}},
		{"a trigger that is not evaluated", document([]string{rule("STOP", "malware", "scans")}, nil, ""), []string{"warn TriggerNotSupported"}},
		{"days that are not known", document([]string{rule("STOP", "vulnerabilities", "package", "package_type", "all", "max_days_since_fix", "7")}, nil, ""), []string{"warn ParameterNotEvaluated"}},
		{"no policies at all", strings.ReplaceAll(ok, `"policy_ids": ["p"]`, `"policy_ids": []`), []string{"warn EmptyMapping"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, kinds(mustParse(t, tt.doc).Problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// A bundle with the names of version 2, and values that are no strings.
func TestLaterNames(t *testing.T) {
	doc := `{"id": "b", "version": "2", "name": "later", "description": "about it",
		"rule_sets": [{"id": "r", "artifact_type": "image", "rules": [
			{"id": "1", "gate": "vulnerabilities", "trigger": "denylist", "action": "stop", "recommendation": "upgrade",
			 "params": [{"name": "VULNERABILITY_IDS", "value": "CVE-2018-0737"}, {"name": "vendor_only", "value": false}]},
			{"id": "2", "gate": "always", "trigger": "always", "action": "warn"}]}],
		"allowlists": [{"id": "a", "items": [{"id": "i", "gate": "always", "trigger_id": "always", "description": "known"}]}],
		"mappings": [{"name": "all", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}, "rule_set_ids": ["r"], "allowlist_ids": ["a"]}],
		"denylisted_images": []}`
	b := mustParse(t, doc)
	if b.Description != "about it" || len(b.Problems) != 0 {
		t.Errorf("description %q, problems %v", b.Description, b.Problems)
	}
	v := b.Select(web, nil).Evaluate(facts(openssl()))
	want := []string{"stop " + md5Hex("vulnerabilitiesblacklistBlacklisted vulnerabilities detected: ['CVE-2018-0737']"), "go always *"}
	if diff := cmp.Diff(want, lines(v)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestManyProblems(t *testing.T) {
	bad := strings.TrimSuffix(strings.Repeat(rule("STOP", "nogate", "x")+",", 1000), ",")
	_, err := bundle.Parse([]byte(document([]string{bad}, nil, "")))
	if n := len(problemsOf(err)); n > 201 {
		t.Errorf("%d problems told", n)
	}
	// Warnings that fill the list do not hide that the bundle is refused.
	warn := strings.TrimSuffix(strings.Repeat(rule("STOP", "malware", "scans")+",", 1000), ",")
	_, err = bundle.Parse([]byte(document([]string{warn, rule("STOP", "nogate", "x")}, nil, "")))
	if err == nil || !strings.Contains(err.Error(), "TooManyProblems") {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document([]string{rule("STOP", "always", "always")}, []string{`{"id": "1", "gate": "always", "trigger_id": "regexp:a*"}`}, "")))
	f.Add([]byte(anchoreDefault(nil, `, "whitelisted_images": []`)))
	f.Add([]byte(mappings("", "a * * digest x p1")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := bundle.Parse(raw)
		if (b == nil) == (err == nil) {
			t.Fatalf("bundle %v, error %v", b, err)
		}
		if b == nil {
			if len(problemsOf(err)) == 0 {
				t.Error("an error without problems")
			}
			return
		}
		for _, s := range b.SelectAny(web, []string{"", "1.0"}, nil) {
			s.Evaluate(ssh())
		}
	})
}

// TestWhyNotEvaluated: validation says what is true of a rule without a check.
func TestWhyNotEvaluated(t *testing.T) {
	b := mustParse(t, document([]string{rule("STOP", "dockerfile", "effective_user", "users", "root", "type", "blacklist")}, nil, ""))
	if all := b.Problems; len(all) != 1 || !strings.Contains(all[0].Details, "(no check for it is written yet)") {
		t.Errorf("%+v", all)
	}
}
