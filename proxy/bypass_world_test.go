package proxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/crypto/bcrypt"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/api"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/blobcache"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
	"github.com/pratique/pratique/proxy"
)

// person is somebody who asks.
type person struct {
	name string // of the account; "" for nobody's
	push bool   // asks for push scope, and has the right
}

func (p person) String() string {
	switch {
	case p.name != "":
		return p.name
	case p.push:
		return "anonymous with push scope"
	}
	return "anonymous"
}

// The owner pushes what the others are after. On repositories below t/ anonymous
// and the writer may push, and the reader pull; those below p/ are the owner's.
var (
	owner   = person{"owner", true}
	pirate  = person{"writer", true} // does what takes a push
	reader  = person{"reader", false}
	nobody  = person{"", false}
	thieves = []person{nobody, {"", true}, reader, pirate}
)

func access() auth.Config {
	rights := func(who, pattern string, actions ...string) auth.Rule {
		return auth.Rule{Who: []string{who}, Repositories: []string{pattern, "reg.example/" + pattern}, Actions: actions}
	}
	return auth.Config{Anonymous: auth.None, Rules: []auth.Rule{
		rights("owner", "*", auth.Push, auth.Delete), rights("writer", "t/*", auth.Push), rights("reader", "t/*", auth.Pull), rights(auth.Anonymous, "t/*", auth.Push),
	}}
}

// world is the proxy and the API in front of a whole gate, with accounts.
type world struct {
	*gatetest.System
	registry string // embedded or distant
	url, api string
	auth     *auth.Service
	users    string        // file of the accounts
	direct   gate.Registry // what keeps the images: whoever writes there goes around the proxy
}

type worldOptions struct {
	registry string
	gatetest.Options
	remote string // URL of the remote registry; "": a new one
}

func openWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{registry: o.registry}
	if o.registry == distant {
		o.Upstreams = w.openRemote(t, o)
	}
	w.System = gatetest.New(t, o.Options)
	if w.direct == nil {
		w.direct = w.Local
	}
	w.openDoors(t)
	return w
}

