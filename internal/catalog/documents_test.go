package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/catalog"
)

// TestLayerReports: several stored forms of a layer share what was learnt from
// it; streams that could not be read share nothing.
func TestLayerReports(t *testing.T) {
	c := open(t)
	gz, zst, bad, worse := digest.FromString("gzip"), digest.FromString("zstd"), digest.FromString("bad"), digest.FromString("worse")
	report := func(d, diffID digest.Digest, engine int, detail string) *inventory.Report {
		return &inventory.Report{Engine: engine, Digest: d, DiffID: diffID, Gaps: []inventory.Gap{{Detail: detail}}}
	}
	for _, r := range []*inventory.Report{
		report(gz, "sha256:layer", 1, "first"), report(zst, "sha256:layer", 1, "second"), report(gz, "sha256:layer", 2, "by a newer engine"),
		report(bad, "", 1, "bad"), report(worse, "", 1, "worse"), report(worse, "", 1, "again"),
	} {
		check(t, c.PutLayerReport(ctx, r, time.Unix(1, 0)))
	}
	again := digest.FromString("again")
	check(t, c.PutLayerReport(ctx, report(again, "sha256:again", 1, "with less"), time.Unix(1, 0)))
	more := report(again, "sha256:again", 1, "with more")
	more.Gathers = "more"
	check(t, c.PutLayerReport(ctx, more, time.Unix(2, 0)))
	for _, tt := range []struct {
		name    string
		layer   digest.Digest
		engine  int
		want    string // "": no report
		gathers string
	}{
		{"as analysed", gz, 1, "first", ""},
		{"another stored form", zst, 1, "first", ""},
		{"another engine", gz, 2, "by a newer engine", ""},
		{"another form, not seen by that engine", zst, 2, "", ""},
		{"by another configuration", gz, 1, "", "more"},
		{"by the last of two configurations", again, 1, "with more", "more"},
		{"no longer by the first", again, 1, "", ""},
		{"unread", bad, 1, "bad", ""},
		{"another unread one", worse, 1, "worse", ""},
		{"never seen", digest.FromString("x"), 1, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := must[*inventory.Report](t)(c.LayerReport(ctx, tt.layer, inventory.Maker{Engine: tt.engine, Gathers: tt.gathers}))
			if (r != nil) != (tt.want != "") || r != nil && r.Gaps[0].Detail != tt.want {
				t.Errorf("%+v, want %q", r, tt.want)
			}
		})
	}
}

func TestSubjects(t *testing.T) {
	c, d := open(t), digest.FromString("manifest")
	for _, tt := range []struct {
		name    string
		subject inventory.Subject
		image   *inventory.Image
	}{
		{"image", inventory.Subject{Kind: inventory.KindImage, Maker: inventory.Maker{Engine: 1}, DiffIDsMatch: true}, &inventory.Image{Manifest: d, Gaps: []inventory.Gap{{Code: "x"}}}},
		{"image whose diffIDs differ", inventory.Subject{Kind: inventory.KindImage, Maker: inventory.Maker{Engine: 1}}, &inventory.Image{Manifest: d}},
		{"unscannable", inventory.Subject{Kind: inventory.KindUnscannable, Maker: inventory.Maker{Engine: 1}, Reason: "encrypted"}, nil},
		{"artifact", inventory.Subject{Kind: inventory.KindArtifact, Maker: inventory.Maker{Engine: 2}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, c.PutSubject(ctx, d, tt.subject, tt.image))
			if diff := cmp.Diff(&tt.subject, must[*inventory.Subject](t)(c.Subject(ctx, d))); diff != "" {
				t.Errorf("subject (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.image, must[*inventory.Image](t)(c.Image(ctx, d))); diff != "" {
				t.Errorf("inventory (-want +got):\n%s", diff)
			}
		})
	}
	check(t, c.PutSubject(ctx, d, inventory.Subject{Kind: inventory.KindImage, Maker: inventory.Maker{Engine: 1}}, &inventory.Image{}))
	if s := must[*inventory.Subject](t)(c.Subject(ctx, d)); s.Kind != inventory.KindArtifact || s.Engine != 2 {
		t.Errorf("an older engine has overwritten a newer one: %+v", s)
	}
	check(t, c.PutSubject(ctx, digest.FromString("old"), inventory.Subject{Kind: inventory.KindArtifact, Maker: inventory.Maker{Engine: 1}}, nil))
	for engine, want := range map[int]int{1: 0, 2: 1, 3: 2} {
		if got := must[[]digest.Digest](t)(c.Outdated(ctx, inventory.Maker{Engine: engine}, "", 10)); len(got) != want {
			t.Errorf("outdated for engine %d: %v", engine, got)
		}
	}
	if got := must[[]digest.Digest](t)(c.Outdated(ctx, inventory.Maker{Engine: 1, Gathers: "more"}, "", 10)); len(got) != 1 {
		t.Errorf("outdated for another configuration: %v", got)
	}
	if s, im := must[*inventory.Subject](t)(c.Subject(ctx, "sha256:never")), must[*inventory.Image](t)(c.Image(ctx, "sha256:never")); s != nil || im != nil {
		t.Errorf("never seen: %+v, %+v", s, im)
	}
}

func TestKeys(t *testing.T) {
	c := open(t)
	one, two := digest.FromString("one"), digest.FromString("two")
	a, b := catalog.Key{Ecosystem: "npm", Package: "a"}, catalog.Key{Ecosystem: "npm", Package: "b"}
	check(t, c.PutKeys(ctx, one, []catalog.Key{a, b, b}))
	check(t, c.PutKeys(ctx, two, []catalog.Key{b}))
	for _, tt := range []struct {
		name string
		keys []catalog.Key
		want []digest.Digest
	}{
		{"one of them", []catalog.Key{a}, []digest.Digest{one}},
		{"both, each once", []catalog.Key{a, b}, sorted(one, two)},
		{"another ecosystem", []catalog.Key{{Ecosystem: "Go", Package: "a"}}, nil},
		{"nothing", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, sorted(must[[]digest.Digest](t)(c.ImagesWith(ctx, tt.keys))...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	check(t, c.PutKeys(ctx, one, []catalog.Key{a}))
	if got := must[[]digest.Digest](t)(c.ImagesWith(ctx, []catalog.Key{b})); len(got) != 1 || got[0] != two {
		t.Errorf("keys were added, not replaced: %v", got)
	}
}

func TestEvents(t *testing.T) {
	c := open(t)
	for _, kind := range []string{"first", "second", "third"} {
		check(t, c.AddEvent(ctx, kind, map[string]string{"k": kind}, now))
	}
	got := must[[]catalog.Event](t)(c.Events(ctx, 2))
	if len(got) != 2 || got[0].Kind != "third" || got[1].Kind != "second" || string(got[0].Doc) != `{"k":"third"}` || !got[0].At.Equal(now) {
		t.Errorf("%+v", got)
	}
}
