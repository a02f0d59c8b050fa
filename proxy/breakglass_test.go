package proxy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// grant gives somebody a break-glass grant for an hour.
func (g *guarded) grant(principal, repository string) catalog.Pass {
	g.t.Helper()
	target, err := g.Upstreams.Lookup(repository, "")
	if err != nil {
		g.t.Fatal(err)
	}
	p, err := g.Gate.GrantPass(g.t.Context(), target, principal, "dora", "production is down", time.Hour)
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

// TestGrantPass: what a grant needs.
func TestGrantPass(t *testing.T) {
	d := open(t, gatetest.Options{})
	target, err := d.Upstreams.Lookup("team/app", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, principal, reason string
		lasting                 time.Duration
		want                    error
	}{
		{"good", "ann", "production is down", 4 * time.Hour, nil},
		{"no reason", "ann", "", time.Hour, gate.ErrPassReason},
		{"a short reason", "ann", "because", time.Hour, gate.ErrPassReason},
		{"blanks for a reason", "ann", "            ", time.Hour, gate.ErrPassReason},
		{"too long", "ann", "production is down", 4*time.Hour + time.Second, gate.ErrPassDuration},
		{"no time", "ann", "production is down", 0, gate.ErrPassDuration},
		{"less than no time", "ann", "production is down", -time.Hour, gate.ErrPassDuration},
		{"for nobody", "", "production is down", time.Hour, gate.ErrPassPrincipal},
		{"for everybody", auth.Anonymous, "production is down", time.Hour, gate.ErrPassPrincipal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := d.Gate.GrantPass(t.Context(), target, tt.principal, "boss", tt.reason, tt.lasting)
			if !errors.Is(err, tt.want) || (err == nil) != (p.ID != "") {
				t.Errorf("%v, %v, want %v", p, err, tt.want)
			}
		})
	}
}

// TestBreakGlass: one principal has the refused images of one repository, for a
// while, and nobody anything else.
func TestBreakGlass(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, append(people(), auth.Rule{Who: []string{"*"}, Repositories: []string{"*"}, Actions: []string{auth.Pull}}))
	bad := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, numberedBad(1).Layers...)
	index := imagetest.BuildIndex(bad)
	for _, repository := range []string{"team/app", "team/other"} {
		g.pushAs("carol", repository, "1", bad)
		if err := g.as("carol", repository).PushIndex(t.Context(), repository, "multi", index); err != nil {
			t.Fatal(err)
		}
	}
	ways := map[string]string{
		"tag": "/manifests/1", "digest": "/manifests/" + bad.Digest().String(), "index": "/manifests/multi",
		"layer": "/blobs/" + bad.Layers[0].Descriptor().Digest.String(), "config": "/blobs/" + bad.ID().String(),
	}
	want := func(when, user, repository string, status int) {
		t.Helper()
		for way, rest := range ways {
			got := g.call("GET", "/v2/"+repository+rest, nil, "Authorization", g.bearer(user, "repository:"+repository+":pull"))
			if got.status != status {
				t.Errorf("%s: %s by %s of %s: HTTP %d, want %d", when, way, user, repository, got.status, status)
			}
			if status == 200 && !strings.Contains(got.header.Get("Warning"), "break-glass grant until ") {
				t.Errorf("%s: %s: warning %q", when, way, got.header.Get("Warning"))
			}
		}
	}
	delete(ways, "digest") // named pushers may look at manifests by their digest; bob pushes nothing
	want("before", "bob", "team/app", 403)
	pass := g.grant("bob", "team/app")
	ways["digest"] = "/manifests/" + bad.Digest().String()
	want("granted", "bob", "team/app", 200)
	want("another repository", "bob", "team/other", 403)
	if got := g.ask("bob", "POST", "team/app", "/blobs/uploads/"); got.status != 403 {
		t.Errorf("a grant is no right to push: HTTP %d", got.status)
	}
	delete(ways, "digest")
	want("another principal", "alice", "team/app", 403)
	want("who granted it", "dora", "team/app", 403)
	if got := g.call("GET", "/v2/team/app/manifests/1", nil); got.status != 401 {
		t.Errorf("without a name: HTTP %d", got.status)
	}
	g.Clock.Move(time.Hour)
	want("run out", "bob", "team/app", 403)
	pass = g.grant("bob", "team/app")
	want("granted again", "bob", "team/app", 200)
	if ended, err := g.Catalog.EndPass(t.Context(), pass.ID, g.Clock.Now()); err != nil || !ended {
		t.Fatalf("ended %v, %v", ended, err)
	}
	want("ended", "bob", "team/app", 403)
}

// TestBreakGlassIsAudited: every byte of a refused image that a grant gives away
// is on record.
func TestBreakGlassIsAudited(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	bad := numberedBad(1)
	g.pushAs("carol", "team/app", "1", bad)
	g.grant("bob", "team/app")
	for _, rest := range []string{"/manifests/1", "/blobs/" + bad.Layers[0].Descriptor().Digest.String()} {
		before := g.kinds("team/app")[audit.PassUsed]
		if got := g.ask("bob", "GET", "team/app", rest); got.status != 200 {
			t.Fatalf("%s: HTTP %d %s", rest, got.status, got.body)
		}
		if after := g.kinds("team/app")[audit.PassUsed]; after != before+1 {
			t.Errorf("%s: %d entries, want one more than %d", rest, after, before)
		}
	}
}

// TestBreakGlassLiftsNoPush: enforcement on push stays, and so does quarantine.
func TestBreakGlassLiftsNoPush(t *testing.T) {
	for _, push := range []string{gate.PushEnforce, gate.PushQuarantine} {
		t.Run(push, func(t *testing.T) {
			g := openGuarded(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Push = push })}, people())
			g.grant("alice", "team/app")
			err := g.as("alice", "team/app").Push(t.Context(), "team/app", "1", numberedBad(1))
			if (err != nil) != (push == gate.PushEnforce) {
				t.Errorf("push: %v", err)
			}
			g.wantTag(g.Local, "team/app", "1", "")
		})
	}
}

// TestBreakGlassOpensNoMore: what it serves stays served no longer than it lasts,
// and what belongs to nobody any more is not opened.
func TestBreakGlassOpensNoMore(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	bad := numberedBad(1)
	layer := "/blobs/" + bad.Layers[0].Descriptor().Digest.String()
	g.pushAs("carol", "team/app", "1", bad)
	pass := g.grant("bob", "team/app")
	if got := g.ask("bob", "GET", "team/app", "/manifests/1"); got.status != 200 {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	if _, err := g.Catalog.EndPass(t.Context(), pass.ID, g.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	if got := g.ask("bob", "GET", "team/app", layer); got.status != 403 {
		t.Errorf("a layer after the end: HTTP %d", got.status)
	}
	g.Clock.Move(time.Second)
	g.grant("bob", "team/app")
	if got := g.ask("carol", "DELETE", "team/app", "/manifests/"+bad.Digest().String()); got.status != 202 {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	if got := g.ask("bob", "GET", "team/app", layer); got.status != 404 {
		t.Errorf("a layer of a deleted image: HTTP %d", got.status)
	}
}
