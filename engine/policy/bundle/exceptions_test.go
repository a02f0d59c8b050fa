package bundle_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// excused is an exception for the finding of openssl() in the image web.
func excused(change func(*bundle.Exception)) bundle.Exception {
	e := bundle.Exception{
		ID: "prod/ssl", Owner: "team web", Reason: "not reachable from outside", Expires: now.Add(time.Hour),
		Scope:    bundle.Scope{Cluster: "prod", Images: []string{"docker.io/acme/*"}, Namespaces: []string{"shop-*"}},
		Findings: []bundle.ExceptedFinding{{TriggerID: "CVE-2018-0737"}},
	}
	if change != nil {
		change(&e)
	}
	return e
}

func TestExceptions(t *testing.T) {
	sum := "sha256:" + strings.Repeat("a", 64)
	inShop := web
	inShop.Cluster, inShop.Namespace = "prod", "shop-1"
	tests := []struct {
		name   string
		change func(*bundle.Exception)
		ask    func(*bundle.Request)
		holds  bool
	}{
		{"in its namespace", nil, nil, true},
		{"in another namespace", nil, func(r *bundle.Request) { r.Namespace = "bank" }, false},
		{"in any namespace", func(e *bundle.Exception) { e.Scope.Namespaces = nil }, func(r *bundle.Request) { r.Namespace = "bank" }, true},
		{"where no namespace is known", nil, func(r *bundle.Request) { r.Namespace = "" }, false},
		{"in another cluster", nil, func(r *bundle.Request) { r.Cluster = "test" }, false},
		{"for a pull", nil, func(r *bundle.Request) { r.Cluster, r.Namespace = "", "" }, false},
		{"for a pull, where it says so", func(e *bundle.Exception) { e.Scope.Pulls = true }, func(r *bundle.Request) { r.Cluster, r.Namespace = "", "" }, true},
		{"another image", nil, func(r *bundle.Request) { r.Repositories = []string{"other/web"} }, false},
		{"its tag", func(e *bundle.Exception) { e.Scope.Images = []string{"docker.io/acme/web:1.*"} }, nil, true},
		{"another tag", func(e *bundle.Exception) { e.Scope.Images = []string{"docker.io/acme/web:2.*"} }, nil, false},
		{"a tag, and none is known", func(e *bundle.Exception) { e.Scope.Images = []string{"docker.io/acme/web:1.*"} }, func(r *bundle.Request) { r.Tag = "" }, false},
		{"any tag, and none is known", nil, func(r *bundle.Request) { r.Tag = "" }, true},
		{"a port is no tag", func(e *bundle.Exception) { e.Scope.Images = []string{"docker.io:443/acme/web"} }, func(r *bundle.Request) { r.Registries = []string{"docker.io:443"} }, true},
		{"a star of the registry ends with it", func(e *bundle.Exception) { e.Scope.Images = []string{"*.io/web"} }, func(r *bundle.Request) {
			r.Registries, r.Repositories = []string{"ghcr.io"}, []string{"mallory/x.io/web"}
		}, false},
		{"every image", func(e *bundle.Exception) { e.Scope.Images = []string{"*"} }, nil, true},
		{"its digest", func(e *bundle.Exception) { e.Scope.Images, e.Scope.Digests = nil, []string{sum} }, func(r *bundle.Request) { r.Digests = []string{sum} }, true},
		{"another digest", func(e *bundle.Exception) { e.Scope.Images, e.Scope.Digests = nil, []string{sum} }, nil, false},
		{"with its package", func(e *bundle.Exception) { e.Findings[0].TriggerID = "CVE-2018-0737+openssl" }, nil, true},
		{"another vulnerability", func(e *bundle.Exception) { e.Findings[0].TriggerID = "CVE-2018-0738" }, nil, false},
		{"the beginning of its name", func(e *bundle.Exception) { e.Findings[0].TriggerID = "CVE-2018-073" }, nil, false},
		{"another gate", func(e *bundle.Exception) { e.Findings[0] = bundle.ExceptedFinding{Gate: "dockerfile", TriggerID: "*"} }, nil, false},
		{"its version", func(e *bundle.Exception) { e.Findings[0].PackageVersion = openssl().Version }, nil, true},
		{"another version", func(e *bundle.Exception) { e.Findings[0].PackageVersion = "9" }, nil, false},
		{"run out", func(e *bundle.Exception) { e.Expires = now }, nil, false},
	}
	b := mustParse(t, document([]string{rule("STOP", "vulnerabilities", "package", "package_type", "all")}, nil, ""))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := excused(tt.change)
			x, err := bundle.NewExceptions([]bundle.Exception{e})
			if err != nil {
				t.Fatal(err)
			}
			req := inShop
			if tt.ask != nil {
				tt.ask(&req)
			}
			v := b.Select(req, x).Evaluate(facts(openssl()))
			if want := map[bool]policy.Action{true: policy.Go, false: policy.Stop}[tt.holds]; v.Action != want {
				t.Fatalf("action %v, want %v; rows %+v", v.Action, want, v.Rows)
			}
			if !tt.holds {
				return
			}
			want := &policy.Exempt{WhitelistName: "exception of team web", WhitelistID: "exception/prod/ssl", MatchedRuleID: "0", Expires: e.Expires}
			if diff := cmp.Diff(want, v.Rows[0].Whitelist); diff != "" {
				t.Errorf("what excepts the row (-want +got):\n%s", diff)
			}
			if !v.ValidUntil.Equal(e.Expires) {
				t.Errorf("the verdict holds until %v, the exception until %v", v.ValidUntil, e.Expires)
			}
		})
	}
}

