package gate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/gate"
)

func TestWildcard(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"team/app", "team/app", true},
		{"team/app", "team/app2", false},
		{"team/app", "x/team/app", false},
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "any/thing", true},
		{"team/*", "team/", true},
		{"team/*", "team/a/b/c", true},
		{"team/*", "team", false},
		{"team/*", "teams/a", false},
		{"*/app", "team/app", true},
		{"*/app", "app", false},
		{"*app", "app", true},
		{"docker.io/*/nginx", "docker.io/library/nginx", true},
		{"docker.io/*/nginx", "docker.io/nginx", false},
		{"docker.io/*/nginx", "dockerXio/library/nginx", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"*ab*ab*", "ab", false},
		{"*ab*ab*", "abab", true},
		{"**", "x", true},
		{"[a-z]*", "a", false},
		{"?", "a", false},
		{"Team/*", "team/a", false},
		{strings.Repeat("a*", 30) + "b", strings.Repeat("a", 200), false},
	} {
		t.Run(tt.pattern+" and "+tt.name, func(t *testing.T) {
			if got := gate.Wildcard(tt.pattern, tt.name); got != tt.want {
				t.Errorf("wildcard = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	rule := func(repository string, s gate.Settings) func(*gate.Config) {
		return func(c *gate.Config) {
			c.Rules = append(c.Rules, gate.Rule{Match: gate.Match{Repository: repository}, Settings: s})
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*gate.Config)
		want   []string // one part of the error each; none: valid
	}{
		{"defaults", func(*gate.Config) {}, nil},
		{"other values", func(c *gate.Config) {
			c.Settings = gate.Settings{Mode: "passive", Push: "enforce", OnGap: "allow", OnError: "allow", Unmapped: "allow", Unscannable: "allow", Artifacts: "deny", Tombstones: "allow", From: "2027-01-31"}
		}, nil},
		{"a rule that changes one thing", rule("team/*", gate.Settings{Mode: "analysis"}), nil},
		{"a rule that changes nothing", rule("*", gate.Settings{}), nil},
		{"mode unknown", func(c *gate.Config) { c.Mode = "breakglass" }, []string{`gate.mode: "breakglass" is none of policy, analysis, passive`}},
		{"mode empty", func(c *gate.Config) { c.Mode = "" }, []string{`gate.mode: ""`}},
		{"another case", func(c *gate.Config) { c.OnGap = "Allow" }, []string{`gate.on_gap: "Allow" is none of deny, allow`}},
		{"push unknown", func(c *gate.Config) { c.Push = "refuse" }, []string{"gate.push"}},
		{"everything empty", func(c *gate.Config) { *c = gate.Config{} }, []string{
			"gate.mode", "gate.push", "gate.on_gap", "gate.on_error", "gate.unmapped", "gate.unscannable", "gate.artifacts", "gate.tombstones", "gate.wait", "gate.grant", "gate.max_data_age", "gate.cluster_exceptions",
		}},
		{"negative wait", func(c *gate.Config) { c.Wait = -1 }, []string{"gate.wait: must be longer"}},
		{"a rule for nothing", rule("", gate.Settings{Mode: "passive"}), []string{"gate.rules[0].match.repository: missing"}},
		{"the second rule is wrong", func(c *gate.Config) {
			rule("a", gate.Settings{})(c)
			rule("b", gate.Settings{OnError: "maybe", Artifacts: "no"})(c)
		}, []string{`gate.rules[1].on_error: "maybe"`, `gate.rules[1].artifacts: "no"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gate.Defaults()
			tt.change(&c)
			err := c.Validate()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Validate = %v, want %q", err, tt.want)
			}
			if err == nil {
				return
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(tt.want) {
				t.Errorf("%d problems, want %d: %v", len(lines), len(tt.want), err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not tell of %s", err, part)
				}
			}
		})
	}
}

// TestRules: the first rule that matches wins, and changes what it names alone.
func TestRules(t *testing.T) {
	c := gate.Defaults()
	c.Rules = []gate.Rule{
		{Match: gate.Match{Repository: "docker.io/library/*"}, Settings: gate.Settings{Mode: gate.ModeAnalysis, OnGap: gate.Allow}},
		{Match: gate.Match{Repository: "docker.io/*"}, Settings: gate.Settings{Push: gate.PushEnforce, Artifacts: gate.Deny}},
		{Match: gate.Match{Repository: "docker.io/library/nginx"}, Settings: gate.Settings{Mode: gate.ModePassive}},
	}
	with := func(change func(*gate.Settings)) gate.Settings {
		s := gate.Defaults().Settings
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name, repository string
		want             gate.Settings
	}{
		{"the first of several", "docker.io/library/nginx", with(func(s *gate.Settings) { s.Mode, s.OnGap = gate.ModeAnalysis, gate.Allow })},
		{"the second", "docker.io/team/app", with(func(s *gate.Settings) { s.Push, s.Artifacts = gate.PushEnforce, gate.Deny })},
		{"none", "team/app", gate.Defaults().Settings},
		{"a name that only begins alike", "docker.io", gate.Defaults().Settings},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, c.For(tt.repository)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(gate.Defaults().Settings, c.Settings); diff != "" {
		t.Errorf("the settings themselves were changed:\n%s", diff)
	}
}
