package proxy_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// use puts a bundle into force whose rules are p, nothing of high severity, and q,
// nothing of critical severity.
func (d *door) use(id, mappings string) {
	d.t.Helper()
	const rules = `{"id":"%s","version":"1_0","name":"%[1]s","rules":[{"id":"r","gate":"vulnerabilities","trigger":"package","action":"STOP","params":[
{"name":"package_type","value":"all"},{"name":"severity_comparison","value":">="},{"name":"severity","value":"%s"}]}]}`
	raw := fmt.Sprintf(`{"id":"%s","version":"1_0","name":"%[1]s","comment":"","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],"policies":[%s,%s],"mappings":[%s]}`,
		id, fmt.Sprintf(rules, "p", "high"), fmt.Sprintf(rules, "q", "critical"), mappings)
	if _, err := d.Gate.AddPolicy(d.t.Context(), []byte(raw)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.Gate.Activate(d.t.Context(), id); err != nil {
		d.t.Fatal(err)
	}
}

// TestRenewalOfASharedSelection: repositories that are mapped to the same rules share
// their selection. When the one that brought it is mapped elsewhere, new data
// reach the verdicts of the others all the same.
func TestRenewalOfASharedSelection(t *testing.T) {
	mapping := func(id, repository, rules string) string {
		return fmt.Sprintf(`{"id":"%s","name":"%[1]s","registry":"*","repository":"%s","image":{"type":"tag","value":"*"},"policy_ids":["%s"],"whitelist_ids":[]}`, id, repository, rules)
	}
	d := open(t, gatetest.Options{})
	d.use("one", mapping("all", "*", "p"))
	d.push("first", "1", imagetest.Node())
	d.push("second", "1", imagetest.Clean())
	d.wantStatus("/v2/second/manifests/1", 200)
	d.use("two", mapping("a", "first", "q")+","+mapping("b", "*", "p"))
	d.wantStatus("/v2/second/manifests/1", 200)
	gatetest.WriteData(t, d.Dir, 2, worse())
	if err := d.Gate.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.wantStatus("/v2/second/manifests/1", http.StatusForbidden)
}

// TestRenewalPastAnUnreadableImage: an image that cannot be judged again does not keep
// those after it from being.
func TestRenewalPastAnUnreadableImage(t *testing.T) {
	dir := t.TempDir()
	clean := imagetest.Clean()
	// Images are judged in the order of their digests.
	first := clean
	for i := 0; first.Digest() >= clean.Digest(); i++ {
		first = remade(clean, func(doc map[string]any) { doc["annotations"] = map[string]string{"n": fmt.Sprint(i)} })
	}
	t.Run("before", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir})
		d.push("app", "1", clean)
		d.push("other", "1", first)
		d.wantStatus("/v2/app/manifests/1", 200)
		d.wantStatus("/v2/other/manifests/1", 200)
		// What a newer engine leaves that can no longer read it.
		unreadable := inventory.Subject{Maker: inventory.Maker{Engine: inventory.EngineVersion}, Kind: inventory.KindUnscannable, Reason: "encrypted"}
		if err := d.Catalog.PutSubject(t.Context(), first.Digest(), unreadable, nil); err != nil {
			t.Fatal(err)
		}
	})
	gatetest.WriteData(t, dir, 2, worse())
	t.Run("after", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, NoData: true})
		if err := d.Gate.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.wantStatus("/v2/app/manifests/1", http.StatusForbidden)
		d.wantStatus("/v2/other/manifests/1", http.StatusForbidden)
	})
}
