package admission_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/pratique/pratique/internal/admission"
)

// TestSelectors: in their order, over the whole of what they look at.
func TestSelectors(t *testing.T) {
	cluster := namespaces{"shop": {Labels: map[string]string{"tier": "prod"}, Annotations: map[string]string{"team": "blue"}}}
	match := func(kind, key, value string, loose bool) admission.Match {
		return admission.Match{Type: kind, Key: key, Value: value, Loose: loose}
	}
	annotated := pod(evil)
	annotated["metadata"].(m)["annotations"] = m{"owner": "blue"}
	for _, tt := range []struct {
		name    string
		match   admission.Match
		object  m
		matches bool
	}{
		{"label", match("resource", "app", "web", false), labelled(m{"app": "web"}), true},
		{"annotation", match("resource", "owner", "blue", false), annotated, true},
		{"the whole key", match("resource", "app", "web", false), labelled(m{"my-app": "web"}), false},
		{"the whole value", match("resource", "app", "web", false), labelled(m{"app": "website"}), false},
		{"loose", match("resource", "app", "web", true), labelled(m{"my-app": "website"}), true},
		{"alternatives are one expression", match("resource", "a|b", "x|y", false), labelled(m{"ab": "x"}), false},
		{"key and value of different labels", match("resource", "app", "web", false), labelled(m{"app": "x", "other": "web"}), false},
		{"name of the object", match("resource", "name", "web", false), pod(evil), true},
		{"Name of the object", match("resource", "NAME", "we.", false), pod(evil), true},
		{"label of the namespace", match("namespace", "tier", "prod", false), pod(evil), true},
		{"annotation of the namespace", match("namespace", "team", "blue", false), pod(evil), true},
		{"name of the namespace", match("namespace", "name", "shop", false), pod(evil), true},
		{"another namespace", match("namespace", "name", "bank", false), pod(evil), false},
		{"image in full", match("image", "", `docker\.io/library/evil:.*`, false), pod("evil:1"), true},
		{"image as written", match("image", "", "^evil:1$", true), pod("evil:1"), true},
		{"image as written, not in full", match("image", "", "^docker", true), pod("evil:1"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, func(o *admission.Options) {
				o.Namespaces, o.Config.NoSelector = cluster, admission.Deny
				o.Config.Selectors = []admission.Selector{{Match: tt.match, Mode: "passive"}, {Match: match("image", "", ".*", false), Answers: admission.Answers{Fail: admission.Deny}}}
			})
			answer := admission.Deny
			if tt.matches {
				answer = admission.Warn
			}
			want(t, w, creation(tt.object), answer)
		})
	}
}

// TestRewrittenImagesMatch: the proxy that rewriting puts in front of an image
// hides it from no selector.
func TestRewrittenImagesMatch(t *testing.T) {
	w := start(t, config(func(c *admission.Config) {
		c.Mutation.Rewrite = map[string]string{"docker.io": "proxy.example:5000/docker.io", "quay.io": "proxy.example:5000"}
		c.Selectors = []admission.Selector{{Match: admission.Match{Type: "image", Value: `docker\.io/.*`}, Mode: "passive"}}
	}))
	res := want(t, w, creation(pod("proxy.example:5000/docker.io/library/evil:1")), admission.Allow)
	if !strings.Contains(res.AuditAnnotations["images"], `"image":"docker.io/library/evil:1"`) {
		t.Errorf("audit: %v", res.AuditAnnotations)
	}
	want(t, w, creation(pod("proxy.example:5000/team/evil:1")), admission.Deny)
}

// TestNamesOnly: without access to a cluster, names can be matched and labels
// cannot; that is known before the first request.
func TestNamesOnly(t *testing.T) {
	by := func(key string) func(*admission.Options) {
		return config(func(c *admission.Config) {
			c.Selectors = []admission.Selector{{Match: admission.Match{Type: "namespace", Key: key, Value: "shop"}, Mode: "passive"}}
		})
	}
	want(t, start(t, by("name")), creation(pod(evil)), admission.Warn)
	want(t, start(t, by("kubernetes.io/metadata.name")), creation(pod(evil)), admission.Warn)
	if _, err := admission.New(options(by("tier"))); err == nil || !strings.Contains(err.Error(), "no access to a cluster") {
		t.Error(err)
	}
}

// TestUnreadNamespace: a namespace that cannot be read is no reason to go on to
// the next selector.
func TestUnreadNamespace(t *testing.T) {
	w := start(t, func(o *admission.Options) {
		o.Namespaces = namespaces{}
		o.Config.Selectors = []admission.Selector{
			{Match: admission.Match{Type: "namespace", Key: "name", Value: "shop"}, Mode: "passive"},
			{Match: admission.Match{Type: "namespace", Key: "tier", Value: "prod"}},
			{Match: admission.Match{Type: "image", Value: ".*"}, Mode: "passive"},
		}
	})
	want(t, w, creation(pod(evil)), admission.Warn) // its name is known
	req := creation(pod(evil))
	req.Namespace = "bank"
	want(t, w, req, admission.Fail)
	req.Namespace = "" // of the whole cluster
	want(t, w, req, admission.Warn)
}

