package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
)

const manual = "../docs/kubernetes.md"

// TestValuesTable: the table of docs/kubernetes.md has every value of the chart with
// its meaning and default.
func TestValuesTable(t *testing.T) {
	defaults := loadChart(t).Values
	var rows []string
	schema(t).walk(nil, func(path []string, leaf *node) {
		meaning := leaf.Description
		if len(leaf.Enum) > 0 {
			meaning += ": `" + strings.Join(leaf.Enum, "`, `") + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", strings.Join(path, "."), meaning, shown(t, at(defaults, path))))
	})
	slices.Sort(rows)
	table := "| value | meaning | default |\n| --- | --- | --- |\n" + strings.Join(rows, "")

	raw, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), "<!-- values -->\n")
	old, after, closed := strings.Cut(rest, "<!-- end of values -->\n")
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", manual)
	}
	switch {
	case old == table:
	case *update:
		text := before + "<!-- values -->\n" + table + "<!-- end of values -->\n" + after
		if err := os.WriteFile(manual, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is not that of the chart: go test ./deploy -update", manual)
	}
}

// shown is a default as it stands in the table.
func shown(t *testing.T, v any) string {
	t.Helper()
	if v == nil || v == "" {
		return ""
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 90 {
		return "see `values.yaml`"
	}
	return "`" + strings.Trim(string(raw), `"`) + "`"
}

// TestDocumentedFiles: the documents name every profile and overlay, and the notes
// of an installation say how to switch the webhook off, in the manual's words.
func TestDocumentedFiles(t *testing.T) {
	raw, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	overlays, err := filepath.Glob("kustomize/overlays/*")
	if err != nil {
		t.Fatal(err)
	}
	want := append(overlays, "kustomize/base")
	for _, p := range profiles(t) {
		want = append(want, "profiles/"+p+".yaml")
	}
	off := "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration pratique --ignore-not-found"
	for _, w := range append(want, off) {
		if !strings.Contains(string(raw), w) {
			t.Errorf("%s does not name %s", manual, w)
		}
	}
	files, err := release{values: profile(t, "enforce")}.files(t)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(files["pratique/templates/NOTES.txt"], off) {
		t.Error("the notes do not say how to switch the webhook off")
	}
}

// TestDocumentedValues: the values that the document shows render, and their
// configuration loads.
func TestDocumentedValues(t *testing.T) {
	raw, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(raw), "cat > values.yaml <<'END'\n")
	text, _, closed := strings.Cut(rest, "END\n")
	if !ok || !closed {
		t.Fatalf("%s shows no values", manual)
	}
	shown, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	serve, _ := configs(t, decodeAll(t, release{values: merged(profile(t, "enforce"), values(shown))}.render(t)))
	if serve.Auth.UsersFile == "" || serve.Registry.TLS.Cert == "" || len(serve.Upstreams) != 2 || serve.Gate.Push != "enforce" {
		t.Errorf("%+v", serve)
	}
}
