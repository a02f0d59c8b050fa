package catalog_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/catalog"
)

// layerReport is a report of the layer with this text.
func layerReport(text string) *inventory.Report {
	return &inventory.Report{Engine: inventory.EngineVersion, Digest: digest.FromString(text), DiffID: digest.FromString("plain " + text)}
}

// TestPurgeLeavesWhatIsNamed: what a manifest names, and what is young, stays.
func TestPurgeLeavesWhatIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		before  time.Time
		prepare func(*catalog.Catalog)
		purged  int64
		want    map[string]bool // layers that are still known
	}{
		{"nothing is old", now, func(*catalog.Catalog) {}, 0, map[string]bool{"named": true, "orphan": true}},
		{"what no manifest names", now.Add(time.Hour), func(*catalog.Catalog) {}, 1, map[string]bool{"named": true, "orphan": false}},
		{"one of two repositories still has it", now.Add(time.Hour), func(c *catalog.Catalog) {
			record(t, c, other, imageOf(t, "named"))
			must[[]string](t)(c.ForgetManifest(ctx, app, imageOf(t, "named").Digest, now))
		}, 1, map[string]bool{"named": true, "orphan": false}},
		{"nobody has it any more", now.Add(time.Hour), func(c *catalog.Catalog) {
			must[[]string](t)(c.ForgetManifest(ctx, app, imageOf(t, "named").Digest, now))
		}, 2, map[string]bool{"named": false, "orphan": false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t)
			record(t, c, app, imageOf(t, "named"))
			for _, text := range []string{"named", "orphan"} {
				check(t, c.PutLayerReport(ctx, layerReport(text), now))
			}
			tt.prepare(c)
			p := must[catalog.Purged](t)(c.Purge(ctx, tt.before, now))
			if p.Layers != tt.purged {
				t.Errorf("purged %+v, want %d layers", p, tt.purged)
			}
			for text, want := range tt.want {
				r := must[*inventory.Report](t)(c.LayerReport(ctx, digest.FromString(text), inventory.Maker{Engine: inventory.EngineVersion}))
				if (r != nil) != want {
					t.Errorf("report of %s: %v, want it %v", text, r, want)
				}
			}
			for text, want := range tt.want { // and comes back
				check(t, c.PutLayerReport(ctx, layerReport(text), now))
				if r := must[*inventory.Report](t)(c.LayerReport(ctx, digest.FromString(text), inventory.Maker{Engine: inventory.EngineVersion})); r == nil {
					t.Errorf("report of %s (there before: %v) does not come back", text, want)
				}
			}
		})
	}
}

// TestPurgeSharedReport: a report goes with the last of its stored forms.
func TestPurgeSharedReport(t *testing.T) {
	c := open(t)
	gz, zst := layerReport("gz"), layerReport("zst")
	zst.DiffID = gz.DiffID
	record(t, c, app, imageOf(t, "zst"))
	for _, r := range []*inventory.Report{gz, zst} {
		check(t, c.PutLayerReport(ctx, r, now))
	}
	if p := must[catalog.Purged](t)(c.Purge(ctx, now.Add(time.Hour), now)); p.Layers != 1 {
		t.Errorf("purged %+v", p)
	}
	if r := must[*inventory.Report](t)(c.LayerReport(ctx, zst.Digest, inventory.Maker{Engine: inventory.EngineVersion})); r == nil {
		t.Error("the report went with another form of its layer")
	}
}

// TestPurgeOther: rights and grants that ended, entries that are old.
func TestPurgeOther(t *testing.T) {
	c := open(t)
	check(t, c.Uploaded(ctx, app, digest.FromString("old"), "ann", now))
	check(t, c.Uploaded(ctx, app, digest.FromString("new"), "ann", now.Add(time.Hour)))
	check(t, c.PutPass(ctx, catalog.Pass{ID: "old", Principal: "ann", Repository: app, Granted: now, Until: now}))
	check(t, c.PutPass(ctx, catalog.Pass{ID: "new", Principal: "ann", Repository: app, Granted: now, Until: now.Add(time.Hour)}))
	var entries []catalog.AuditEntry
	for i := range 10 {
		entries = append(entries, catalog.AuditEntry{At: now.Add(time.Duration(i) * time.Minute), Kind: "pushed"})
	}
	check(t, c.AddAudit(ctx, entries))
	p := must[catalog.Purged](t)(c.Purge(ctx, now.Add(30*time.Minute), now.Add(4*time.Minute)))
	if p.Other != 2 || p.Audit != 4 {
		t.Errorf("purged %+v", p)
	}
	for text, want := range map[string]bool{"old": false, "new": true} {
		if own := must[bool](t)(c.UploadedBy(ctx, app, digest.FromString(text), "ann", now.Add(-time.Hour))); own != want {
			t.Errorf("right to %s: %v", text, own)
		}
	}
	if all := must[[]catalog.Pass](t)(c.Passes(ctx, now, 10)); len(all) != 1 || all[0].ID != "new" {
		t.Errorf("grants %v", all)
	}
	if left := must[[]catalog.AuditEntry](t)(c.Audit(ctx, catalog.AuditFilter{Limit: 100})); len(left) != 6 {
		t.Errorf("%d entries left", len(left))
	}
}