// TestValidate: every mistake is named, all of them at once.
func TestValidate(t *testing.T) {
	if err := admission.Defaults().Validate(); err != nil {
		t.Error(err)
	}
	selector := func(change func(*admission.Selector)) func(*admission.Config) {
		return func(c *admission.Config) {
			s := admission.Selector{Match: admission.Match{Type: "image", Value: ".*"}}
			change(&s)
			c.Selectors = []admission.Selector{s}
		}
	}
	for says, change := range map[string]func(*admission.Config){
		"admission.listen":                                  func(c *admission.Config) { c.Listen = "8443" },
		"admission.tls":                                     func(c *admission.Config) { c.TLS.Cert = "x" },
		"admission.limits":                                  func(c *admission.Config) { c.Limits.Requests = -2 },
		"admission.anchore.credentials":                     func(c *admission.Config) { c.Anchore.Credentials = "x" },
		`admission.no_selector: "fail"`:                     func(c *admission.Config) { c.NoSelector = admission.Fail },
		"admission.unread_kinds":                            func(c *admission.Config) { c.UnreadKinds = "" },
		"admission.resolutions":                             func(c *admission.Config) { c.Resolutions = -1 },
		"admission.kinds[0]":                                func(c *admission.Config) { c.Kinds = []admission.Kind{{Kind: "JobSet", Paths: []string{"spec..x"}}} },
		`admission.selectors[0].match.type: "pod"`:          selector(func(s *admission.Selector) { s.Match.Type, s.Match.Key = "pod", "app" }),
		"admission.selectors[0].match.key: missing":         selector(func(s *admission.Selector) { s.Match.Type = "resource" }),
		"admission.selectors[0].match.key: an image":        selector(func(s *admission.Selector) { s.Match.Key = "x" }),
		"admission.selectors[0].match.value: missing":       selector(func(s *admission.Selector) { s.Match.Value = "" }),
		"admission.selectors[0].match.value: error parsing": selector(func(s *admission.Selector) { s.Match.Value = "(" }),
		`admission.selectors[0].mode: "breakglass"`:         selector(func(s *admission.Selector) { s.Mode = "breakglass" }),
		`admission.selectors[0].answers.fail: "fail"`:       selector(func(s *admission.Selector) { s.Answers.Fail = admission.Fail }),
		"admission.selectors[0].answers.fail: mode passive": selector(func(s *admission.Selector) { s.Mode, s.Answers.Fail = "passive", admission.Deny }),
		"admission.break_glass.grants[0]: by":               func(c *admission.Config) { c.BreakGlass.Grants = []admission.Grant{{}} },
		"admission.break_glass.grants[0]: reason":           func(c *admission.Config) { c.BreakGlass.Grants = []admission.Grant{{By: "x", Reason: "oops"}} },
		"admission.break_glass.grants[0]: until":            func(c *admission.Config) { c.BreakGlass.Grants = []admission.Grant{{By: "x", Reason: "because I can"}} },
		"admission.break_glass.grants[0]: namespaces": func(c *admission.Config) {
			c.BreakGlass.Grants = []admission.Grant{{By: "x", Reason: "because I can", Until: time.Now()}}
		},
		`admission.mutation.rewrite: "library"`:          func(c *admission.Config) { c.Mutation.Rewrite = map[string]string{"library": "proxy:5000"} },
		`admission.mutation.rewrite[docker.io]: "proxy"`: func(c *admission.Config) { c.Mutation.Rewrite = map[string]string{"docker.io": "proxy"} },
		"admission.mutation.rewrite[quay.io]: docker.io is it": func(c *admission.Config) {
			c.Mutation.Rewrite = map[string]string{"docker.io": "proxy:5000", "quay.io": "docker.io/x"}
		},
	} {
		c := admission.Defaults()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v\nwant %s", err, says)
		}
	}
	c := admission.Defaults()
	c.Listen, c.UnreadKinds = "", ""
	if err := c.Validate(); strings.Count(err.Error(), "admission.") != 2 {
		t.Errorf("not all at once: %v", err)
	}
}

// TestDocumentedSettings: every block of YAML in the manual is a configuration,
// and the manual names every setting.
func TestDocumentedSettings(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "admission.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\nadmission:\n(.*?)^```$").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks, there are more", len(blocks))
	}
	for _, b := range blocks {
		doc := struct{ Admission admission.Config }{admission.Defaults()}
		dec := yaml.NewDecoder(strings.NewReader("admission:\n" + b[1]))
		dec.KnownFields(true)
		if err := dec.Decode(&doc); err != nil {
			t.Errorf("%v\n%s", err, b[1])
		} else if err := doc.Admission.Validate(); err != nil {
			t.Errorf("%v\n%s", err, b[1])
		}
	}
	var keys map[string]any
	text, err := yaml.Marshal(admission.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for key := range keys {
		if !strings.Contains(string(raw), "`"+key) {
			t.Errorf("the manual says nothing of %s", key)
		}
	}
}

// TestReload: another configuration holds from the next request on; one that is
// wrong changes nothing.
func TestReload(t *testing.T) {
	w := start(t, nil)
	c := options(nil).Config
	c.Selectors = []admission.Selector{{Match: admission.Match{Type: "image", Value: ".*"}, Mode: "passive"}}
	if err := w.Reload(c); err != nil {
		t.Fatal(err)
	}
	want(t, w, creation(pod(evil)), admission.Warn)
	c.Selectors = []admission.Selector{{Match: admission.Match{Type: "image", Value: "("}}}
	if err := w.Reload(c); err == nil {
		t.Error("taken")
	}
	want(t, w, creation(pod(evil)), admission.Warn)
	var lines []string
	for _, line := range strings.Split(figures(t, w), "\n") {
		if strings.HasPrefix(line, "pratique_admission_config_loads_total") {
			lines = append(lines, line)
		}
	}
	if diff := cmp.Diff([]string{`pratique_admission_config_loads_total{result="error"} 1`, `pratique_admission_config_loads_total{result="ok"} 2`}, lines); diff != "" {
		t.Error(diff)
	}
}
