package proxy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/proxy"
)

// secretHash is "secret", as quick to check as bcrypt has it.
const secretHash = "$2a$04$TOkogBdiibITqGCjgZxZIuZtaxqG7Jqc.ZW0KJnFQ2AA09VJTNvS6"

// people are the users of the tests, all with the password "secret", and what
// they may do.
func people() []auth.Rule {
	rule := func(who, repositories string, actions ...string) auth.Rule {
		return auth.Rule{Who: []string{who}, Repositories: []string{repositories}, Actions: actions}
	}
	return []auth.Rule{
		rule("alice", "team/*", auth.Push), rule("bob", "team/*", auth.Pull), rule("carol", "*", auth.Push, auth.Delete),
		rule("dora", "*", auth.Push, auth.Admin, auth.BreakGlass), rule("robot+ci", "team/*", auth.Push),
	}
}

// guarded is a door that nobody passes without a name.
type guarded struct {
	*door
	robot string // secret of robot+ci, which runs out in an hour
	proxy *proxy.Proxy
}

func openGuarded(t *testing.T, o gatetest.Options, rules []auth.Rule) *guarded {
	t.Helper()
	s := gatetest.New(t, o)
	users := auth.Users{}
	for _, name := range []string{"alice", "bob", "carol", "dora"} {
		users.Users = append(users.Users, auth.User{Name: name, Password: secretHash})
	}
	file := filepath.Join(t.TempDir(), "users.yaml")
	g := &guarded{}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(auth.EditUsers(t.Context(), file, func(u *auth.Users) (err error) {
		*u = users
		g.robot, err = u.AddRobot("ci", "build server", time.Now().Add(time.Hour))
		return err
	}))
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.New(auth.Config{UsersFile: file, Rules: rules}, false)
	check(err)
	tokens.Log, tokens.Resolve, tokens.Now = s.Log, s.Upstreams.Names, s.Clock.Now
	g.proxy = &proxy.Proxy{Gate: s.Gate, Upstreams: s.Upstreams, Catalog: s.Catalog, Auth: tokens, Audit: s.Audit, Log: s.Log, Now: s.Clock.Now}
	server := httptest.NewServer(g.proxy.Handler())
	t.Cleanup(server.Close)
	g.door = &door{s, server.URL, t}
	return g
}

// bearer is the header of a token for somebody; user "" asks without a name.
func (g *guarded) bearer(user string, scopes ...string) string {
	g.t.Helper()
	req, err := http.NewRequest("GET", g.url+"/auth/token?"+url.Values{"scope": scopes}.Encode(), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if password := "secret"; user != "" {
		if strings.HasPrefix(user, auth.RobotPrefix) {
			password = g.robot
		}
		req.SetBasicAuth(user, password)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		g.t.Fatal(err)
	}
	return "Bearer " + answer.Token
}

// all is a token for everything that the user may do to a repository.
func (g *guarded) all(user, repository string) string {
	return g.bearer(user, "repository:"+repository+":pull,push,delete")
}

// as pushes for somebody.
func (g *guarded) as(user, repository string) imagetest.Registry {
	return imagetest.Registry{URL: g.url, Header: http.Header{"Authorization": {g.all(user, repository)}}}
}

func (g *guarded) pushAs(user, repository, tag string, im imagetest.Image) {
	g.t.Helper()
	if err := g.as(user, repository).Push(g.t.Context(), repository, tag, im); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guarded) ask(user, method, repository, rest string) reply {
	g.t.Helper()
	return g.call(method, "/v2/"+repository+rest, nil, "Authorization", g.all(user, repository))
}

// TestWhoMayDoWhat: without a name one is sent to the token service with the
// scopes that are wanted, and a name without the right is told so.
func TestWhoMayDoWhat(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	im := imagetest.Clean()
	for _, repository := range []string{"team/app", "secret/app"} {
		g.pushAs("carol", repository, "1", im)
	}
	for _, tt := range []struct {
		name, user, method, repository, rest string
		status                               int
		says                                 string
	}{
		{"pull", "bob", "GET", "team/app", "/manifests/1", 200, ""},
		{"push includes pull", "alice", "GET", "team/app", "/manifests/1", 200, ""},
		{"a robot pulls", "robot+ci", "GET", "team/app", "/manifests/1", 200, ""},
		{"tags", "bob", "GET", "team/app", "/tags/list", 200, ""},
		{"no right to the repository", "bob", "GET", "secret/app", "/manifests/1", 403, "bob has no right to pull secret/app"},
		{"HEAD without the right", "bob", "HEAD", "secret/app", "/manifests/1", 403, ""},
		{"tags without the right", "alice", "GET", "secret/app", "/tags/list", 403, "alice has no right to pull secret/app"},
		{"a blob without the right", "alice", "GET", "secret/app", "/blobs/" + im.ID().String(), 403, "no right to pull"},
		{"referrers without the right", "alice", "GET", "secret/app", "/referrers/" + im.Digest().String(), 403, "no right to pull"},
		{"pull is no push", "bob", "POST", "team/app", "/blobs/uploads/", 403, "bob has no right to push team/app"},
		{"a repository that is not there tells nothing else", "bob", "GET", "secret/none", "/manifests/1", 403, "no right to pull secret/none"},
		{"push is no delete", "alice", "DELETE", "team/app", "/manifests/1", 403, "alice has no right to delete team/app"},
		{"push is no delete of a blob", "robot+ci", "DELETE", "team/app", "/blobs/" + im.ID().String(), 403, "robot+ci has no right to delete team/app"},
		{"admin is no delete", "dora", "DELETE", "team/app", "/manifests/" + im.Digest().String(), 403, "dora has no right to delete"},
		{"delete", "carol", "DELETE", "team/app", "/manifests/1", 202, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := g.ask(tt.user, tt.method, tt.repository, tt.rest)
			if got.status != tt.status || !strings.Contains(got.message(), tt.says) || (tt.status == 403 && tt.method != "HEAD" && got.code() != "DENIED") {
				t.Errorf("HTTP %d %s, want %d %q", got.status, got.body, tt.status, tt.says)
			}
		})
	}
}

