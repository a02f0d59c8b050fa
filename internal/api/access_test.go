package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/api"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// secretHash is "secret", as quick to check as bcrypt has it.
const secretHash = "$2a$04$TOkogBdiibITqGCjgZxZIuZtaxqG7Jqc.ZW0KJnFQ2AA09VJTNvS6"

// openGuarded opens an API that nobody uses without a name: alice pulls team/*,
// bob other/*, dora breaks the glass of team/*, boss may do everything.
func openGuarded(t *testing.T, o gatetest.Options) *door {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users.yaml")
	if err := auth.EditUsers(t.Context(), file, func(u *auth.Users) error {
		for _, name := range []string{"alice", "bob", "boss", "dora"} {
			u.Users = append(u.Users, auth.User{Name: name, Password: secretHash})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rule := func(who, repositories string, actions ...string) auth.Rule {
		return auth.Rule{Who: []string{who}, Repositories: []string{repositories}, Actions: actions}
	}
	return openAPI(t, o, func(a *api.API) {
		a.OpenLoopback = false
		a.Auth = access(t, auth.Config{UsersFile: file, Rules: []auth.Rule{
			rule("alice", "team/*", auth.Push), rule("bob", "other/*", auth.Pull), rule("dora", "team/*", auth.Pull, auth.BreakGlass),
			rule("boss", "*", auth.Pull, auth.Admin, auth.BreakGlass),
		}}, false)
		a.Auth.Log, a.Auth.Now = a.Log, a.Now
	})
}

// as sends a request with somebody's password.
func (d *door) as(user, method, path, body string) reply {
	d.t.Helper()
	if user == "" {
		return d.call(method, path, body)
	}
	return d.call(method, path, body, "Authorization", basic(user, "secret"))
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// TestWhoMayAsk: what is about one repository is for those who may pull from it,
// what is about all of them for those who may do so everywhere.
func TestWhoMayAsk(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	im := imagetest.Vulnerable()
	d.push("team/app", "1", im)
	report := "/report/" + im.Digest().String() + "?format=json"
	check := "/v1/images/" + im.Digest().String() + "/check"
	for _, tt := range []struct {
		name, method, path, body       string
		nobody, alice, bob, dora, boss int
	}{
		{"alive", "GET", "/healthz", "", 200, 200, 200, 200, 200},
		{"ready", "GET", "/readyz", "", 200, 200, 200, 200, 200},
		{"metrics", "GET", "/metrics", "", 200, 200, 200, 200, 200},
		{"root", "GET", "/v1/", "", 401, 200, 200, 200, 200},
		{"report", "GET", report, "", 401, 200, 404, 200, 200},
		{"check", "GET", "/v1/pratique/check?reference=team/app:1", "", 401, 200, 403, 200, 200},
		{"check of what is not there", "GET", "/v1/pratique/check?reference=team/none:1", "", 401, 404, 403, 404, 404},
		{"Anchore's check", "GET", check + "?tag=team/app:1", "", 401, 200, 404, 200, 200},
		{"Anchore's check of all tags", "GET", check, "", 401, 200, 404, 200, 200},
		{"without the prefix", "GET", strings.TrimPrefix(check, "/v1"), "", 401, 200, 404, 200, 200},
		{"events", "GET", "/v1/events", "", 401, 403, 403, 403, 200},
		{"audit trail", "GET", "/v1/pratique/audit", "", 401, 403, 403, 403, 200},
		{"collect", "POST", "/v1/pratique/collect", "", 401, 403, 403, 403, 200},
		{"add a policy", "POST", "/v1/policies", "{}", 401, 403, 403, 403, 400},
		{"change a policy", "PUT", "/v1/policies/none", "{}", 401, 403, 403, 403, 404},
		{"quarantine", "POST", "/v1/pratique/quarantine/release", `{"repository":"team/app","tag":"1"}`, 401, 403, 403, 403, 404},
		{"break the glass", "POST", "/v1/pratique/break-glass", `{"repository":"team/app","reason":"production is down","for":"1h"}`, 401, 403, 403, 200, 200},
		{"break the glass elsewhere", "POST", "/v1/pratique/break-glass", `{"repository":"other/app","reason":"production is down","for":"1h"}`, 401, 403, 403, 403, 200},
		{"break the glass for others", "POST", "/v1/pratique/break-glass", `{"repository":"team/app","principal":"bob","reason":"production is down","for":"1h"}`, 401, 403, 403, 403, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for user, want := range map[string]int{"": tt.nobody, "alice": tt.alice, "bob": tt.bob, "dora": tt.dora, "boss": tt.boss} {
				got := d.as(user, tt.method, tt.path, tt.body)
				if got.status != want {
					t.Errorf("%q: HTTP %d %s, want %d", user, got.status, got.body, want)
				}
				if challenge := got.header.Get("WWW-Authenticate"); (got.status == 401) != strings.HasPrefix(challenge, "Basic ") {
					t.Errorf("%q: HTTP %d with %q", user, got.status, challenge)
				}
			}
		})
	}
}

// TestListsAreCut to what the reader may see.
func TestListsAreCut(t *testing.T) {
	d := openGuarded(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Push = gate.PushQuarantine })})
	im := imagetest.Vulnerable()
	for _, name := range []string{"team/web", "other/web"} {
		d.push(name, "1", im)
		repo := catalog.Repository{Upstream: "local", Name: name}
		d.check(d.Catalog.PutHold(t.Context(), catalog.Hold{Repository: repo, Tag: "wait", Manifest: im.Digest(), Principal: "alice", Added: d.Clock.Now(), Reason: "because"}))
		target, err := d.Upstreams.Lookup(name, "")
		d.check(err)
		_, err = d.Gate.GrantPass(t.Context(), target, "alice", "boss", "production is down", time.Hour)
		d.check(err)
	}
	for _, tt := range []struct {
		path        string
		user        string
		team, other bool
	}{
		{"/v1/pratique/quarantine", "alice", true, false}, {"/v1/pratique/quarantine", "bob", false, true}, {"/v1/pratique/quarantine", "boss", true, true},
		{"/v1/pratique/break-glass", "alice", false, false}, {"/v1/pratique/break-glass", "dora", true, false}, {"/v1/pratique/break-glass", "boss", true, true},
		{"/report/" + im.Digest().String() + "?format=json", "alice", true, false}, {"/report/" + im.Digest().String() + "?format=json", "boss", true, true},
		{"/v1/images/" + im.Digest().String() + "/check", "alice", true, false}, {"/v1/images/" + im.Digest().String() + "/check", "bob", false, true},
		{"/", "alice", true, false}, {"/", "bob", false, true},
	} {
		got := d.call("GET", tt.path, "", "Authorization", basic(tt.user, "secret"), "Accept", map[bool]string{true: html, false: "application/json"}[tt.path == "/"])
		if got.status != 200 || strings.Contains(got.body, "team/web") != tt.team || strings.Contains(got.body, "other/web") != tt.other {
			t.Errorf("%s by %s: HTTP %d, tells of team/web: %v, of other/web: %v", tt.path, tt.user, got.status, strings.Contains(got.body, "team/web"), strings.Contains(got.body, "other/web"))
		}
	}
}

