package garbage_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/garbage"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// collect runs one collection, with manifests without a tag kept for two days.
func (d *door) collect() garbage.Collected {
	d.t.Helper()
	c := d.Collector()
	c.Config.Untagged = 48 * time.Hour
	done, err := c.Collect(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return done
}

func (d *door) put(ref string, raw []byte) {
	d.t.Helper()
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.pusher().PutManifest(d.t.Context(), "app", ref, m.MediaType, raw); err != nil {
		d.t.Fatal(err)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*garbage.Config)
		want   string
	}{
		{"the defaults", func(*garbage.Config) {}, ""},
		{"untagged as short as grace", func(c *garbage.Config) { c.Untagged = c.Grace }, ""},
		{"untagged shorter than grace", func(c *garbage.Config) { c.Untagged = c.Grace - 1 }, "storage.gc.untagged"},
		{"a short grace", func(c *garbage.Config) { c.Grace = time.Hour - 1 }, "storage.gc.grace"},
		{"without end", func(c *garbage.Config) { c.Interval = time.Second }, "storage.gc.interval"},
		{"a trail of hours", func(c *garbage.Config) { c.Audit = time.Hour }, "storage.gc.audit"},
		{"less than nothing", func(c *garbage.Config) { c.Untagged = -1 }, "storage.gc.untagged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := garbage.Defaults()
			tt.change(&c)
			err := c.Validate()
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestUntagged: what keeps a manifest, and for how long it is kept without.
func TestUntagged(t *testing.T) {
	im := app("1")
	index := imagetest.BuildIndex(im)
	signature := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		image.MediaTypeManifest, digest.FromString("{}"), image.MediaTypeManifest, im.Digest(), len(im.Manifest))
	push := func(ref string) func(*door) { return func(d *door) { d.push(ref, im) } }
	sign := func(d *door) {
		if err := d.pusher().PushBlob(d.t.Context(), "app", digest.FromString("{}"), []byte("{}")); err != nil {
			d.t.Fatal(err)
		}
		d.put(digest.FromBytes(signature).String(), signature)
	}
	for _, tt := range []struct {
		name  string
		steps []func(*door)
		after time.Duration
		gone  int // manifests that are collected
		want  map[digest.Digest]int
	}{
		{"without a tag", []func(*door){push(im.Digest().String())}, 49 * time.Hour, 1, map[digest.Digest]int{im.Digest(): 404}},
		{"within the time", []func(*door){push(im.Digest().String())}, 47 * time.Hour, 0, map[digest.Digest]int{im.Digest(): 200}},
		{"with a tag", []func(*door){push("1")}, 125 * time.Hour, 0, map[digest.Digest]int{im.Digest(): 200}},
		{"a tag that moved on", []func(*door){push("1"), func(d *door) { d.push("1", app("2")) }}, 49 * time.Hour, 1, map[digest.Digest]int{im.Digest(): 404, app("2").Digest(): 200}},
		{"a tag that was deleted", []func(*door){push("1"), func(d *door) { d.want("DELETE", "/v2/app/manifests/1", 202) }}, 49 * time.Hour, 1, map[digest.Digest]int{im.Digest(): 404}},
		{"pushed again", []func(*door){push(im.Digest().String()), func(d *door) { d.Clock.Move(40 * time.Hour) }, push(im.Digest().String())}, 10 * time.Hour, 0, map[digest.Digest]int{im.Digest(): 200}},
		{"asked for by a pusher", []func(*door){push(im.Digest().String()), func(d *door) { d.Clock.Move(40 * time.Hour) },
			func(d *door) { d.want("HEAD", "/v2/app/manifests/"+im.Digest().String(), 200) }}, 10 * time.Hour, 0, map[digest.Digest]int{im.Digest(): 200}},
		{"in an index", []func(*door){push(im.Digest().String()), func(d *door) { d.put("1", index.Raw) }}, 49 * time.Hour, 0, map[digest.Digest]int{im.Digest(): 200, index.Digest(): 200}},
		{"the signature of an image", []func(*door){push("1"), sign}, 49 * time.Hour, 0, map[digest.Digest]int{digest.FromBytes(signature): 200}},
		{"a signature keeps no image", []func(*door){push(im.Digest().String()), sign}, 49 * time.Hour, 1, map[digest.Digest]int{im.Digest(): 404}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{})
			for _, step := range tt.steps {
				step(d)
			}
			d.Clock.Move(tt.after)
			done := d.collect()
			if done.Untagged < tt.gone || (tt.gone == 0 && done.Untagged != 0) {
				t.Errorf("collected %+v, want %d manifests", done, tt.gone)
			}
			for m, status := range tt.want {
				d.want("GET", "/v2/app/manifests/"+m.String(), status)
			}
			entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: audit.Collected, Limit: 10})
			if err != nil || len(entries) != done.Untagged {
				t.Errorf("audit %v, %v", entries, err)
			}
		})
	}
}

