package proxy_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// numbered is a clean image unlike the others.
func numbered(n any) imagetest.Image {
	return imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("app/number", fmt.Sprint(n)))...))
}

// numberedBad is a vulnerable image unlike the others.
func numberedBad(n any) imagetest.Image {
	return imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL}, imagetest.File("app/number", fmt.Sprint(n)))...))
}

// put sends a manifest with a token for everything; its blobs are there.
func (d *door) put(repository, reference string, raw []byte) reply {
	d.t.Helper()
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		d.t.Fatal(err)
	}
	return d.call("PUT", "/v2/"+repository+"/manifests/"+reference, raw, "Content-Type", m.MediaType,
		"Authorization", "Bearer "+d.token("repository:"+repository+":pull,push,delete"))
}

// remove deletes with a token for everything.
func (d *door) remove(repository, rest string) reply {
	d.t.Helper()
	return d.call("DELETE", "/v2/"+repository+rest, nil, "Authorization", "Bearer "+d.token("repository:"+repository+":pull,push,delete"))
}

// wantTag checks what a tag stands for, upstream.
func (d *door) wantTag(reg gate.Registry, repository, tag string, want digest.Digest) {
	d.t.Helper()
	got, err := reg.Resolve(d.t.Context(), repository, tag)
	if got != want || (err != nil) != (want == "") {
		d.t.Errorf("%s:%s stands for %q (%v), want %q", repository, tag, got, err, want)
	}
}

func releases(c *gate.Config) {
	c.Immutable = []gate.TagRule{{Repository: "team/*", Tags: []string{"v*", "1.0"}}, {Repository: "frozen"}}
}

// TestImmutableTags: once a tag stands for an image it stays.
func TestImmutableTags(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(releases)})
	one, two := numbered(1), numbered(2)
	for _, repository := range []string{"team/app", "other/app", "frozen"} {
		if err := d.pusher(repository).PushBlobs(t.Context(), repository, two); err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"v1", "1.0", "latest"} {
			d.push(repository, tag, one)
		}
	}
	for _, tt := range []struct {
		name, repository, tag string
		moves                 bool
	}{
		{"a pattern", "team/app", "v1", false},
		{"a tag by name", "team/app", "1.0", false},
		{"another tag", "team/app", "latest", true},
		{"another repository", "other/app", "v1", true},
		{"every tag of a repository", "frozen", "latest", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &door{d.System, d.url, t}
			if got := d.put(tt.repository, tt.tag, one.Manifest); got.status != 201 {
				t.Errorf("the same again: HTTP %d %s", got.status, got.body)
			}
			if !tt.moves {
				says := "the tag " + tt.tag + " of " + tt.repository + " is immutable (gate.immutable) and stands for " + one.Digest().String()
				for what, got := range map[string]reply{
					"move": d.put(tt.repository, tt.tag, two.Manifest), "delete": d.remove(tt.repository, "/manifests/"+tt.tag),
					"delete by digest": d.remove(tt.repository, "/manifests/"+one.Digest().String()),
					"tag parameter":    d.put(tt.repository, two.Digest().String()+"?"+url.Values{"tag": {tt.tag}}.Encode(), two.Manifest),
				} {
					if got.status != 403 || got.code() != "DENIED" || (what != "delete by digest" && !strings.Contains(got.message(), says)) {
						t.Errorf("%s: HTTP %d %s", what, got.status, got.body)
					}
				}
				d.wantTag(d.Local, tt.repository, tt.tag, one.Digest())
				return
			}
			if got := d.put(tt.repository, tt.tag, two.Manifest); got.status != 201 {
				t.Errorf("move: HTTP %d %s", got.status, got.body)
			}
			d.wantTag(d.Local, tt.repository, tt.tag, two.Digest())
			if got := d.remove(tt.repository, "/manifests/"+tt.tag); got.status != 202 {
				t.Errorf("delete: HTTP %d %s", got.status, got.body)
			}
		})
	}
	entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: audit.PushRefused, Repository: "frozen", Limit: 100})
	if err != nil || len(entries) != 4 || !strings.Contains(entries[0].Message, "immutable") {
		t.Errorf("audit: %v, %v", entries, err)
	}
}

// TestImmutableFirstPush: of those who push to a free tag at the same time, one
// has it, and only that one is told so.
func TestImmutableFirstPush(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(releases)})
	const pushers = 6
	images := make([]imagetest.Image, pushers)
	for i := range images {
		images[i] = numbered(i)
		if err := d.pusher("team/app").PushBlobs(t.Context(), "team/app", images[i]); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		tag := fmt.Sprintf("v%d", round)
		status := make([]int, pushers)
		var group sync.WaitGroup
		for i := range images {
			group.Go(func() { status[i] = d.put("team/app", tag, images[i].Manifest).status })
		}
		group.Wait()
		var won []digest.Digest
		for i, s := range status {
			switch s {
			case 201:
				won = append(won, images[i].Digest())
			case 403:
			default:
				t.Errorf("HTTP %d", s)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%s: %d pushes were taken: %v", tag, len(won), status)
		}
		d.wantTag(d.Local, "team/app", tag, won[0])
	}
}

