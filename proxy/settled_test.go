package proxy_test

import (
	"crypto/sha512"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// TestPushedTogether: those who push the same allowed image to the same tag
// at the same time are told the same: it is there.
func TestPushedTogether(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Push = gate.PushQuarantine })})
	for round := range 5 {
		im := imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("n", fmt.Sprint(round)))...))
		if err := d.pusher("app").PushBlobs(t.Context(), "app", im); err != nil {
			t.Fatal(err)
		}
		bearer := "Bearer " + d.token("repository:app:pull,push")
		var group sync.WaitGroup
		for range 6 {
			group.Go(func() {
				got := d.call("PUT", fmt.Sprintf("/v2/app/manifests/t%d", round), im.Manifest, "Authorization", bearer, "Content-Type", image.MediaTypeManifest)
				if got.status != 201 || got.header.Get("Warning") != "" {
					t.Errorf("HTTP %d %q", got.status, got.header.Get("Warning"))
				}
			})
		}
		group.Wait()
	}
}

// TestReleaseOfADeletedImage: what waits for a later push stays when an earlier image,
// looked at by the way, is found to be gone.
func TestReleaseOfADeletedImage(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Push = gate.PushQuarantine })})
	one, two := imagetest.Vulnerable(), imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL}, imagetest.File("n", "2"))...))
	d.push("app", "1", one)
	repo := catalog.Repository{Upstream: "local", Name: "app"}
	stale, err := d.Catalog.Hold(t.Context(), repo, "1")
	if err != nil || stale == nil {
		t.Fatal(err)
	}
	got := d.call("DELETE", "/v2/app/manifests/"+one.Digest().String(), nil, "Authorization", "Bearer "+d.token("repository:app:pull,push,delete"))
	if got.status != 202 {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	d.push("app", "1", two)
	if _, err := d.Gate.Release(t.Context(), *stale, ""); err != nil {
		t.Fatal(err)
	}
	h, err := d.Catalog.Hold(t.Context(), repo, "1")
	if err != nil || h == nil || h.Manifest != two.Digest() {
		t.Errorf("the hold of the later push is %v, %v", h, err)
	}
}

// TestIndexMappedByTag: the children of an index are judged on push by the tag that is
// being pushed, as they are when that tag stands.
func TestIndexMappedByTag(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Push = gate.PushQuarantine })})
	const b = `{"id":"bt","name":"bt","version":"1_0","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],
"policies":[{"id":"p","name":"p","version":"1_0","rules":[]}],
"mappings":[{"id":"a","name":"a","registry":"*","repository":"*","image":{"type":"tag","value":"v*"},"policy_ids":["p"],"whitelist_ids":[]}]}`
	if _, err := d.Gate.AddPolicy(t.Context(), []byte(b)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Gate.Activate(t.Context(), "bt"); err != nil {
		t.Fatal(err)
	}
	d.push("app", "v1", imagetest.Clean())
	d.wantStatus("/v2/app/manifests/v1", 200)
	x := imagetest.BuildIndex(imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("n", "x"))...)))
	if err := d.pusher("app").PushIndex(t.Context(), "app", "v2", x); err != nil {
		t.Fatal(err)
	}
	d.wantStatus("/v2/app/manifests/v2", 200)
}

// TestFromDateOfIndexes: the warning is there for an index too.
func TestFromDateOfIndexes(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.From = time.Now().Add(72 * time.Hour).Format(time.DateOnly) })})
	x := imagetest.BuildIndex(imagetest.Vulnerable())
	if err := d.pusher("app").PushIndex(t.Context(), "app", "v2", x); err != nil {
		t.Fatal(err)
	}
	got := d.call("GET", "/v2/app/manifests/v2", nil)
	if !strings.Contains(got.header.Get("Warning"), "will be refused") {
		t.Error("no warning")
	}
}

// TestTombstoneOfWhatCannotBeRead: a mirror is not sent on for what is refused
// because it cannot be read without doubt.
func TestTombstoneOfWhatCannotBeRead(t *testing.T) {
	ups := second(t, nil)
	d := open(t, gatetest.Options{Upstreams: ups, Config: configure(func(c *gate.Config) { c.Tombstones = gate.Allow })})
	im := imagetest.Vulnerable()
	putBehind(t, ups[0].Registry, "app", "1", im)
	ups[0].Registry = misnaming{ups[0].Registry, []byte(strings.Replace(string(im.Manifest), `"schemaVersion"`, `"layers":[],"schemaVersion"`, 1))}
	for _, m := range []string{"HEAD", "GET"} {
		got := d.call(m, "/v2/app/manifests/1?ns=reg.example", nil)
		if got.status != 200 {
			t.Error("falls through")
		}
	}
}

// TestNamePushedLast: a tag has the digest that it was pushed with last.
func TestNamePushedLast(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("app", "0", im)
	p512 := "sha512:" + fmt.Sprintf("%x", sha512sum(im.Manifest))
	bearer := "Bearer " + d.token("repository:app:pull,push,delete")
	first := d.call("PUT", "/v2/app/manifests/"+p512+"?tag=t", im.Manifest, "Authorization", bearer, "Content-Type", image.MediaTypeManifest)
	if first.status != 201 {
		t.Fatalf("HTTP %d %s", first.status, first.body)
	}
	got := d.call("PUT", "/v2/app/manifests/t", im.Manifest, "Authorization", bearer, "Content-Type", image.MediaTypeManifest)
	got2 := d.call("HEAD", "/v2/app/manifests/t", nil)
	if got2.header.Get("Docker-Content-Digest") != got.header.Get("Docker-Content-Digest") {
		t.Error(got2.header.Get("Docker-Content-Digest"))
	}
}

func sha512sum(b []byte) []byte { h := sha512.Sum512(b); return h[:] }