// TestOrphans: a manifest is one from the moment the last repository loses it
// until one has it again, and then nothing of it is purged.
func TestOrphans(t *testing.T) {
	c := open(t)
	m := imageOf(t, "a")
	orphans := func(before time.Time) []digest.Digest {
		t.Helper()
		return must[[]digest.Digest](t)(c.Orphans(ctx, before, 10))
	}
	record(t, c, app, m)
	record(t, c, other, m)
	must[[]string](t)(c.ForgetManifest(ctx, app, m.Digest, now))
	if got := orphans(now.Add(time.Hour)); len(got) != 0 {
		t.Errorf("another repository has it: %v", got)
	}
	must[[]string](t)(c.ForgetManifest(ctx, other, m.Digest, now))
	if got := orphans(now); len(got) != 0 {
		t.Errorf("too young: %v", got)
	}
	if got := orphans(now.Add(time.Second)); !cmp.Equal(got, []digest.Digest{m.Digest}) {
		t.Errorf("orphans %v", got)
	}
	record(t, c, app, m)
	if got := orphans(now.Add(time.Hour)); len(got) != 0 {
		t.Errorf("it came back: %v", got)
	}
	check(t, c.PurgeManifest(ctx, m.Digest)) // by somebody who looked before
	if raw, _, err := c.Manifest(ctx, app, m.Digest); err != nil || raw == nil {
		t.Fatalf("purged although a repository has it: %v", err)
	}
	must[[]string](t)(c.ForgetManifest(ctx, app, m.Digest, now))
	check(t, c.PurgeManifest(ctx, m.Digest))
	if n := must[catalog.Counts](t)(c.Counts(ctx)); n != (catalog.Counts{}) {
		t.Errorf("left: %+v", n)
	}
	record(t, c, app, m)
	if raw, _, err := c.Manifest(ctx, app, m.Digest); err != nil || raw == nil {
		t.Errorf("does not come back: %v", err)
	}
}

// signature is an artifact that refers to a manifest.
func signature(t *testing.T, subject *image.Manifest) *image.Manifest {
	return parse(t, map[string]any{"artifactType": "application/x", "config": blob("{}"), "layers": []image.Descriptor{blob("signature")},
		"subject": image.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: int64(len(subject.Raw))}})
}