// TestTagParameters: one push by digest moves several tags, or with enforce none.
func TestTagParameters(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) {
		c.Rules = []gate.Rule{{Match: gate.Match{Repository: "strict"}, Settings: gate.Settings{Push: gate.PushEnforce}}}
	})})
	many := url.Values{}
	for i := range 33 {
		many.Add("tag", fmt.Sprint("t", i))
	}
	good, bad := numbered(1), numberedBad(1)
	for _, repository := range []string{"app", "strict"} {
		for _, im := range []imagetest.Image{good, bad} {
			if err := d.pusher(repository).PushBlobs(t.Context(), repository, im); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name, repository, reference, query string
		image                              imagetest.Image
		status                             int
		tags                               string // as the answer lists them
	}{
		{"two", "app", good.Digest().String(), "tag=a&tag=b&tag=a", good, 201, "a, b"},
		{"by sha512", "app", digest.SHA512.FromBytes(good.Manifest).String(), "tag=c", good, 201, "c"},
		{"a tag in the path as well", "app", "d", "tag=e", good, 201, ""},
		{"no tag", "app", good.Digest().String(), "tag=-", good, 400, ""},
		{"too many", "app", good.Digest().String(), many.Encode(), good, 414, ""},
		{"a failing image, observed", "app", bad.Digest().String(), "tag=f&tag=g", bad, 201, "f, g"},
		{"a failing image, enforced", "strict", bad.Digest().String(), "tag=h&tag=i", bad, 403, ""},
		{"a good one, enforced", "strict", good.Digest().String(), "tag=j&tag=k", good, 201, "j, k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.put(tt.repository, tt.reference+"?"+tt.query, tt.image.Manifest)
			if got.status != tt.status || got.header.Get("OCI-Tag") != tt.tags {
				t.Errorf("HTTP %d %q %s, want %d %q", got.status, got.header.Get("OCI-Tag"), got.body, tt.status, tt.tags)
			}
		})
	}
	for repository, want := range map[string]string{"app": `["a","b","c","d","f","g"]`, "strict": `["j","k"]`} {
		if got := d.call("GET", "/v2/"+repository+"/tags/list", nil); !strings.Contains(string(got.body), want) {
			t.Errorf("tags of %s: %s, want %s", repository, got.body, want)
		}
	}
	head := d.call("HEAD", "/v2/app/manifests/c", nil)
	if named := head.header.Get("Docker-Content-Digest"); named != digest.SHA512.FromBytes(good.Manifest).String() {
		t.Errorf("the tag pushed by sha512 is named %s", named)
	}
}

// TestFromDate: until the day that refusals begin, they are warnings.
func TestFromDate(t *testing.T) {
	day := func(c *gate.Config) { c.From = time.Now().UTC().Add(48 * time.Hour).Format(time.DateOnly) }
	for _, tt := range []struct {
		name   string
		change func(*gate.Config)
		image  imagetest.Image
		pushed int
	}{
		{"a failing image", day, imagetest.Vulnerable(), 201},
		{"enforced", func(c *gate.Config) { day(c); c.Push = gate.PushEnforce }, imagetest.Vulnerable(), 201},
		{"in quarantine", func(c *gate.Config) { day(c); c.Push = gate.PushQuarantine }, imagetest.Vulnerable(), 201},
		{"what cannot be read", day, imagetest.Build(imagetest.Plain(imagetest.File("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\x00"), imagetest.File("etc/os-release", "ID=almalinux\nVERSION_ID=9.0\n"))), 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: configure(tt.change)})
			if err := d.pusher("app").PushBlobs(t.Context(), "app", tt.image); err != nil {
				t.Fatal(err)
			}
			if got := d.put("app", "1", tt.image.Manifest); got.status != tt.pushed {
				t.Fatalf("push: HTTP %d %s", got.status, got.body)
			}
			got := d.call("GET", "/v2/app/manifests/1", nil)
			if got.status != 200 || !strings.Contains(got.header.Get("Warning"), "from "+d.Gate.Config().From+" on this will be refused: ") {
				t.Errorf("before: HTTP %d %q", got.status, got.header.Get("Warning"))
			}
			if got := d.call("GET", "/v2/app/blobs/"+tt.image.Layers[0].Descriptor().Digest.String(), nil); got.status != 200 {
				t.Errorf("a layer before: HTTP %d", got.status)
			}
			d.Clock.Move(49 * time.Hour)
			if got := d.call("GET", "/v2/app/manifests/1", nil); got.status != 403 || !strings.Contains(got.message(), "pratique: ") {
				t.Errorf("after: HTTP %d %s", got.status, got.body)
			}
		})
	}
}
