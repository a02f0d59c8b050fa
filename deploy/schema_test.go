package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/strvals"
)

// node is a part of values.schema.json.
type node struct {
	Ref                  string           `json:"$ref"`
	Type                 any              `json:"type"` // a name, or several
	Description          string           `json:"description"`
	Properties           map[string]*node `json:"properties"`
	AdditionalProperties any              `json:"additionalProperties"`
	Enum                 []string         `json:"enum"`
	Minimum              *int64           `json:"minimum"`
	Maximum              *int64           `json:"maximum"`
	Examples             []any            `json:"examples"`
}

// leaf tells whether the node is one value to its user: no object with known keys,
// or one of which an example is given as a whole.
func (n *node) leaf() bool { return len(n.Properties) == 0 || len(n.Examples) > 0 }

func schema(t testing.TB) *node {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	n := new(node)
	if err := json.Unmarshal(raw, n); err != nil {
		t.Fatal(err)
	}
	delete(n.Properties, "global") // what Helm adds
	return n
}

// walk visits every leaf with the keys that lead to it.
func (n *node) walk(path []string, visit func(path []string, leaf *node)) {
	for name, child := range n.Properties {
		at := append(path[:len(path):len(path)], name)
		if child.leaf() {
			visit(at, child)
		} else {
			child.walk(at, visit)
		}
	}
}

// TestSchemaMatchesValues: every value of values.yaml is in the schema and the other
// way round, with a description; and no object takes keys that nobody knows.
func TestSchemaMatchesValues(t *testing.T) {
	defaults := loadChart(t).Values
	var compare func(path string, n *node, v any)
	compare = func(path string, n *node, v any) {
		if n.Description == "" && n.leaf() {
			t.Errorf("%s has no description", path)
		}
		m, isMap := v.(map[string]any)
		if n.leaf() || path == "config" {
			return
		}
		if n.AdditionalProperties != false {
			t.Errorf("%s takes keys that nobody knows", path)
		}
		if !isMap {
			t.Errorf("%s is %T in values.yaml", path, v)
			return
		}
		for name, child := range n.Properties {
			value, ok := m[name]
			if !ok {
				t.Errorf("%s.%s is not in values.yaml", path, name)
				continue
			}
			compare(strings.TrimPrefix(path+"."+name, "."), child, value)
		}
		for name := range m {
			if n.Properties[name] == nil {
				t.Errorf("%s.%s is not in the schema", path, name)
			}
		}
	}
	compare("", schema(t), defaults)
}

// TestRefused: values that would break the installation, or that nobody reads, do
// not render.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ set, want string }{
		{"admision.enabled=true", "additional properties 'admision' not allowed"},
		{"serve.replicas=2", "additional properties 'replicas' not allowed"},
		{"admission.replicas=1", "minimum"},
		{"admission.config.anchore.config=/a.json", "set admission.enforce=true"},
		{"admission.timeoutSeconds=10", "maximum"},
		{"admission.timeoutSeconds=2", "minimum"},
		{"admission.failurePolicy=Open", "must be one of"},
		{"admission.enforce=maybe", "got string, want boolean"},
		{"admission.namespaces.exempt[0]=team_a", "pattern"},
		{"admission.namespaces.labels.exempt=yes", "additional properties 'labels' not allowed"},
		{"admission.pullSecrets.scope=all", "must be one of"},
		{"admission.account.existingSecret=robot", "admission.account.name is missing"},
		{"admission.pullSecrets.scope=named", "list them in admission.pullSecrets.named"},
		{"image.digest=sha256:abc", "pattern"},
		{"config.gates.mode=passive", "additional properties 'gates' not allowed"},
		{"config.data_dir=/tmp", "additional properties 'data_dir' not allowed"},
		{"config.registry.listen=127.0.0.1:5000", "additional properties 'listen' not allowed"},
		{"policies.evil=x", "pattern"},
		{"redis.external.url=redis://user:password@redis:6379", "pattern"},
		{"redis.external.url=redis://redis:6379", "set redis.enabled=false as well"},
		{"redis.enabled=false", "admission reads verdicts from Redis"},
		{"serve.anonymous=none", "nobody could use the registry"},
		{"serve.anonymous=everything", "must be one of"},
		{"serve.ingress.enabled=true", "set registryHost or apiHost"},
		{"serve.tls.certManager.enabled=true", "issuerRef.name is missing"},
		{"serve.persistence.size=lots", "pattern"},
		{"networkPolicy.apiServer[0]=kubernetes", "pattern"},
	} {
		t.Run(test.set, func(t *testing.T) {
			v, err := strvals.Parse(test.set)
			if err != nil {
				t.Fatal(err)
			}
			_, err = release{values: v}.files(t)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
