package proxy_test

import (
	"context"
	"strings"
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

func quarantine(c *gate.Config) { c.Push = gate.PushQuarantine }

// hold is what waits under a tag of the embedded registry, nil for nothing.
func (d *door) hold(repository, tag string) *catalog.Hold {
	d.t.Helper()
	h, err := d.Catalog.Hold(d.t.Context(), catalog.Repository{Upstream: "local", Name: repository}, tag)
	if err != nil {
		d.t.Fatal(err)
	}
	return h
}

// waits checks that a tag waits for a manifest; "" for none.
func (d *door) waits(repository, tag string, want digest.Digest) {
	d.t.Helper()
	var got digest.Digest
	if h := d.hold(repository, tag); h != nil {
		got = h.Manifest
	}
	if got != want {
		d.t.Errorf("%s:%s waits for %q, want %q", repository, tag, got, want)
	}
}

// eventually waits until something is so: the gate looks at what waits every few
// seconds.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": not in 20 s")
		}
	}
}

// kinds counts the entries of the audit trail of a repository.
func (d *door) kinds(repository string) map[string]int {
	d.t.Helper()
	entries, err := d.Catalog.Audit(d.t.Context(), catalog.AuditFilter{Repository: repository, Limit: 1000})
	if err != nil {
		d.t.Fatal(err)
	}
	n := map[string]int{}
	for _, e := range entries {
		n[e.Kind]++
	}
	return n
}

// TestQuarantine: an allowed image has its tag at once, a refused one is kept by
// its digest alone.
func TestQuarantine(t *testing.T) {
	ups := second(t, nil)
	d := open(t, gatetest.Options{Config: configure(quarantine), Upstreams: ups})
	good, bad := numbered(1), numberedBad(1)
	for name, reg := range map[string]gate.Registry{"app": d.Local, "reg.example/app": ups[0].Registry} {
		if err := d.pusher(name).PushBlobs(t.Context(), name, good); err != nil {
			t.Fatal(err)
		}
		if got := d.put(name, "1", good.Manifest); got.status != 201 || got.header.Get("Warning") != "" {
			t.Errorf("%s: an allowed image: HTTP %d %q", name, got.status, got.header.Get("Warning"))
		}
		d.wantTag(reg, "app", "1", good.Digest())
		if err := d.pusher(name).PushBlobs(t.Context(), name, bad); err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"1", "new"} {
			got := d.put(name, tag, bad.Manifest)
			warning := got.header.Get("Warning")
			if got.status != 201 || !strings.HasPrefix(warning, `299 - "pratique: quarantined: `+name+":"+tag) || !strings.Contains(warning, "CVE-2025-15467") || !strings.Contains(warning, bad.Digest().String()) {
				t.Errorf("%s:%s: HTTP %d %q", name, tag, got.status, warning)
			}
		}
		// Neither the proxy nor who goes around it sees the tag.
		d.wantTag(reg, "app", "1", good.Digest())
		d.wantTag(reg, "app", "new", "")
		d.wantStatus("/v2/"+name+"/manifests/new", 404)
		d.wantStatus("/v2/"+name+"/manifests/1", 200)
		d.wantStatus("/v2/"+name+"/manifests/"+bad.Digest().String(), 403)
		d.wantStatus("/v2/"+name+"/blobs/"+bad.Layers[0].Descriptor().Digest.String(), 403)
		if got := d.call("GET", "/v2/"+name+"/tags/list", nil); !strings.Contains(string(got.body), `"tags":["1"]`) {
			t.Errorf("tags of %s: %s", name, got.body)
		}
		if raw, _, err := reg.Manifest(t.Context(), "app", bad.Digest().String()); err != nil || string(raw) != string(bad.Manifest) {
			t.Errorf("%s: the manifest is not kept: %v", name, err)
		}
		if n := d.kinds(name); n[audit.Quarantined] != 2 || n[audit.Pushed] != 1 {
			t.Errorf("audit of %s: %v", name, n)
		}
	}
}

