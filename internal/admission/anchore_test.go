package admission_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/admission"
)

// values are the seed's, as its text has them: YAML of Anchore's chart, with the
// old type "pod".
const values = `
existingCredentialsSecret: anchore-credentials
anchoreEndpoint: "http://demo-anchore-engine-api.anchore.svc.cluster.local:8228"
policySelectors:
  # if breakglass label exists, use it
  - Selector:
      ResourceType: "pod"
      SelectorKeyRegex: "^breakglass$"
      SelectorValueRegex: "^true$"
    PolicyReference:
      Username: "admin"
      PolicyBundleId: "block_high_and_higher_severity_if_fix_available"
    Mode: breakglass
  # apply the policy for only given namespace
  - Selector:
      ResourceType: namespace
      SelectorKeyRegex: name
      SelectorValueRegex: ^securenamespace$
    PolicyReference:
      Username: "admin"
      PolicyBundleId: "block_high_and_higher_severity_if_fix_available"
    Mode: policy
  # apply breakglass rule for the anchore-engine pods to prevent crash of the system
  - Selector:
      ResourceType: pod
      SelectorKeyRegex: app
      SelectorValueRegex: demo-anchore-engine
    PolicyReference:
      Username: "admin"
      PolicyBundleId: "block_high_and_higher_severity_if_fix_available"
    Mode: breakglass
  # default mode is breakglass
  - Selector:
      ResourceType: "image"
      SelectorKeyRegex: ".*"
      SelectorValueRegex: ".*"
    PolicyReference:
      Username: "admin"
      PolicyBundleId: "block_high_and_higher_severity_if_fix_available"
    Mode: breakglass
`

// configJSON is what the chart makes of selectors, with keys in another case.
func configJSON(selectors string) string {
	return `{"validator": {"enabled": true, "requestAnalysis": true}, "anchoreEndpoint": "https://anchore-api.anchore.svc:8228", "PolicySelectors": [` + selectors + `]}`
}

const credentials = `{"users": [{"username": "admin", "password": "YourDefaultAdminpassword!3!"}]}`

