package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// TestBreakGlassEndpoints: ask, list, end.
func TestBreakGlassEndpoints(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	for _, tt := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"no reason", `{"repository":"team/app","for":"1h"}`, 400, "needs a reason"},
		{"no time", `{"repository":"team/app","reason":"production is down"}`, 400, "for: want a time"},
		{"too long", `{"repository":"team/app","reason":"production is down","for":"5h"}`, 400, "at most 4h"},
		{"a field that there is not", `{"repository":"team/app","reason":"production is down","for":"1h","user":"x"}`, 400, "unknown field"},
		{"no JSON", `repository=team/app`, 400, "not the JSON"},
		{"a registry of nobody", `{"repository":"nowhere.example/app","reason":"production is down","for":"1h"}`, 404, "no repository"},
	} {
		if got := d.as("dora", "POST", "/v1/pratique/break-glass", tt.body); got.status != tt.status || !strings.Contains(got.body, tt.says) {
			t.Errorf("%s: HTTP %d %s, want %d %q", tt.name, got.status, got.body, tt.status, tt.says)
		}
	}
	got := d.as("dora", "POST", "/v1/pratique/break-glass", `{"repository":"team/app","reason":"production is down","for":"45m"}`)
	var grant struct {
		ID, Principal, Repository string
		GrantedBy                 string `json:"granted_by"`
		Granted, Until            time.Time
		Live                      bool
	}
	if got.status != 200 || json.Unmarshal([]byte(got.body), &grant) != nil || grant.Principal != "dora" || grant.GrantedBy != "dora" || grant.Repository != "team/app" || !grant.Live || grant.Until.Sub(grant.Granted) != 45*time.Minute {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	if got := d.as("alice", "DELETE", "/v1/pratique/break-glass/"+grant.ID, ""); got.status != 404 {
		t.Errorf("ended by somebody else: HTTP %d", got.status)
	}
	for range 2 {
		if got := d.as("dora", "DELETE", "/v1/pratique/break-glass/"+grant.ID, ""); got.status != 200 || !strings.Contains(got.body, `"live": false`) {
			t.Errorf("end: HTTP %d %s", got.status, got.body)
		}
	}
	p, err := d.Catalog.LivePass(t.Context(), "dora", catalog.Repository{Upstream: "local", Name: "team/app"}, d.Clock.Now())
	if err != nil || p != nil {
		t.Errorf("still alive: %v, %v", p, err)
	}
	for kind, want := range map[string]string{audit.PassGranted: "production is down", audit.PassEnded: "dora"} {
		entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: kind, Principal: "dora", Repository: "team/app", Limit: 10})
		if err != nil || len(entries) == 0 || entries[0].Reference != grant.ID || !strings.Contains(entries[0].Message, want) {
			t.Errorf("audit of %q: %v, %v", kind, entries, err)
		}
	}
}

// TestAnyLiveGrantCanBeEnded, however many came after it.
func TestAnyLiveGrantCanBeEnded(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	target, err := d.Upstreams.Lookup("team/app", "")
	d.check(err)
	first, err := d.Gate.GrantPass(t.Context(), target, "alice", "boss", "production is down", time.Hour)
	d.check(err)
	d.Clock.Move(time.Minute)
	for i := range 201 {
		_, err := d.Gate.GrantPass(t.Context(), target, fmt.Sprint("user", i), "boss", "production is down", time.Hour)
		d.check(err)
	}
	if got := d.as("boss", "DELETE", "/v1/pratique/break-glass/"+first.ID, ""); got.status != 200 {
		t.Errorf("HTTP %d %s", got.status, got.body)
	}
}

// TestOpenDoorHasNoBreakGlass: where nobody has a name, nobody can have a grant.
func TestOpenDoorHasNoBreakGlass(t *testing.T) {
	d := open(t, gatetest.Options{})
	for _, body := range []string{
		`{"repository":"team/app","reason":"production is down","for":"1h"}`, `{"repository":"team/app","principal":"alice","reason":"production is down","for":"1h"}`,
	} {
		if got := d.call("POST", "/v1/pratique/break-glass", body); got.status != 403 {
			t.Errorf("HTTP %d %s", got.status, got.body)
		}
	}
}