// TestUnkept: what keeps a manifest that has no tag of its own.
func TestUnkept(t *testing.T) {
	m := imageOf(t, "a")
	index := indexOf(t, m)
	signed := signature(t, m)
	late := now.Add(time.Hour)
	for _, tt := range []struct {
		name    string
		prepare func(*catalog.Catalog)
		before  time.Time
		want    []digest.Digest
	}{
		{"nothing keeps it", func(c *catalog.Catalog) { record(t, c, app, m) }, late, sorted(m.Digest)},
		{"it is too young", func(c *catalog.Catalog) { record(t, c, app, m) }, now, nil},
		{"it was wanted again", func(c *catalog.Catalog) {
			record(t, c, app, m)
			must[bool](t)(c.Refresh(ctx, catalog.Member{Repository: app, Manifest: m.Digest}, late))
		}, late, nil},
		{"a tag", func(c *catalog.Catalog) { check(t, c.Record(ctx, app, m, "1", "ann", now)) }, late, nil},
		{"a tag that has moved on", func(c *catalog.Catalog) {
			check(t, c.Record(ctx, app, m, "1", "ann", now))
			check(t, c.Record(ctx, app, imageOf(t, "b"), "1", "ann", now))
		}, late, sorted(m.Digest)},
		{"a tag of another repository", func(c *catalog.Catalog) {
			record(t, c, app, m)
			check(t, c.Record(ctx, other, m, "1", "ann", now))
		}, late, sorted(m.Digest)},
		{"a tag that waits", func(c *catalog.Catalog) {
			record(t, c, app, m)
			check(t, c.PutHold(ctx, catalog.Hold{Repository: app, Tag: "1", Manifest: m.Digest, Added: now}))
		}, late, nil},
		{"an index with a tag", func(c *catalog.Catalog) {
			record(t, c, app, m)
			check(t, c.Record(ctx, app, index, "1", "ann", now))
		}, late, nil},
		{"an index without one goes first", func(c *catalog.Catalog) { record(t, c, app, m, index) }, late, sorted(index.Digest)},
		{"an index of another repository", func(c *catalog.Catalog) {
			record(t, c, app, m)
			check(t, c.Record(ctx, other, index, "1", "ann", now))
		}, late, sorted(m.Digest)},
		{"a signature stays with its subject", func(c *catalog.Catalog) {
			check(t, c.Record(ctx, app, m, "1", "ann", now))
			record(t, c, app, signed)
		}, late, nil},
		{"a signature of what is not here", func(c *catalog.Catalog) { record(t, c, app, signed) }, late, sorted(signed.Digest)},
		{"a signature keeps nothing", func(c *catalog.Catalog) { record(t, c, app, m, signed) }, late, sorted(m.Digest)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t)
			tt.prepare(c)
			var got []digest.Digest
			var last digest.Digest
			for { // one at a time: no page may miss any
				page := must[[]catalog.Member](t)(c.Untagged(ctx, "local", tt.before, last, 1))
				if len(page) == 0 {
					break
				}
				if last = page[0].Manifest; page[0].Repository == app {
					got = append(got, last)
				}
			}
			if !cmp.Equal(got, tt.want) {
				t.Errorf("untagged %v, want %v", got, tt.want)
			}
			for _, d := range []digest.Digest{m.Digest, index.Digest, signed.Digest} {
				unkept := must[bool](t)(c.Unkept(ctx, catalog.Member{Repository: app, Manifest: d}, tt.before))
				if want := len(tt.want) == 1 && tt.want[0] == d; unkept != want {
					t.Errorf("unkept %s: %v, want %v", d, unkept, want)
				}
			}
		})
	}
}

// lastRelease is how many statements the schema of the last release had.
const lastRelease = 21

// TestMigration: a database of the last release is taken over, with what is in
// it.
func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	m, gone := imageOf(t, "a"), imageOf(t, "gone")
	db, err := sql.Open("sqlite", path)
	check(t, err)
	run := func(statement string, args ...any) {
		t.Helper()
		_, err := db.Exec(statement, args...)
		check(t, err)
	}
	for _, statement := range catalog.Schema()[:lastRelease] {
		run(statement)
	}
	run(fmt.Sprintf("PRAGMA user_version = %d", lastRelease))
	for _, each := range []*image.Manifest{m, gone} {
		run(`INSERT INTO manifests (digest, media_type, raw) VALUES (?, ?, ?)`, each.Digest.String(), each.MediaType, each.Raw)
	}
	run(`INSERT INTO members (upstream, repository, manifest, principal, added) VALUES (?, ?, ?, 'ann', ?)`, app.Upstream, app.Name, m.Digest.String(), now.Unix())
	run(`INSERT INTO tags (upstream, repository, tag, manifest) VALUES (?, ?, '1', ?)`, app.Upstream, app.Name, m.Digest.String())
	run(`INSERT INTO layers (digest, engine, report) VALUES (?, 1, 'r')`, m.Layers[0].Digest.String())
	check(t, db.Close())

	c := openAt(t, path)
	if tags := must[[]string](t)(c.TagsOf(ctx, app, m.Digest)); !cmp.Equal(tags, []string{"1"}) {
		t.Errorf("tags %q", tags)
	}
	if got := must[[]digest.Digest](t)(c.Orphans(ctx, now, 10)); !cmp.Equal(got, []digest.Digest{gone.Digest}) {
		t.Errorf("orphans %v, want what no repository has", got)
	}
	check(t, c.Record(ctx, app, m, "2", "ann", now)) // writes every new table
	if d := must[digest.Digest](t)(c.Canonical(ctx, m.SHA512)); d != m.Digest {
		t.Errorf("canonical %s", d)
	}
	check(t, c.AddAudit(ctx, []catalog.AuditEntry{{At: now, Kind: "pushed"}}))
	if version := pragma[int](t, path, "user_version"); version != len(catalog.Schema()) {
		t.Errorf("schema %d", version)
	}
}