// openRemote is an upstream as serve makes one: a client of a remote registry,
// the blob cache before it.
func (w *world) openRemote(t *testing.T, o worldOptions) gate.Upstreams {
	t.Helper()
	if o.remote == "" {
		o.remote = registrytest.StartDistribution(t, registrytest.Options{}).URL
	}
	ups := remote(t, upstream.Config{URL: o.remote})
	client := ups[0].Registry.(*upstream.Registry)
	cache, err := blobcache.Open(blobcache.Options{Dir: filepath.Join(t.TempDir(), "cache"), Limit: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cache.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	w.direct, ups[0].Registry = client, cache.Through(client, ups[0].Name)
	return ups
}

func (w *world) openDoors(t *testing.T) {
	t.Helper()
	c := access()
	c.UsersFile = filepath.Join(t.TempDir(), "users.yaml")
	w.users = c.UsersFile
	var accounts auth.Users
	for _, p := range []person{owner, pirate, reader, {name: "leaver"}} {
		hash, err := bcrypt.GenerateFromPassword([]byte("password of "+p.name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		accounts.Users = append(accounts.Users, auth.User{Name: p.name, Password: string(hash)})
	}
	w.writeUsers(t, accounts)
	var err error
	if w.auth, err = auth.New(c, true); err != nil {
		t.Fatal(err)
	}
	w.auth.Log, w.auth.Resolve = w.Log, w.Upstreams.Names
	door := &proxy.Proxy{Gate: w.Gate, Upstreams: w.Upstreams, Catalog: w.Catalog, Auth: w.auth, Audit: w.Audit, Log: w.Log, Now: w.Clock.Now}
	pages := &api.API{Gate: w.Gate, Catalog: w.Catalog, Metrics: w.Metrics, Version: "1", RegistryHost: "127.0.0.1:5000", Auth: w.auth, Audit: w.Audit, Collect: w.Collect, Log: w.Log, Now: w.Clock.Now}
	server, people := httptest.NewServer(door.Handler()), httptest.NewServer(pages.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(people.Close)
	w.url, w.api = server.URL, people.URL
}

// writeUsers replaces the accounts.
func (w *world) writeUsers(t *testing.T, accounts auth.Users) {
	t.Helper()
	if err := auth.EditUsers(t.Context(), w.users, func(u *auth.Users) error { *u = accounts; return nil }); err != nil {
		t.Fatal(err)
	}
}

// crossing is one way being tried: with repositories of its own, an image that is
// refused and one that is allowed.
type crossing struct {
	*testing.T
	*world
	oracle               *oracle
	slug                 string
	repo, other, private string // names as clients write them; private is the owner's alone
	bad, good            imagetest.Image
	headers              []string // sent with every request
	tokens               map[string]string
}

func (w *world) crossing(t *testing.T, slug string) *crossing {
	mark := "CARGO" + rand.Text()
	c := &crossing{slug: slug, oracle: &oracle{}, bad: cargo(mark, imagetest.VulnerableSSL), good: cargo("PLAIN"+rand.Text(), imagetest.GoodSSL)}
	c.oracle.hide(c.bad)
	return c.in(t, w)
}

// in goes on with the same images in another world.
func (c *crossing) in(t *testing.T, w *world) *crossing {
	own := *c
	own.T, own.world, own.tokens = t, w, map[string]string{}
	prefix := map[string]string{embedded: "", distant: "reg.example/"}[w.registry]
	own.repo, own.other, own.private = prefix+"t/"+c.slug, prefix+"t/"+c.slug+"/other", prefix+"p/"+c.slug
	return &own
}

// anew goes on in a world of its own.
func (c *crossing) anew(o worldOptions) *crossing {
	c.Helper()
	o.registry = c.world.registry
	return c.in(c.T, openWorld(c.T, o))
}

// token is what the token service gives somebody who asks for the names of the
// way.
func (c *crossing) token(p person) string {
	c.Helper()
	actions := "pull"
	if p.push {
		actions = "pull,push,delete"
	}
	query := url.Values{}
	for _, name := range []string{c.repo, c.other, c.private} {
		query.Add("scope", "repository:"+name+":"+actions)
		if short, ok := strings.CutPrefix(name, "reg.example/"); ok { // for ns=, and for the embedded registry beside it
			query.Add("scope", "repository:"+short+":"+actions)
		}
	}
	key := p.String() + query.Encode()
	if c.tokens[key] == "" {
		c.tokens[key] = c.scoped(p, query)
	}
	return c.tokens[key]
}

func (c *crossing) scoped(p person, query url.Values) string {
	c.Helper()
	account := []string{}
	if p.name != "" {
		account = []string{"Authorization", basic(p.name)}
	}
	d := &door{url: c.url, t: c.T}
	got := d.call("GET", "/auth/token?"+query.Encode(), nil, account...)
	var answer struct{ Token string }
	if err := json.Unmarshal(got.body, &answer); err != nil || answer.Token == "" {
		c.Fatalf("token for %s: HTTP %d %s", p, got.status, got.body)
	}
	return "Bearer " + answer.Token
}

// ask sends a request as somebody, and looks at what comes back.
func (c *crossing) ask(p person, method, path string, body []byte, headers ...string) reply {
	c.Helper()
	got := c.answer(p, method, path, body, headers...)
	if what := c.oracle.smell(got.body); what != "" && p != owner && !keeper(p, path, got) {
		c.Errorf("%s: %s %s: HTTP %d gives away %s (%d bytes)", p, method, path, got.status, what, len(got.body))
	}
	return got
}

// answer is what comes back, whatever it is.
func (c *crossing) answer(p person, method, path string, body []byte, headers ...string) reply {
	c.Helper()
	d := &door{url: c.url, t: c.T}
	if !strings.HasPrefix(path, "/") {
		path = "/v2/" + c.repo + "/" + path
	}
	return d.call(method, path, body, append([]string{"Authorization", c.token(p)}, append(c.headers, headers...)...)...)
}

// shut: nobody is given anything at these addresses.
func (c *crossing) shut(paths ...string) {
	c.Helper()
	c.shutFor(thieves, paths...)
}

func (c *crossing) shutFor(people []person, paths ...string) {
	c.Helper()
	for _, path := range paths {
		for _, p := range people {
			if got := c.ask(p, "GET", path, nil); got.status < 400 && !keeper(p, path, got) {
				c.Errorf("%s: GET %s: HTTP %d, %d bytes", p, path, got.status, len(got.body))
			}
		}
	}
}

// keeper reports whether an answer is what a user who may push is to be given of
// a refused image, to sign it: the document itself, by its digest, with a warning.
// It names the content and has none of it.
func keeper(p person, path string, got reply) bool {
	path, _, _ = strings.Cut(path, "?")
	d := digest.Digest(path[strings.LastIndex(path, "/")+1:])
	if p != pirate || d.Validate() != nil || !strings.Contains("/"+path, "/manifests/") || !warned(got, "pulls are refused") {
		return false
	}
	m, err := image.ParseManifest(got.body, "")
	return err == nil && (m.Digest == d || m.SHA512 == d) && !m.HasData()
}

// served is the control: everybody is given the content at this address.
func (c *crossing) served(path string, want []byte) {
	c.Helper()
	c.servedTo(thieves, path, want)
}

func (c *crossing) servedTo(people []person, path string, want []byte) {
	c.Helper()
	for _, p := range people {
		if got := c.answer(p, "GET", path, nil); got.status != 200 || !bytes.Equal(got.body, want) {
			c.Errorf("control: %s: GET %s: HTTP %d, %d bytes of %d: %.300s", p, path, got.status, len(got.body), len(want), got.body)
		}
	}
}
