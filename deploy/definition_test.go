package deploy_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"
)

// definitionFile defines ImageException.
const definitionFile = "helm/pratique/crds/imageexceptions.yaml"

const exceptionText = `
apiVersion: pratique.io/v1alpha1
kind: ImageException
metadata: {name: openssl-until-march}
spec:
  owner: team-payments@example.com
  reason: "TLS ends in front of it; the fix comes with 2.4 (SEC-1234)"
  expires: "2027-03-01T00:00:00Z"
  scope: {images: ["registry.example.com/payments/*"], namespaces: [payments], pulls: true}
  findings: [{triggerID: CVE-2026-1234}]
`

// TestDefinition: the schema takes an exception that has everything, and none
// that lacks what there must be.
func TestDefinition(t *testing.T) {
	raw, err := os.ReadFile(definitionFile)
	if err != nil {
		t.Fatal(err)
	}
	definition := decode(t, document{definitionFile, string(raw)}).value.(*apiextensionsv1.CustomResourceDefinition)
	if definition.Spec.Scope != apiextensionsv1.ClusterScoped {
		t.Error("who may edit a namespace could except images in it")
	}
	var schema apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, &schema, nil); err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(&schema)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(change func(spec map[string]any)) bool {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(exceptionText), &o); err != nil {
			t.Fatal(err)
		}
		change(o["spec"].(map[string]any))
		return len(validation.ValidateCustomResource(nil, o, validator)) == 0
	}
	if !valid(func(map[string]any) {}) {
		t.Error("a good exception is refused")
	}
	var spec map[string]any
	if err := json.Unmarshal(mustJSON(t, exceptionText), &struct{ Spec *map[string]any }{&spec}); err != nil {
		t.Fatal(err)
	}
	for _, field := range slices.Sorted(maps.Keys(spec)) {
		if valid(func(spec map[string]any) { delete(spec, field) }) {
			t.Errorf("one without %s is taken", field)
		}
	}
	for name, change := range map[string]func(map[string]any){
		"a short reason":     func(s map[string]any) { s["reason"] = "because" },
		"no real end":        func(s map[string]any) { s["expires"] = "never" },
		"no finding":         func(s map[string]any) { s["findings"] = []any{} },
		"a garbled digest":   func(s map[string]any) { s["scope"].(map[string]any)["digests"] = []any{"latest"} },
		"an empty namespace": func(s map[string]any) { s["scope"].(map[string]any)["namespaces"] = []any{""} },
	} {
		if valid(change) {
			t.Errorf("one with %s is taken", name)
		}
	}
}

func mustJSON(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestExceptionsAreForFew: nobody is given the right to except by the chart, and
// it is not part of Kubernetes' own roles for those who deploy.
func TestExceptionsAreForFew(t *testing.T) {
	all := decodeAll(t, release{}.render(t))
	role := find[*rbacv1.ClusterRole](t, all, "pratique-exceptions")
	for label := range role.Labels {
		if len(label) > 5 && label[:5] == "rbac." {
			t.Errorf("it is aggregated: %s", label)
		}
	}
	for _, b := range every[*rbacv1.ClusterRoleBinding](all) {
		if b.RoleRef.Name == role.Name {
			t.Errorf("%s binds it", b.Name)
		}
	}
}
