package main_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

// shows says which of the three answers a client prints the message of. Of a
// client that does not, the status must be in what it prints.
type shows struct {
	pull, pending, push bool

	patient bool // tries for a minute and a half when put off: not waited for
}

// TestWhatClientsPrint has every client refused on pull, put off, and refused
// on push. What it prints, with -v, stands in docs/clients.md.
func TestWhatClientsPrint(t *testing.T) {
	slow := newSlowUpstream(t)
	s, _ := serveLockouts(t, "--set", "gate.wait=1ms", "--set", `gate.rules=[{match: {repository: "closed/*"}, push: enforce}]`,
		"--set", `upstreams=[{name: local, embedded: true, default: true}, {name: slow, prefix: slow.example, url: "`+slow+`"}]`)
	for name, want := range map[string]shows{
		"docker":  {pull: true, pending: true, push: true},
		"ctr":     {pull: true},
		"podman":  {pull: true, push: true, patient: true},
		"buildah": {pull: true, push: true, patient: true},
		"skopeo":  {pull: true, pending: true, push: true},
		"crane":   {pull: true, pending: true, push: true},
		"oras":    {pull: true, pending: true, push: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := opened[name](t)
			b := bench{name: name, any: c, client: c.(client), s: s, repository: "open/" + name}
			b.mustPush(t, imagetest.Vulnerable(), "1.0")
			b.Remove(b.ref("1.0"))
			out, err := b.Pull(b.ref("1.0"))
			printed(t, "refused pull", out, err, want.pull, `pratique: refused by policy "default"`, "403")

			if !want.patient {
				out, err = b.Pull(s.registry + "/slow.example/open/" + name + ":1.0")
				printed(t, "pull put off", out, err, want.pending, "is being analysed", "429")
			}

			b.repository = "closed/" + name
			b.Load(layoutOf(t, imagetest.Vulnerable()), b.ref("1.0"))
			out, err = b.Push(b.ref("1.0"))
			printed(t, "refused push", out, err, want.push, `pratique: refused by policy "default"`, "403")
		})
	}
	t.Run("helm", func(t *testing.T) {
		t.Parallel()
		b := bench{s: s, any: opened["helm"](t), repository: "open/helm"}
		b.put(t, "1.0.0", imagetest.Vulnerable())
		out, err := b.any.(*clients.Helm).Pull(b.ref("1.0.0"))
		printed(t, "refused pull", out, err, true, `pratique: refused by policy "default"`, "403")
	})
}

// showsRights says what a client prints of the answers to people with a name.
type showsRights struct {
	login string // of a wrong password
	asks  bool   // a log-in asks the registry; else the first pull does
	pull  bool   // the message of a refused pull, with the right to pull alone
	right bool   // the message of a push without the right to
	held  bool   // the warning of a push into quarantine, which succeeds
}

// TestWhatClientsPrintOfRights has every client log in with a wrong password, be
// refused, push without the right to, and push into quarantine.
func TestWhatClientsPrintOfRights(t *testing.T) {
	h := newHouse(t)
	const message, ownWords = "pratique: user name or password is wrong", "invalid username/password"
	for name, want := range map[string]showsRights{
		"docker":  {login: message, asks: true, pull: true, right: true},
		"ctr":     {login: "401"},
		"podman":  {login: ownWords, asks: true, pull: true, right: true},
		"buildah": {login: ownWords, asks: true, pull: true, right: true},
		"skopeo":  {login: ownWords, asks: true, pull: true, right: true},
		"crane":   {login: message, pull: true, right: true, held: true},
		"oras":    {login: message, asks: true, pull: true, right: true, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := opened[name](t)
			b := bench{name: name, any: c, client: c.(client), s: h.server, house: h, repository: "team/" + name}
			b.put(t, "1.0", imagetest.Clean())
			out, err := b.any.(named).Login(h.registry, "alice", "wrong")
			if !want.asks && err == nil {
				out, err = b.Pull(b.ref("1.0"))
			}
			printed(t, "wrong password", out, err, true, want.login, "")

			b.mustLogin(t, readerBot)
			b.put(t, "2.0", imagetest.Vulnerable())
			out, err = b.Pull(b.ref("2.0"))
			printed(t, "refused pull", out, err, want.pull, `pratique: refused by policy "default"`, "403")
			b.Load(layoutOf(t, unique("good-"+name, 0)), b.ref("3.0"))
			out, err = b.Push(b.ref("3.0"))
			printed(t, "push without the right", out, err, want.right, "pratique: "+readerBot+" has no right to push team/"+name, "403")

			b.mustLogin(t, pushBot)
			out, err = b.Pull(b.ref("2.0"))
			printed(t, "refused pull with the right to push", out, err, true, `pratique: refused by policy "default"`, "403")
			b.repository += "/held"
			b.Load(layoutOf(t, imagetest.Vulnerable()), b.ref("1.0"))
			out, err = b.Push(b.ref("1.0"))
			t.Logf("push into quarantine:\n%s", strings.TrimSpace(out))
			if err != nil || strings.Contains(out, "quarantined: team/") != want.held {
				t.Errorf("push into quarantine: %v", err)
			}
		})
	}
	t.Run("helm", func(t *testing.T) {
		t.Parallel()
		helm := clients.NewHelm(t)
		b := bench{s: h.server, house: h, any: helm, repository: "team/charts"}
		out, err := helm.Login(h.registry, "alice", "wrong")
		printed(t, "wrong password", out, err, true, message, "401")
		b.mustLogin(t, readerBot)
		out, err = helm.Push(helm.Package("chart", "1.0.0", "note"), h.registry+"/team/charts")
		printed(t, "push without the right", out, err, true, "has no right to push team/charts/chart", "403")
	})
	t.Run("cosign", func(t *testing.T) {
		t.Parallel()
		b := bench{s: h.server, house: h, any: opened["cosign"](t), repository: "team/signed"}
		ref := b.put(t, "1.0", imagetest.Clean())
		b.mustLogin(t, readerBot)
		out, err := b.any.(*clients.Cosign).Sign(ref)
		printed(t, "signature without the right", out, err, true, "has no right to push team/signed", "403")
	})
}

func printed(t *testing.T, what, out string, err error, whole bool, message, status string) {
	t.Helper()
	t.Logf("%s:\n%s", what, strings.TrimSpace(out))
	if err == nil {
		t.Fatalf("%s: nothing was refused", what)
	}
	want := status
	if whole {
		want = message
	}
	if got := strings.ReplaceAll(out, `\"`, `"`); !strings.Contains(got, want) {
		t.Errorf("%s: the client does not show %q", what, want)
	}
}

// newSlowUpstream is a registry that has every repository "open/NAME" with one
// image, and never comes to an end with a layer of it.
func newSlowUpstream(t *testing.T) (address string) {
	t.Helper()
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var closed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if closed.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			<-r.Context().Done()
			return
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for _, name := range columns {
		r := imagetest.Registry{URL: server.URL}
		if err := r.Push(t.Context(), "open/"+name, "1.0", unique("slow-"+name, 0)); err != nil {
			t.Fatal(err)
		}
	}
	closed.Store(true)
	return server.URL
}