// TestUntaggedInQuarantine: what waits for its tag is kept.
func TestUntaggedInQuarantine(t *testing.T) {
	c := gate.Defaults()
	c.Push = gate.PushQuarantine
	d := open(t, gatetest.Options{Config: &c})
	bad := imagetest.Vulnerable()
	d.push("1", bad)
	d.Clock.Move(49 * time.Hour)
	if done := d.collect(); done.Untagged != 0 || done.Blobs != 0 {
		t.Errorf("collected %+v", done)
	}
	if raw, _, err := d.Local.Manifest(t.Context(), "app", bad.Digest().String()); err != nil || string(raw) != string(bad.Manifest) {
		t.Errorf("the manifest: %v", err)
	}
}

// TestUntaggedStaysByDefault: nothing that somebody pushed goes unless it is
// wanted so.
func TestUntaggedStaysByDefault(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := app("1")
	d.push(im.Digest().String(), im)
	d.Clock.Move(160 * time.Hour)
	if done, err := d.Collector().Collect(t.Context()); err != nil || done.Untagged != 0 || done.Blobs != 0 {
		t.Errorf("collected %+v, %v", done, err)
	}
	d.want("GET", "/v2/app/manifests/"+im.Digest().String(), 200)
}

// TestReportsComeBack: with an image goes what was learnt from it, after the
// grace; the next push makes it again.
func TestReportsComeBack(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Vulnerable()
	layer := im.Layers[0].Descriptor().Digest
	known := func() bool {
		t.Helper()
		r, err := d.Catalog.LayerReport(t.Context(), layer, d.Gate.Analyzer.Maker())
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Catalog.Subject(t.Context(), im.Digest())
		if err != nil || (r != nil) != (s != nil) {
			t.Fatalf("report %v, subject %v, %v", r, s, err)
		}
		return r != nil
	}
	d.push("1", im)
	d.want("DELETE", "/v2/app/manifests/"+im.Digest().String(), 202)
	d.collect()
	if !known() {
		t.Error("gone within the grace")
	}
	d.Clock.Move(25 * time.Hour)
	if done := d.collect(); done.Forgotten != 1 || done.Blobs == 0 || done.Records == 0 || known() {
		t.Errorf("collected %+v, still known: %v", done, known())
	}
	if status, _ := d.call("HEAD", "/v2/app/blobs/"+layer.String()); status != 404 {
		t.Errorf("the layer: HTTP %d", status)
	}
	d.push("1", im)
	if s, err := d.Catalog.Subject(t.Context(), im.Digest()); err != nil || s == nil {
		t.Errorf("not analysed again: %v, %v", s, err)
	}
	d.want("GET", "/v2/app/manifests/1", 403)
}

// TestStorm: collections run while images are pushed, moved and deleted. What was
// acknowledged, and what nobody deleted, is there to the last byte.
func TestStorm(t *testing.T) {
	d := open(t, gatetest.Options{})
	const writers, rounds = 3, 6
	stop := make(chan struct{})
	var collector, group sync.WaitGroup
	collector.Go(func() {
		c := d.Collector()
		c.Config.Untagged = 48 * time.Hour
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Collect(t.Context()); err != nil {
				t.Error(err)
			}
			d.Clock.Move(time.Minute)
		}
	})
	last := make([]imagetest.Image, writers)
	for w := range writers {
		group.Go(func() {
			tag := fmt.Sprint("w", w)
			for r := range rounds {
				im := imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...), imagetest.Gzip(imagetest.File("n", fmt.Sprint(w, r))))
				if err := d.pusher().Push(t.Context(), "app", tag, im); err != nil {
					t.Error(err)
					return
				}
				old := last[w]
				last[w] = im
				if r%2 == 1 {
					d.want("DELETE", "/v2/app/manifests/"+old.Digest().String(), 202)
				}
				if status, body := d.call("GET", "/v2/app/manifests/"+tag); status != 200 || body != string(im.Manifest) {
					t.Errorf("read back %s: HTTP %d %s", tag, status, body)
				}
			}
		})
	}
	group.Wait()
	close(stop)
	collector.Wait()
	for range 2 { // first the manifests, a grace later what was known of them
		d.Clock.Move(50 * time.Hour)
		d.collect()
	}
	for w, im := range last {
		if status, body := d.call("GET", fmt.Sprint("/v2/app/manifests/w", w)); status != 200 || body != string(im.Manifest) {
			t.Errorf("w%d: HTTP %d %s", w, status, body)
		}
		for dg, want := range im.Blobs() {
			if status, body := d.call("GET", "/v2/app/blobs/"+dg.String()); status != 200 || body != string(want) {
				t.Errorf("blob of w%d: HTTP %d", w, status)
			}
		}
	}
	if left, err := d.Catalog.Counts(t.Context()); err != nil || left.Manifests != writers {
		t.Errorf("left %+v, %v, want the %d last", left, err, writers)
	}
}