// TestQuarantineEndpoints: list, release, drop.
func TestQuarantineEndpoints(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("team/app", "old", bad)
	repo := catalog.Repository{Upstream: "local", Name: "team/app"}
	for _, tag := range []string{"a", "b"} {
		d.check(d.Catalog.PutHold(t.Context(), catalog.Hold{Repository: repo, Tag: tag, Manifest: bad.Digest(), Principal: "alice", Added: d.Clock.Now(), Reason: "because"}))
	}
	list := d.as("alice", "GET", "/v1/pratique/quarantine", "")
	for _, want := range []string{`"tag": "a"`, `"tag": "b"`, `"principal": "alice"`, `"reason": "`, "/report/" + bad.Digest().String()} {
		if !strings.Contains(list.body, want) {
			t.Errorf("the list lacks %s: %s", want, list.body)
		}
	}
	for _, tt := range []struct {
		what, tag, kind string
		stands          bool
	}{{"release", "a", audit.Released, true}, {"drop", "b", audit.Dropped, false}} {
		body := fmt.Sprintf(`{"repository":"team/app","tag":%q}`, tt.tag)
		if got := d.as("boss", "POST", "/v1/pratique/quarantine/"+tt.what, body); got.status != 200 || !strings.Contains(got.body, bad.Digest().String()) {
			t.Errorf("%s: HTTP %d %s", tt.what, got.status, got.body)
		}
		if got := d.as("boss", "POST", "/v1/pratique/quarantine/"+tt.what, body); got.status != 404 {
			t.Errorf("%s again: HTTP %d %s", tt.what, got.status, got.body)
		}
		if _, err := d.Local.Resolve(t.Context(), "team/app", tt.tag); (err == nil) != tt.stands {
			t.Errorf("%s: the tag: %v", tt.what, err)
		}
		entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: tt.kind, Limit: 10})
		if err != nil || len(entries) != 1 || entries[0].Principal != "boss" || entries[0].Reference != tt.tag {
			t.Errorf("audit of %s: %v, %v", tt.what, entries, err)
		}
	}
	if got := d.as("boss", "POST", "/v1/pratique/quarantine/forget", `{}`); got.status != 404 {
		t.Errorf("what there is not: HTTP %d", got.status)
	}
}

// TestCollectEndpoint removes what nothing needs, and tells how much.
func TestCollectEndpoint(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	d.push("team/app", "1", imagetest.Clean())
	target, err := d.Upstreams.Lookup("team/app", "")
	d.check(err)
	d.check(d.Gate.DeleteManifest(t.Context(), target, imagetest.Clean().Digest()))
	d.Clock.Move(48 * time.Hour)
	got := d.as("boss", "POST", "/v1/pratique/collect", "")
	if got.status != 200 || !strings.Contains(got.body, `"forgotten_manifests": 1`) {
		t.Errorf("HTTP %d %s", got.status, got.body)
	}
}

// TestPolicyChangesAreOnRecord, with who made them.
func TestPolicyChangesAreOnRecord(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	const b = `{"id":"x","name":"x","version":"1_0","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],"policies":[],"mappings":[]}`
	for _, tt := range []struct{ method, path, body, says string }{
		{"POST", "/v1/policies", b, "stored"},
		{"PUT", "/v1/policies/x?active=true", `{}`, "in force"},
		{"PUT", "/v1/policies/x", `{"policybundle":` + strings.Replace(b, `"name":"x"`, `"name":"y"`, 1) + `}`, "stored, and in force"},
	} {
		if got := d.as("boss", tt.method, tt.path, tt.body); got.status != 200 {
			t.Fatalf("%s %s: HTTP %d %s", tt.method, tt.path, got.status, got.body)
		}
		entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: audit.Policy, Limit: 1})
		if err != nil || len(entries) != 1 || entries[0].Principal != "boss" || entries[0].Reference != "x" || entries[0].Message != tt.says {
			t.Errorf("%s %s: %v, %v", tt.method, tt.path, entries, err)
		}
	}
}