// TestPoliciesNameRepositories: a bundle tells of repositories that the reader
// may not see, so it is for those who may read everything.
func TestPoliciesNameRepositories(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	_, err := d.Gate.AddPolicy(t.Context(), []byte(`{"id":"x","name":"x","version":"1_0","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],"policies":[{"id":"p","name":"p","version":"1_0","rules":[]}],
		"mappings":[{"id":"a","name":"a","registry":"*","repository":"hidden/merger","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[]}]}`))
	d.check(err)
	for _, path := range []string{"/v1/policies?detail=true", "/v1/policies/x"} {
		if got := d.as("alice", "GET", path, ""); strings.Contains(got.body, "hidden/merger") {
			t.Errorf("%s tells alice of hidden/merger", path)
		}
		if got := d.as("boss", "GET", path, ""); !strings.Contains(got.body, "hidden/merger") {
			t.Errorf("%s: HTTP %d %s", path, got.status, got.body)
		}
	}
}

// TestForeignSites: a browser cannot be made to change anything.
func TestForeignSites(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	for _, tt := range []struct {
		name, method string
		headers      []string
		status       int
	}{
		{"a tool", "POST", nil, 200},
		{"our own page", "POST", []string{"Origin", d.url, "Sec-Fetch-Site", "same-origin"}, 200},
		{"another site", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"another site without an origin", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a neighbour", "POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a page without an origin of its own", "POST", []string{"Origin", "null"}, 403},
		{"another port of this host", "POST", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"reading", "GET", []string{"Origin", "https://evil.example"}, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.call(tt.method, "/v1/pratique/collect", "", append([]string{"Authorization", basic("boss", "secret")}, tt.headers...)...)
			if got.status != tt.status {
				t.Errorf("HTTP %d %s, want %d", got.status, got.body, tt.status)
			}
			if h := got.header.Get("Access-Control-Allow-Origin"); h != "" {
				t.Errorf("Access-Control-Allow-Origin: %s", h)
			}
		})
	}
}

