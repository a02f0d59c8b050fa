package deploy_test

import (
	"regexp"
	"strings"
	"testing"
)

// generated are the values that the chart makes anew in each rendering.
var generated = regexp.MustCompile(`(?m)^(  (?:hmac-key|token-key|redis-password): ).*$`)

// listing is a rendering as it stands in testdata: without what changes with
// each, and with the name of each template.
func listing(documents []document) string {
	var b strings.Builder
	for _, d := range documents {
		b.WriteString("---\n# " + d.template + "\n" + generated.ReplaceAllString(d.text, "${1}GENERATED"))
	}
	return b.String()
}

// TestGolden renders defaults and profiles, decodes every object strictly, and
// compares with testdata.
func TestGolden(t *testing.T) {
	for _, name := range append(profiles(t), "") {
		file := name
		if name == "" {
			file = "defaults"
		}
		t.Run(file, func(t *testing.T) {
			r := release{values: profile(t, name)}
			documents := r.render(t)
			decodeAll(t, documents)
			golden(t, "chart/"+file+".yaml", listing(documents))
			files, err := r.files(t)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "chart/"+file+".txt", strings.TrimSpace(files["pratique/templates/NOTES.txt"])+"\n")
		})
	}
}

// TestNames: a release of another name, and two in one cluster, share nothing.
func TestNames(t *testing.T) {
	first := decodeAll(t, release{name: "gate", namespace: "platform"}.render(t))
	second := decodeAll(t, release{name: "gate", namespace: "other"}.render(t))
	for _, a := range first {
		if !strings.Contains(a.GetName(), "gate-pratique") {
			t.Errorf("%s %s does not have the release's name", a.kind, a.GetName())
		}
		for _, b := range second {
			if a.kind == b.kind && a.GetName() == b.GetName() && a.GetNamespace() == b.GetNamespace() {
				t.Errorf("%s %s/%s is of both", a.kind, a.GetNamespace(), a.GetName())
			}
		}
	}
}