// TestChallenges name what the client is to ask the token service for.
func TestChallenges(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	g.pushAs("carol", "team/app", "1", imagetest.Clean())
	for _, tt := range []struct {
		name, method, path, authorization string
		want                              string
	}{
		{"pull", "GET", "/v2/team/app/manifests/1", "", `scope="repository:team/app:pull"`},
		{"HEAD", "HEAD", "/v2/team/app/manifests/1", "", `scope="repository:team/app:pull"`},
		{"push", "POST", "/v2/team/app/blobs/uploads/", "", `scope="repository:team/app:pull,push"`},
		{"delete", "DELETE", "/v2/team/app/manifests/1", "", `scope="repository:team/app:delete"`},
		{"a token for something else", "PUT", "/v2/team/app/manifests/1", g.bearer("alice", "repository:team/app:pull"), `error="insufficient_scope"`},
		{"a token for another repository", "GET", "/v2/team/app/manifests/1", g.bearer("bob", "repository:team/other:pull"), `error="insufficient_scope"`},
		{"no token at all", "GET", "/v2/team/app/manifests/1", "Bearer nonsense", `scope="repository:team/app:pull"`},
		{"a password is for the token service", "GET", "/v2/team/app/manifests/1", "Basic YWxpY2U6c2VjcmV0", `scope="repository:team/app:pull"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := g.call(tt.method, tt.path, nil, "Authorization", tt.authorization)
			if h := got.header.Get("WWW-Authenticate"); got.status != 401 || !strings.HasPrefix(h, `Bearer realm="`) || !strings.Contains(h, tt.want) {
				t.Errorf("HTTP %d %s, want %s", got.status, h, tt.want)
			}
		})
	}
}

// TestRightsEndWithTheRobot: a token does not outlive the robot that it was
// granted to.
func TestRightsEndWithTheRobot(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	g.pushAs("robot+ci", "team/app", "1", imagetest.Clean())
	g.Clock.Move(59 * time.Minute)
	late := g.all("robot+ci", "team/app")
	if got := g.call("GET", "/v2/team/app/manifests/1", nil, "Authorization", late); got.status != 200 {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	g.Clock.Move(2 * time.Minute)
	if got := g.call("GET", "/v2/team/app/manifests/1", nil, "Authorization", late); got.status != 401 {
		t.Errorf("after its end: HTTP %d %s", got.status, got.body)
	}
}

// TestNamesOfMirrors: a token speaks of the name as it was typed, the rules of
// the repository that it leads to.
func TestNamesOfMirrors(t *testing.T) {
	ups := second(t, nil)
	rules := []auth.Rule{{Who: []string{"alice"}, Repositories: []string{"reg.example/team/*"}, Actions: []string{auth.Pull}},
		{Who: []string{"bob"}, Repositories: []string{"team/*"}, Actions: []string{auth.Pull}}}
	g := openGuarded(t, gatetest.Options{Upstreams: ups}, rules)
	putBehind(t, ups[0].Registry, "team/app", "1", imagetest.Clean())
	for _, tt := range []struct {
		name, user, path, scope string
		status                  int
	}{
		{"by its whole name", "alice", "/v2/reg.example/team/app/manifests/1", "reg.example/team/app", 200},
		{"by the mirror's name", "alice", "/v2/team/app/manifests/1?ns=reg.example", "team/app", 200},
		{"the same words, another repository", "alice", "/v2/team/app/manifests/1", "team/app", 403},
		{"the other way round", "bob", "/v2/team/app/manifests/1?ns=reg.example", "team/app", 403},
		{"a token for the whole name", "alice", "/v2/team/app/manifests/1?ns=reg.example", "reg.example/team/app", 401},
		{"a token for the short name", "alice", "/v2/reg.example/team/app/manifests/1", "team/app", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := g.call("GET", tt.path, nil, "Authorization", g.bearer(tt.user, "repository:"+tt.scope+":pull")); got.status != tt.status {
				t.Errorf("HTTP %d %s, want %d", got.status, got.body, tt.status)
			}
		})
	}
}

