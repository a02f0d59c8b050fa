package policies_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/policies"
)

// What the packs say of images is tested beside the language they are written
// in, in engine/policy/bundle.
func TestAll(t *testing.T) {
	packs, err := policies.All()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, p := range packs {
		var doc struct{ ID string }
		if err := json.Unmarshal(p.Raw, &doc); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		ids[p.Name] = doc.ID
	}
	want := map[string]string{
		policies.Default:         "default",
		"anchore_default_bundle": "2c53a13c-1765-11e8-82ef-23527761d060",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("packs and their ids (-want +got):\n%s", diff)
	}
}