// TestQuarantineEnds when the image becomes allowed, by whatever does it.
func TestQuarantineEnds(t *testing.T) {
	const permissive = `{"id":"all","name":"all","version":"1_0","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],"policies":[{"id":"p","name":"p","version":"1_0","rules":[]}],
"mappings":[{"id":"a","name":"a","registry":"*","repository":"*","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[]}]}`
	for _, tt := range []struct {
		name string
		end  func(*testing.T, *door)
		by   string
	}{
		{"another policy", func(t *testing.T, d *door) {
			if _, err := d.Gate.AddPolicy(t.Context(), []byte(permissive)); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Gate.Activate(t.Context(), "all"); err != nil {
				t.Fatal(err)
			}
		}, "pratique"},
		{"new data", func(t *testing.T, d *door) {
			records := gatetest.Advisories()
			for i := range records {
				if records[i].Package == "openssl" {
					records[i].Ranges[0].Events[1].Fixed = "0.1-r0"
				}
			}
			gatetest.WriteData(t, d.Dir, 2, records)
			if err := d.Gate.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, "pratique"},
		{"another configuration", func(t *testing.T, d *door) {
			c := d.Gate.Config()
			c.Mode = gate.ModeAnalysis
			d.Gate.Reconfigure(t.Context(), c)
		}, "pratique"},
		{"somebody with the right", func(t *testing.T, d *door) {
			if released, err := d.Gate.Release(t.Context(), *d.hold("app", "1"), "dora"); err != nil || !released {
				t.Errorf("released %v, %v", released, err)
			}
		}, "dora"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: configure(quarantine)})
			bad := numberedBad(1)
			d.push("app", "1", bad)
			d.waits("app", "1", bad.Digest())
			tt.end(t, d)
			eventually(t, "release", func() bool { return d.hold("app", "1") == nil })
			d.wantTag(d.Local, "app", "1", bad.Digest())
			entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: audit.Released, Limit: 10})
			if err != nil || len(entries) != 1 || entries[0].Principal != tt.by || entries[0].Digest != bad.Digest().String() {
				t.Errorf("audit %v, %v", entries, err)
			}
			if want := map[string]int{"pratique": 200, "dora": 403}[tt.by]; d.call("GET", "/v2/app/manifests/1", nil).status != want {
				t.Errorf("pulls are gated as ever: want HTTP %d", want)
			}
		})
	}
}

// TestLaterPushWins, whichever of the two is allowed: what waits is released for
// the tag only if nobody has touched it since.
func TestLaterPushWins(t *testing.T) {
	good, bad, worse := numbered(1), numberedBad(1), numberedBad(2)
	for _, tt := range []struct {
		name   string
		pushes []imagetest.Image
		tag    digest.Digest
		waits  digest.Digest
	}{
		{"refused, then allowed", []imagetest.Image{bad, good}, good.Digest(), ""},
		{"allowed, then refused", []imagetest.Image{good, bad}, good.Digest(), bad.Digest()},
		{"refused, then another refused", []imagetest.Image{bad, worse}, "", worse.Digest()},
		{"allowed, refused, allowed", []imagetest.Image{good, bad, good}, good.Digest(), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: configure(quarantine)})
			var first *catalog.Hold
			for _, im := range tt.pushes {
				d.push("app", "1", im)
				if h := d.hold("app", "1"); first == nil && h != nil {
					first = h
				}
			}
			// Who looked at what waited before the last push comes too late.
			if released, err := d.Gate.Release(t.Context(), *first, "dora"); err != nil || released != (first.Manifest == tt.waits) {
				t.Errorf("released %v, %v", released, err)
			}
			if first.Manifest == tt.waits {
				tt.tag, tt.waits = first.Manifest, ""
			}
			d.wantTag(d.Local, "app", "1", tt.tag)
			d.waits("app", "1", tt.waits)
		})
	}
}

// TestQuarantineOff: a push after quarantine was turned off ends the wait.
func TestQuarantineOff(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(quarantine)})
	d.push("app", "1", numberedBad(1))
	c := d.Gate.Config()
	c.Push = gate.PushObserve
	d.Gate.Reconfigure(t.Context(), c)
	d.push("app", "1", numberedBad(2))
	d.waits("app", "1", "")
	d.wantTag(d.Local, "app", "1", numberedBad(2).Digest())
}

