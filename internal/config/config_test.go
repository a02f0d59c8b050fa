package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/gate"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := config.Defaults().Validate(); err != nil {
		t.Error(err)
	}
	c, err := config.Load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Defaults(), c); diff != "" {
		t.Errorf("nothing configured, and yet (-defaults +loaded):\n%s", diff)
	}
}

// write makes a configuration file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pratique.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFile(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       func(*config.Config) // what differs from the defaults
		err        string
	}{
		{name: "empty", want: func(*config.Config) {}},
		{name: "comments alone", text: "# nothing\n", want: func(*config.Config) {}},
		{name: "one key leaves its neighbours", text: "gate:\n  push: enforce\n", want: func(c *config.Config) { c.Gate.Push = "enforce" }},
		{name: "a list replaces the default's", text: "feeds: {sources: [{name: nvd, url: 'file:///srv/nvd'}]}",
			want: func(c *config.Config) { c.Feeds.Sources = []feeds.Source{{Name: "nvd", URL: "file:///srv/nvd"}} }},
		{name: "unknown key", text: "gate:\n  push: enforce\n  on_gaps: allow\n", err: "line 3: field on_gaps not found"},
		{name: "unknown key of a rule", text: "gate:\n  rules:\n    - {match: {repository: a}, wait: 1s}\n", err: "line 3: field wait not found"},
		{name: "wrong type", text: "gate:\n  wait: soon\n", err: "line 2: cannot unmarshal"},
		{name: "key twice", text: "gate: {push: enforce}\ngate: {push: observe}\n", err: `line 2: mapping key "gate" already defined`},
		{name: "no YAML", text: "gate: [\n", err: "line"},
		{name: "two documents", text: "gate: {push: enforce}\n---\ngate: {on_gap: deny}\n", err: "more than one YAML document"},
		{name: "too large", text: strings.Repeat("# a comment\n", 400_000), err: "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Load(config.Source{File: write(t, c.text)})
			if c.err != "" {
				wantError(t, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := config.Defaults()
			c.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	_, err := config.Load(config.Source{File: filepath.Join(t.TempDir(), "none.yaml")})
	wantError(t, err, "none.yaml")
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       func(*config.Config)
		err        string
	}{
		{name: "text", line: "PRATIQUE_GATE_MODE=passive", want: func(c *config.Config) { c.Gate.Mode = "passive" }},
		{name: "key with underscores", line: "PRATIQUE_API_EXTERNAL_URL=https://pratique.example", want: func(c *config.Config) { c.API.ExternalURL = "https://pratique.example" }},
		{name: "text that looks like YAML", line: "PRATIQUE_POLICY_DIR={a}", want: func(c *config.Config) { c.Policy.Dir = "{a}" }},
		{name: "duration", line: "PRATIQUE_GATE_WAIT=2m", want: func(c *config.Config) { c.Gate.Wait = 2 * time.Minute }},
		{name: "list", line: `PRATIQUE_GATE_RULES=[{match: {repository: "docker.io/*"}, mode: analysis}]`, want: func(c *config.Config) {
			c.Gate.Rules = []gate.Rule{{Match: gate.Match{Repository: "docker.io/*"}, Settings: gate.Settings{Mode: "analysis"}}}
		}},
		{name: "empty list", line: "PRATIQUE_FEEDS_SOURCES=[]", want: func(c *config.Config) { c.Feeds.Sources = []feeds.Source{} }},
		{name: "no setting of ours", line: "HOME=/nowhere", want: func(*config.Config) {}},
		{name: "of the command line", line: "PRATIQUE_URL=http://127.0.0.1:1", want: func(*config.Config) {}},
		{name: "unknown name", line: "PRATIQUE_GATE_MOOD=passive", err: "PRATIQUE_GATE_MOOD names no setting"},
		{name: "unknown key in a list", line: "PRATIQUE_GATE_RULES=[{match: {repo: a}}]", err: "PRATIQUE_GATE_RULES: yaml"},
		{name: "bad value", line: "PRATIQUE_GATE_MODE=loud", err: `gate.mode: "loud"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Load(config.Source{Env: []string{c.line}})
			if c.err != "" {
				wantError(t, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := config.Defaults()
			c.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOrder: the command line beats the environment, which beats the file; of
// two settings of the command line the last holds.
func TestOrder(t *testing.T) {
	file := write(t, "gate: {mode: analysis, push: enforce, on_gap: allow}\n")
	c, err := config.Load(config.Source{
		File: file, Env: []string{"PRATIQUE_GATE_MODE=passive", "PRATIQUE_GATE_PUSH=observe"}, Set: []string{"gate.mode=analysis", "gate.mode=policy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Gate.Mode != "policy" || c.Gate.Push != "observe" || c.Gate.OnGap != "allow" {
		t.Errorf("mode %s, push %s, on_gap %s", c.Gate.Mode, c.Gate.Push, c.Gate.OnGap)
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ name, set, err string }{
		{"text with an equals sign", "policy.dir=/srv/a=b", ""},
		{"list", `feeds.sources=[{name: osv, url: "file:///srv/osv", ecosystems: [Debian]}]`, ""},
		{"no value", "gate.mode", "want key=value"},
		{"unknown key", "gate.mood=policy", "gate.mood is no setting"},
		{"unknown key in a list", "gate.rules=[{mood: a}]", "field mood not found"},
		{"bad duration", "gate.wait=banana", "cannot unmarshal"},
		{"index of a list", "upstreams.0.name=a", "is no setting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Load(config.Source{Set: []string{c.set}})
			if c.err != "" {
				wantError(t, err, c.err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHomeIsExpanded(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	c, err := config.Load(config.Source{Set: []string{"data_dir=~/pratique"}})
	if err != nil || c.DataDir != "/home/someone/pratique" {
		t.Errorf("%q, %v", c.DataDir, err)
	}
}

func TestShowMasksSecretsAndLoadsAgain(t *testing.T) {
	c, err := config.Load(config.Source{Set: []string{
		"redis.url=redis://user:hunter2@127.0.0.1:6379/0",
		`upstreams=[{name: local, embedded: true, default: true}, {name: hub, prefix: docker.io, url: "https://registry-1.docker.io", credentials: {type: basic, username: u, password_file: /run/secrets/hub}}]`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), "redis://user:xxxxx@127.0.0.1:6379/0") {
		t.Errorf("the password is not masked:\n%s", text)
	}
	if c.Redis.URL != "redis://user:hunter2@127.0.0.1:6379/0" {
		t.Errorf("showing changed the configuration: %s", c.Redis.URL)
	}
	again, err := config.Load(config.Source{File: write(t, string(text)), Set: []string{"redis.url=" + c.Redis.URL}})
	if err != nil {
		t.Fatalf("what is shown cannot be loaded: %v\n%s", err, text)
	}
	shownAgain, err := again.Show()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(shownAgain)); diff != "" {
		t.Errorf("shown, loaded and shown (-first +second):\n%s", diff)
	}
}
