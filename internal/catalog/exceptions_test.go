package catalog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/catalog"
)

// TestHolds: one tag waits for one manifest, the last that was put.
func TestHolds(t *testing.T) {
	c := open(t)
	one, two := imageOf(t, "1"), imageOf(t, "2")
	hold := func(repo catalog.Repository, tag string, m string, after time.Duration) catalog.Hold {
		h := catalog.Hold{Repository: repo, Tag: tag, Manifest: one.Digest, Principal: "ann", Added: now.Add(after), Reason: "why " + m}
		if m == "2" {
			h.Manifest = two.Digest
		}
		return h
	}
	first, moved, elsewhere := hold(app, "1", "1", 0), hold(app, "1", "2", time.Minute), hold(hub, "1", "1", time.Second)
	for _, h := range []catalog.Hold{first, elsewhere, moved} {
		check(t, c.PutHold(ctx, h))
	}
	if diff := cmp.Diff([]catalog.Hold{elsewhere, moved}, must[[]catalog.Hold](t)(c.Holds(ctx))); diff != "" {
		t.Errorf("oldest first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&moved, must[*catalog.Hold](t)(c.Hold(ctx, app, "1"))); diff != "" {
		t.Errorf("the later one (-want +got):\n%s", diff)
	}
	if h := must[*catalog.Hold](t)(c.Hold(ctx, app, "2")); h != nil {
		t.Errorf("a tag that does not wait: %v", h)
	}
	if tags := must[[]string](t)(c.TagsNaming(ctx, app, two.Digest)); !cmp.Equal(tags, []string{"1"}) {
		t.Errorf("tags that wait for the manifest: %q", tags)
	}
	if must[bool](t)(c.DropHold(ctx, first)) {
		t.Error("the tag waits for a later manifest: it was dropped for the earlier one")
	}
	if !must[bool](t)(c.DropHold(ctx, moved)) {
		t.Error("not dropped")
	}
	if left := must[[]catalog.Hold](t)(c.Holds(ctx)); len(left) != 1 || left[0].Repository != hub {
		t.Errorf("left: %v", left)
	}
}

// TestHoldsEnd with the tag, and with the manifest.
func TestHoldsEnd(t *testing.T) {
	one, two := imageOf(t, "1"), imageOf(t, "2")
	for _, tt := range []struct {
		name string
		end  func(*catalog.Catalog) error
		want []string // tags that still wait
	}{
		{"nothing", func(*catalog.Catalog) error { return nil }, []string{"a", "b", "c"}},
		{"the tag is forgotten", func(c *catalog.Catalog) error { return c.ForgetTag(ctx, app, "a") }, []string{"b", "c"}},
		{"the manifest is forgotten", func(c *catalog.Catalog) error { _, err := c.ForgetManifest(ctx, app, one.Digest, now); return err }, []string{"c"}},
		{"elsewhere", func(c *catalog.Catalog) error { _, err := c.ForgetManifest(ctx, other, one.Digest, now); return err }, []string{"a", "b", "c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t)
			record(t, c, app, one, two)
			for tag, m := range map[string]string{"a": string(one.Digest), "b": string(one.Digest), "c": string(two.Digest)} {
				check(t, c.PutHold(ctx, catalog.Hold{Repository: app, Tag: tag, Manifest: one.Digest, Added: now}))
				if m == string(two.Digest) {
					check(t, c.PutHold(ctx, catalog.Hold{Repository: app, Tag: tag, Manifest: two.Digest, Added: now}))
				}
			}
			check(t, tt.end(c))
			var got []string
			for _, h := range must[[]catalog.Hold](t)(c.Holds(ctx)) {
				got = append(got, h.Tag)
			}
			if !cmp.Equal(got, tt.want) {
				t.Errorf("wait: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPasses(t *testing.T) {
	c := open(t)
	pass := catalog.Pass{ID: "1", Principal: "ann", Repository: app, Reason: "production is down", GrantedBy: "boss", Granted: now, Until: now.Add(time.Hour)}
	longer := pass
	longer.ID, longer.Granted, longer.Until = "2", now.Add(time.Second), now.Add(2*time.Hour)
	check(t, c.PutPass(ctx, pass))
	check(t, c.PutPass(ctx, longer))
	live := func(principal string, repo catalog.Repository, after time.Duration) string {
		t.Helper()
		p := must[*catalog.Pass](t)(c.LivePass(ctx, principal, repo, now.Add(after)))
		if p == nil {
			return ""
		}
		return p.ID
	}
	for _, tt := range []struct {
		name, principal string
		repository      catalog.Repository
		after           time.Duration
		want            string
	}{
		{"the one that lasts longest", "ann", app, 0, "2"},
		{"when the shorter has run out", "ann", app, 90 * time.Minute, "2"},
		{"at its very end", "ann", app, 2 * time.Hour, ""},
		{"another principal", "bob", app, 0, ""},
		{"no principal", "", app, 0, ""},
		{"a pattern is no principal", "*", app, 0, ""},
		{"another repository", "ann", other, 0, ""},
		{"the same name at another upstream", "ann", hub, 0, ""},
	} {
		if got := live(tt.principal, tt.repository, tt.after); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if diff := cmp.Diff([]catalog.Pass{longer, pass}, must[[]catalog.Pass](t)(c.Passes(ctx, now, 10))); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
	if all := must[[]catalog.Pass](t)(c.Passes(ctx, now, 1)); len(all) != 1 || all[0].ID != "2" {
		t.Errorf("one: %v", all)
	}
	if !must[bool](t)(c.EndPass(ctx, "2", now.Add(time.Minute))) {
		t.Error("a live one was not ended")
	}
	if got := live("ann", app, time.Minute); got != "1" {
		t.Errorf("after the end of the longer: %q", got)
	}
	for _, id := range []string{"2", "none"} {
		if must[bool](t)(c.EndPass(ctx, id, now.Add(2*time.Minute))) {
			t.Errorf("%q was ended twice", id)
		}
	}
	if until := must[[]catalog.Pass](t)(c.Passes(ctx, now, 10))[0].Until; !until.Equal(now.Add(time.Minute)) {
		t.Errorf("the second end moved the first: %s", until)
	}
}

func TestAuditFilter(t *testing.T) {
	c := open(t)
	var entries []catalog.AuditEntry
	for i := range 6 {
		entries = append(entries, catalog.AuditEntry{
			At: now.Add(time.Duration(i) * time.Minute), Kind: []string{"pushed", "deleted"}[i%2], Principal: []string{"ann", "bob", "eve"}[i%3],
			Repository: "app", Reference: fmt.Sprint(i), Message: "\x00 \xff ☃",
		})
	}
	check(t, c.AddAudit(ctx, entries[:1]))
	check(t, c.AddAudit(ctx, entries[1:]))
	check(t, c.AddAudit(ctx, nil))
	for _, tt := range []struct {
		name   string
		filter catalog.AuditFilter
		want   string
	}{
		{"all", catalog.AuditFilter{Limit: 10}, "543210"},
		{"some", catalog.AuditFilter{Limit: 2}, "54"},
		{"kind", catalog.AuditFilter{Kind: "deleted", Limit: 10}, "531"},
		{"principal", catalog.AuditFilter{Principal: "bob", Limit: 10}, "41"},
		{"both", catalog.AuditFilter{Kind: "deleted", Principal: "ann", Limit: 10}, "3"},
		{"repository", catalog.AuditFilter{Repository: "app", Limit: 1}, "5"},
		{"another repository", catalog.AuditFilter{Repository: "app' OR 1=1 --", Limit: 10}, ""},
		{"since", catalog.AuditFilter{Since: now.Add(4 * time.Minute), Limit: 10}, "54"},
		{"since, of a kind", catalog.AuditFilter{Since: now.Add(2 * time.Minute), Kind: "pushed", Limit: 10}, "42"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, e := range must[[]catalog.AuditEntry](t)(c.Audit(ctx, tt.filter)) {
				got += e.Reference
			}
			if got != tt.want {
				t.Errorf("entries %s, want %s", got, tt.want)
			}
		})
	}
	read, f := "", catalog.AuditFilter{Limit: 4}
	for {
		page := must[[]catalog.AuditEntry](t)(c.Audit(ctx, f))
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			read += e.Reference
		}
		f.Before = page[len(page)-1].ID
	}
	if read != "543210" {
		t.Errorf("page by page: %s", read)
	}
}
