package clients_test

import (
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/clients"
)

// client is what every client can do.
type client interface {
	Load(layoutDir, ref string)
	Push(ref string) (string, error)
	Pull(ref string) (string, error)
	Remove(ref string)
	Digest(ref string) string
}

var everyClient = []struct {
	name  string
	open  func(t *testing.T) client
	mute  bool // hides the words of a refused pull
	exact bool // pushes an image's bytes as the layout has them
}{
	{name: "docker", open: func(t *testing.T) client { return clients.Docker(t) }},
	// containerd 1.6 asks with HEAD, which has no body, and stops there.
	{name: "containerd", open: func(t *testing.T) client { return clients.Containerd(t) }, mute: true, exact: true},
	{name: "skopeo", open: func(t *testing.T) client { return clients.Skopeo(t) }, exact: true},
	{name: "podman", open: func(t *testing.T) client { return clients.Podman(t) }},
	{name: "buildah", open: func(t *testing.T) client { return clients.Buildah(t) }},
	{name: "crane", open: func(t *testing.T) client { return clients.NewCrane(t) }, exact: true},
	{name: "oras", open: func(t *testing.T) client { return clients.NewOras(t) }, exact: true},
}

func TestClients(t *testing.T) {
	host := serve(t)
	for _, tc := range everyClient {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := tc.open(t)
			imageDir, indexDir := layouts(t)
			ref := host + "/" + tc.name + "/image:1"
			roundTrip(t, c, imageDir, ref)
			if got, want := stored(t, ref), rootDigest(t, imageDir); tc.exact && got != want {
				t.Errorf("registry has %s, layout has %s", got, want)
			}
			roundTrip(t, c, indexDir, host+"/"+tc.name+"/index:1")
			refusedPull(t, c, host+"/refused/"+tc.name+":1", !tc.mute)
			refusedPush(t, c, imageDir, host+"/closed/"+tc.name+":1")
		})
	}
}

func roundTrip(t *testing.T, c client, dir, ref string) {
	t.Helper()
	c.Load(dir, ref)
	if out, err := c.Push(ref); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	want := stored(t, ref)
	c.Remove(ref)
	if out, err := c.Pull(ref); err != nil {
		t.Fatalf("pull: %v\n%s", err, out)
	}
	if got := c.Digest(ref); got != want {
		t.Errorf("digest after pull = %s, registry has %s", got, want)
	}
}

func refusedPull(t *testing.T, c client, ref string, wantReason bool) {
	t.Helper()
	out, err := c.Pull(ref)
	t.Logf("refused pull: %v\n%s", err, out)
	if err == nil {
		t.Fatal("a refused pull succeeded")
	}
	// Some clients quote the words once more.
	if got := strings.Contains(strings.ReplaceAll(out, `\`, ""), refusal); got != wantReason {
		t.Errorf("reason shown = %t, want %t", got, wantReason)
	}
}

func refusedPush(t *testing.T, c client, dir, ref string) {
	t.Helper()
	c.Load(dir, ref)
	out, err := c.Push(ref)
	t.Logf("refused push: %v\n%s", err, out)
	if err == nil {
		t.Fatal("a refused push succeeded")
	}
}