// TestDeleteEndsQuarantine, of the tag and of the manifest.
func TestDeleteEndsQuarantine(t *testing.T) {
	bad := numberedBad(1)
	for _, tt := range []struct {
		name, rest string
		before     bool // the tag stands for another image
	}{
		{"the tag, which is nowhere yet", "/manifests/1", false},
		{"the tag of another image", "/manifests/1", true},
		{"the manifest", "/manifests/" + bad.Digest().String(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: configure(quarantine)})
			if tt.before {
				d.push("app", "1", numbered(1))
			}
			d.push("app", "1", bad)
			stale := d.hold("app", "1")
			if got := d.remove("app", tt.rest); got.status != 202 {
				t.Fatalf("HTTP %d %s", got.status, got.body)
			}
			d.waits("app", "1", "")
			if released, err := d.Gate.Release(t.Context(), *stale, "dora"); err != nil || released {
				t.Errorf("released %v, %v", released, err)
			}
			d.wantTag(d.Local, "app", "1", "")
		})
	}
}

// TestQuarantineOfIndexes: one failing child holds the tag, and the others are
// there by their digests.
func TestQuarantineOfIndexes(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(quarantine)})
	good, bad := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, numbered(1).Layers...), imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "arm64"}, numberedBad(1).Layers...)
	mixed, clean := imagetest.BuildIndex(good, bad), imagetest.BuildIndex(good)
	for tag, x := range map[string]imagetest.Index{"mixed": mixed, "clean": clean} {
		if err := d.pusher("app").PushIndex(t.Context(), "app", tag, x); err != nil {
			t.Fatal(err)
		}
	}
	d.waits("app", "mixed", mixed.Digest())
	d.wantTag(d.Local, "app", "mixed", "")
	d.waits("app", "clean", "")
	d.wantTag(d.Local, "app", "clean", clean.Digest())
	d.wantStatus("/v2/app/manifests/mixed", 404)
	d.wantStatus("/v2/app/manifests/"+good.Digest().String(), 200)
	d.wantStatus("/v2/app/manifests/"+bad.Digest().String(), 403)
}

// TestQuarantineSurvivesARestart: what waits goes on waiting, and is released by
// what changed while nobody ran.
func TestQuarantineSurvivesARestart(t *testing.T) {
	dir, bad := t.TempDir(), numberedBad(1)
	t.Run("before", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, Config: configure(quarantine)})
		d.push("app", "1", bad)
	})
	t.Run("after", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, Config: configure(quarantine)})
		d.waits("app", "1", bad.Digest())
		d.wantTag(d.Local, "app", "1", "")
	})
	t.Run("with another policy", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, Config: configure(func(c *gate.Config) { quarantine(c); c.Mode = gate.ModeAnalysis })})
		eventually(t, "release", func() bool { return d.hold("app", "1") == nil })
		d.wantTag(d.Local, "app", "1", bad.Digest())
	})
}

// forgetful is a registry that can be told to fail after it has moved a tag.
type forgetful struct {
	gate.Registry
	cut bool
}

func (c *forgetful) PutManifest(ctx context.Context, repo, ref, mediaType string, raw []byte) error {
	err := c.Registry.PutManifest(ctx, repo, ref, mediaType, raw)
	if err == nil && c.cut && image.ValidTag(ref) {
		return &image.UpstreamError{Registry: "second"}
	}
	return err
}

// TestQuarantineCut: the tag was moved, and the answer got lost. The pusher is
// told of a failure, what waits goes on waiting, and the next round ends it.
func TestQuarantineCut(t *testing.T) {
	reg := &forgetful{cut: true}
	ups := second(t, func(r gate.Registry) gate.Registry { reg.Registry = r; return reg })
	d := open(t, gatetest.Options{Config: configure(quarantine), Upstreams: ups})
	im := numbered(1)
	if err := d.pusher("reg.example/app").Push(t.Context(), "reg.example/app", "1", im); err == nil {
		t.Fatal("a push of which nobody knows whether it succeeded was acknowledged")
	}
	h, err := d.Catalog.Hold(t.Context(), catalog.Repository{Upstream: "second", Name: "app"}, "1")
	if err != nil || h == nil {
		t.Fatalf("nothing waits: %v", err)
	}
	reg.cut = false
	if released, err := d.Gate.Release(t.Context(), *h, ""); err != nil || !released {
		t.Errorf("released %v, %v", released, err)
	}
	d.wantStatus("/v2/reg.example/app/manifests/1", 200)
}