// TestMountsAcrossRights: a mount takes what the caller could pull, with a token
// that says so. All else becomes an upload.
func TestMountsAcrossRights(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	im := imagetest.Clean()
	layer := im.Layers[0].Descriptor().Digest.String()
	g.pushAs("carol", "secret/app", "1", im)
	g.pushAs("carol", "team/base", "1", im)
	g.pushAs("carol", "team/bad", "1", imagetest.Vulnerable())
	bad := imagetest.Vulnerable().Layers[0].Descriptor().Digest.String()
	for _, tt := range []struct {
		name, user, from, digest string
		scopes                   []string
		status                   int
	}{
		{"with the right", "alice", "team/base", layer, []string{"repository:team/new:pull,push", "repository:team/base:pull"}, 201},
		{"without asking for it", "alice", "team/base", layer, []string{"repository:team/new:pull,push"}, 202},
		{"without the right", "alice", "secret/app", layer, []string{"repository:team/new:pull,push", "repository:secret/app:pull"}, 202},
		{"by somebody who has it", "carol", "secret/app", layer, []string{"repository:team/new:pull,push", "repository:secret/app:pull"}, 201},
		{"out of a refused image", "alice", "team/bad", bad, []string{"repository:team/new:pull,push", "repository:team/bad:pull"}, 202},
		{"from nowhere", "alice", "nowhere.example/app", layer, []string{"repository:team/new:pull,push"}, 202},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := g.call("POST", "/v2/team/new/blobs/uploads/?"+url.Values{"mount": {tt.digest}, "from": {tt.from}}.Encode(), nil, "Authorization", g.bearer(tt.user, tt.scopes...))
			if got.status != tt.status {
				t.Errorf("HTTP %d %s, want %d", got.status, got.body, tt.status)
			}
		})
	}
	if got := g.ask("alice", "GET", "team/new", "/blobs/"+layer); got.status != 404 {
		t.Errorf("a mount alone opens the blob: HTTP %d", got.status)
	}
}

// TestWhatIsAnothersOwn: uploads under way, and blobs that no manifest names,
// belong to the one who sent them.
func TestWhatIsAnothersOwn(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	started := g.ask("alice", "POST", "team/app", "/blobs/uploads/")
	if started.status != 202 {
		t.Fatalf("HTTP %d %s", started.status, started.body)
	}
	at := strings.TrimPrefix(started.header.Get("Location"), "/v2/team/app")
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		if got := g.ask("carol", method, "team/app", at); got.status != 404 || got.code() != "BLOB_UPLOAD_UNKNOWN" {
			t.Errorf("%s of another's upload: HTTP %d %s", method, got.status, got.body)
		}
	}
	if got := g.ask("alice", "GET", "team/app", at); got.status != 204 {
		t.Errorf("one's own: HTTP %d", got.status)
	}
	blob := []byte("nobody names me")
	d := digest.FromBytes(blob)
	if err := g.as("alice", "team/app").PushBlob(t.Context(), "team/app", d, blob); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{"alice": 200, "carol": 404, "bob": 404, "robot+ci": 404} {
		for _, method := range []string{"GET", "HEAD"} {
			if got := g.ask(user, method, "team/app", "/blobs/"+d.String()); got.status != want {
				t.Errorf("%s of the orphan by %s: HTTP %d, want %d", method, user, got.status, want)
			}
		}
	}
	g.Clock.Move(25 * time.Hour)
	if got := g.ask("alice", "GET", "team/app", "/blobs/"+d.String()); got.status != 404 {
		t.Errorf("a day later: HTTP %d", got.status)
	}
}

// TestHeadOfARefusedImage: it is there for whoever may push, and for nobody else.
func TestHeadOfARefusedImage(t *testing.T) {
	g := openGuarded(t, gatetest.Options{}, people())
	im := imagetest.Vulnerable()
	g.pushAs("alice", "team/app", "1", im)
	for user, want := range map[string]int{"alice": 200, "bob": 403} {
		if got := g.ask(user, "HEAD", "team/app", "/manifests/1"); got.status != want {
			t.Errorf("HEAD by %s: HTTP %d, want %d", user, got.status, want)
		}
		if got := g.ask(user, "GET", "team/app", "/manifests/1"); got.status != 403 {
			t.Errorf("GET by %s: HTTP %d", user, got.status)
		}
	}
	got := g.call("PUT", "/v2/team/app/manifests/1", im.Manifest, "Authorization", g.all("alice", "team/app"), "Content-Type", image.MediaTypeManifest)
	if got.status != 201 || !strings.Contains(got.header.Get("Warning"), "pulls will be refused") {
		t.Errorf("push again: HTTP %d %q", got.status, got.header.Get("Warning"))
	}
}

// openAuth lets everybody on this machine in.
func openAuth(t *testing.T) *auth.Service {
	t.Helper()
	s, err := auth.New(auth.Config{}, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