// anchore writes the files, and configures them.
func anchore(t testing.TB, config, credentials string) func(*admission.Options) {
	t.Helper()
	dir := t.TempDir()
	files := admission.AnchoreFiles{Config: filepath.Join(dir, "config.json")}
	write(t, files.Config, config)
	if credentials != "" {
		files.Credentials = filepath.Join(dir, "credentials.json")
		write(t, files.Credentials, credentials)
	}
	return func(o *admission.Options) { o.Config.Anchore = files }
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// labelled is a failing pod with labels.
func labelled(labels m) m {
	p := pod(evil)
	p["metadata"].(m)["labels"] = labels
	return p
}

// TestSeed: the four selectors of the seed, in their order, each with its object.
func TestSeed(t *testing.T) {
	const bundle = "block_high_and_higher_severity_if_fix_available"
	cluster := namespaces{"securenamespace": {}, "default": {}, "blue": {Labels: map[string]string{"team-name": "securenamespace"}}}
	for _, tt := range []struct {
		name      string
		object    m
		namespace string
		want      string
		selector  string
	}{
		{"breakglass label, also in the guarded namespace", labelled(m{"breakglass": "true"}), "securenamespace", admission.Warn, "policySelectors[0]"},
		{"the same key with another value", labelled(m{"breakglass": "truely"}), "securenamespace", admission.Deny, "policySelectors[1]"},
		{"guarded namespace by its name", pod(evil), "securenamespace", admission.Deny, "policySelectors[1]"},
		{"guarded namespace, an image that passes", pod(good), "securenamespace", admission.Allow, "policySelectors[1]"},
		{"a label whose key has name in it", pod(evil), "blue", admission.Deny, "policySelectors[1]"},
		{"the engine itself, in the guarded namespace: the order decides", labelled(m{"app": "demo-anchore-engine"}), "securenamespace", admission.Deny, "policySelectors[1]"},
		{"the engine itself", labelled(m{"app.kubernetes.io/name": "demo-anchore-engine-api"}), "default", admission.Warn, "policySelectors[2]"},
		{"everything else", pod(evil), "default", admission.Warn, "policySelectors[3]"},
		{"everything else, never seen", pod(strange), "default", admission.Allow, "policySelectors[3]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := told()
			w := start(t, func(o *admission.Options) {
				anchore(t, values, credentials)(o)
				o.Standings, o.Namespaces = g, cluster
			})
			req := creation(tt.object)
			req.Namespace = tt.namespace
			res := want(t, w, req, tt.want)
			if note := res.AuditAnnotations["images"]; !strings.Contains(note, `"selector":"`+tt.selector+`"`) {
				t.Errorf("judged by %s", note)
			}
			if asked := g.inquiries(); len(asked) != 1 || asked[0].Policy != bundle {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// TestAnchoreMistakes: a file that is wrong is refused when it is read, with all
// that is wrong; what is only odd is read.
func TestAnchoreMistakes(t *testing.T) {
	selector := func(kind, key, value, mode string) string {
		return `{"Selector": {"ResourceType": "` + kind + `", "SelectorKeyRegex": "` + key + `", "SelectorValueRegex": "` + value + `"}, "PolicyReference": {"Username": "admin"}, "Mode": "` + mode + `"}`
	}
	for _, tt := range []struct {
		name, config, credentials string
		says                      []string // none: it is read
	}{
		{"all at once", configJSON(selector("pods", "(", ".*", "polcy") + "," + selector("resource", "", "", "Policy")), "",
			[]string{`policySelectors[0].Selector.ResourceType: "pods"`, "policySelectors[0].Selector.SelectorKeyRegex: error parsing regexp", `policySelectors[0].Mode: "polcy"`, "policySelectors[1].Selector.SelectorKeyRegex: missing", "policySelectors[1].Selector.SelectorValueRegex: missing"}},
		{"no selectors", `{"validator": {}}`, "", []string{"policySelectors: missing"}},
		{"nothing", ``, "", []string{"config: EOF"}},
		{"a list", `[]`, "", []string{"config: no map"}},
		{"no document", `{"policySelectors": [`, "", []string{"config: yaml"}},
		{"two documents", values + "\n---\n{}", "", []string{"more than one document"}},
		{"a key twice", `{"policySelectors": [], "PolicySelectors": []}`, "", []string{"there twice"}},
		{"numbers", `{"validator": {"requestAnalysis": "yes"}, "policySelectors": [{"Mode": 7, "Selector": []}]}`, "", []string{"requestAnalysis: neither true nor false", "Mode: no text", "policySelectors[0].Selector: no map"}},
		{"credentials", values, `{"users": [{"password": "x"}]}`, []string{"credentials.users[0].username: missing"}},
		{"no credentials", values, `{}`, []string{"credentials.users: missing"}},
		{"other case, unknown keys", `{"VALIDATOR": {"REQUESTANALYSIS": true}, "selectors": 1, "policyselectors": [{"SELECTOR": {"resourcetype": "Image", "selectorvalueregex": ".*"}, "mode": "BreakGlass", "new": 1}]}`, credentials, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := admission.New(options(anchore(t, tt.config, tt.credentials)))
			if (err == nil) != (len(tt.says) == 0) {
				t.Fatalf("%v", err)
			}
			for _, text := range tt.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v\nsays nothing of %s", err, text)
				}
			}
			if err != nil && strings.Contains(err.Error(), "YourDefault") {
				t.Errorf("a password stands in %v", err)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		_, err := admission.New(options(config(func(c *admission.Config) { c.Anchore.Config = "/does/not/exist" })))
		if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
			t.Error(err)
		}
	})
}

// TestAnchoreUnmatched: what no selector of Anchore's files matches is let in, as
// there, and not in silence.
func TestAnchoreUnmatched(t *testing.T) {
	const none = `{"Selector": {"ResourceType": "image", "SelectorValueRegex": "^registry\\.example/"}, "Mode": "policy"}`
	want(t, start(t, anchore(t, configJSON(none), "")), creation(pod(evil)), admission.Warn)
	want(t, start(t, func(o *admission.Options) {
		anchore(t, configJSON(none), "")(o)
		o.Config.NoSelector = admission.Deny
	}), creation(pod(evil)), admission.Deny)
}