// An exception that is not for the image leaves the selection as it is, so that
// no image is judged again because of it.
func TestExceptionsInTheHash(t *testing.T) {
	b := mustParse(t, document([]string{rule("STOP", "always", "always")}, []string{`{"id": "1", "gate": "always", "trigger_id": "x"}`}, ""))
	in := web
	in.Cluster, in.Namespace = "prod", "shop-1"
	hash := func(req bundle.Request, list ...bundle.Exception) string {
		x, err := bundle.NewExceptions(list)
		if err != nil {
			t.Fatal(err)
		}
		return b.Select(req, x).Hash
	}
	second := excused(func(e *bundle.Exception) { e.ID = "prod/a" })
	if hash(web, excused(nil)) != hash(web) || b.Select(web, nil).Hash != hash(web) {
		t.Error("an exception for others changes the selection")
	}
	if hash(in, excused(nil)) == hash(in) {
		t.Error("an exception does not change the selection")
	}
	if hash(in, excused(nil), second) != hash(in, second, excused(nil)) {
		t.Error("the order of exceptions changes the selection")
	}
	if hash(in, excused(nil)) == hash(in, excused(func(e *bundle.Exception) { e.Expires = now.Add(2 * time.Hour) })) {
		t.Error("a later end does not change the selection")
	}
	x, _ := bundle.NewExceptions([]bundle.Exception{second})
	if got := b.Select(in, x); !cmp.Equal(got.Exceptions, []string{"prod/a"}) || !cmp.Equal(got.Whitelists, []string{"w"}) {
		t.Errorf("exceptions %v, whitelists %v", got.Exceptions, got.Whitelists)
	}
}

func TestWrongExceptions(t *testing.T) {
	tests := []struct {
		name   string
		change func(*bundle.Exception)
		want   string
	}{
		{"no id", func(e *bundle.Exception) { e.ID = "" }, "id"},
		{"no owner", func(e *bundle.Exception) { e.Owner = " " }, "owner"},
		{"a short reason", func(e *bundle.Exception) { e.Reason = "because   " }, "reason"},
		{"no end", func(e *bundle.Exception) { e.Expires = time.Time{} }, "without an end"},
		{"no image", func(e *bundle.Exception) { e.Scope.Images = nil }, "name images or digests"},
		{"an image without a registry", func(e *bundle.Exception) { e.Scope.Images = []string{"nginx"} }, "images[0]"},
		{"a digest for an image", func(e *bundle.Exception) { e.Scope.Images = []string{"docker.io/nginx@sha256:aa"} }, "images[0]"},
		{"an empty image", func(e *bundle.Exception) { e.Scope.Images = []string{""} }, "images[0]"},
		{"a wrong digest", func(e *bundle.Exception) { e.Scope.Digests = []string{"sha256:12"} }, "digests[0]"},
		{"no finding", func(e *bundle.Exception) { e.Findings = nil }, "findings"},
		{"an empty trigger", func(e *bundle.Exception) { e.Findings[0].TriggerID = "" }, "trigger_id"},
		{"a wrong expression", func(e *bundle.Exception) { e.Findings[0].TriggerID = "regexp:(" }, "trigger_id"},
		{"too many", func(e *bundle.Exception) { e.Findings = make([]bundle.ExceptedFinding, 501) }, "to 500"},
	}
	good := excused(func(e *bundle.Exception) { e.ID = "prod/good" })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := excused(tt.change)
			x, err := bundle.NewExceptions([]bundle.Exception{bad, good})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %q", err, tt.want)
			}
			in := web
			in.Cluster, in.Namespace = "prod", "shop-1"
			if got := mustParse(t, document(nil, nil, "")).Select(in, x).Exceptions; !cmp.Equal(got, []string{"prod/good"}) {
				t.Errorf("in force %v, want the good one alone", got)
			}
			if bad.Validate() == nil {
				t.Error("Validate finds nothing wrong")
			}
		})
	}
	if _, err := bundle.NewExceptions([]bundle.Exception{good, good}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one id twice: %v", err)
	}
}

func FuzzExceptions(f *testing.F) {
	for _, change := range []func(*bundle.Exception){nil, func(e *bundle.Exception) { e.Scope.Images = []string{"regexp:docker.*", "a:b:c", ":", "*:*"} }, func(e *bundle.Exception) { e.Findings = nil }} {
		raw, err := json.Marshal([]bundle.Exception{excused(change)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	b, err := bundle.Parse([]byte(document([]string{rule("STOP", "vulnerabilities", "package", "package_type", "all")}, nil, "")))
	if err != nil {
		f.Fatal(err)
	}
	in := web
	in.Cluster, in.Namespace = "prod", "shop-1"
	f.Fuzz(func(t *testing.T, raw []byte) {
		var list []bundle.Exception
		if json.Unmarshal(raw, &list) != nil {
			return
		}
		x, err := bundle.NewExceptions(list)
		sel := b.Select(in, x)
		if err == nil && len(list) == 0 && len(sel.Exceptions) > 0 {
			t.Error("an exception out of nothing")
		}
		for _, id := range sel.Exceptions {
			if !slices.ContainsFunc(list, func(e bundle.Exception) bool {
				return e.ID == id && e.Owner != "" && !e.Expires.IsZero() && e.Scope.Cluster == "prod"
			}) {
				t.Errorf("%q is in force", id)
			}
		}
		sel.Evaluate(facts(openssl()))
	})
}