// TestLoginIsThrottled: whoever guesses is told to wait, and the right password
// of others goes on being good.
func TestLoginIsThrottled(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	limited := false
	for i := range 40 {
		got := d.call("GET", "/v1/policies", "", "Authorization", basic("alice", fmt.Sprint("guess", i)))
		if got.status != 401 && got.status != 429 {
			t.Fatalf("HTTP %d %s", got.status, got.body)
		}
		if got.status == 429 {
			limited = true
			if !strings.Contains(got.body, "retry_after") {
				t.Errorf("it is not said for how long: %s", got.body)
			}
			break
		}
	}
	if !limited {
		t.Error("40 guesses were not too many")
	}
	if got := d.call("GET", "/v1/policies", "", "Authorization", basic("robot+none", "guess")); got.status == 200 {
		t.Errorf("HTTP %d", got.status)
	}
}

// TestAuditTrail: filters, pages, and what is no filter.
func TestAuditTrail(t *testing.T) {
	d := openGuarded(t, gatetest.Options{})
	for i := range 5 {
		d.check(d.Audit.Add(t.Context(), catalog.AuditEntry{Kind: []string{audit.Pushed, audit.Deleted}[i%2], Principal: "alice", Repository: "team/app", Reference: fmt.Sprint(i)}))
	}
	for _, tt := range []struct {
		query  string
		status int
		want   string
	}{
		{"", 200, "43210"}, {"limit=2", 200, "43"}, {"kind=deleted", 200, "31"}, {"principal=alice&limit=1", 200, "4"}, {"repository=other", 200, ""},
		{"since=2020-01-01T00:00:00Z", 200, "43210"}, {"since=2100-01-01T00:00:00Z", 200, ""},
		{"limit=0", 400, ""}, {"limit=1001", 400, ""}, {"limit=x", 400, ""}, {"since=yesterday", 400, ""}, {"before=0", 400, ""}, {"before=-1", 400, ""},
	} {
		got := d.as("boss", "GET", "/v1/pratique/audit?"+tt.query, "")
		var answer struct{ Entries []catalog.AuditEntry }
		if got.status != tt.status || json.Unmarshal([]byte(got.body), &answer) != nil {
			t.Errorf("%q: HTTP %d %s, want %d", tt.query, got.status, got.body, tt.status)
		}
		read := ""
		for _, e := range answer.Entries {
			read += e.Reference
		}
		if read != tt.want {
			t.Errorf("%q: entries %s, want %s", tt.query, read, tt.want)
		}
	}
	first := d.as("boss", "GET", "/v1/pratique/audit?limit=1", "")
	var answer struct{ Entries []catalog.AuditEntry }
	d.check(json.Unmarshal([]byte(first.body), &answer))
	next := d.as("boss", "GET", fmt.Sprintf("/v1/pratique/audit?limit=1&before=%d", answer.Entries[0].ID), "")
	if !strings.Contains(next.body, `"reference": "3"`) {
		t.Errorf("the next page: %s", next.body)
	}
}
