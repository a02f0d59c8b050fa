package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
)

func TestManifestsBelongToRepositories(t *testing.T) {
	c, m := open(t), imageOf(t, "a")
	check(t, c.Record(ctx, app, m, "1", "ann", now))
	check(t, c.Record(ctx, app, m, "", "ben", now)) // known already
	for _, tt := range []struct {
		name string
		repo catalog.Repository
		want string
	}{
		{"where it was recorded", app, string(m.Raw)},
		{"another repository", other, ""},
		{"the same name at another upstream", hub, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, mediaType, err := c.Manifest(ctx, tt.repo, m.Digest)
			if err != nil || string(raw) != tt.want || (tt.want != "") != (mediaType == m.MediaType) {
				t.Errorf("%q %q, %v", raw, mediaType, err)
			}
		})
	}
	record(t, c, hub, m)
	if diff := cmp.Diff([]catalog.Repository{hub, app}, must[[]catalog.Repository](t)(c.Holders(ctx, m.Digest))); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
}

func TestBlobsBelongToManifests(t *testing.T) {
	c := open(t)
	one, two := imageOf(t, "shared", "one"), imageOf(t, "shared", "two")
	record(t, c, app, one, two)
	record(t, c, other, two)
	record(t, c, hub, indexOf(t, one))
	for _, tt := range []struct {
		name string
		repo catalog.Repository
		blob digest.Digest
		want []digest.Digest
	}{
		{"a layer of both", app, blob("shared").Digest, sorted(one.Digest, two.Digest)},
		{"a layer of one", app, blob("one").Digest, []digest.Digest{one.Digest}},
		{"the config", other, blob("config").Digest, []digest.Digest{two.Digest}},
		{"a layer of another repository", other, blob("one").Digest, nil},
		{"a child of an index is no blob", hub, one.Digest, nil},
		{"a layer of a child that is not here", hub, blob("one").Digest, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := must[[]digest.Digest](t)(c.ManifestsNaming(ctx, tt.repo, tt.blob))
			if diff := cmp.Diff(tt.want, sorted(got...), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTagsOfChildren: a manifest is known by the tags of every index that holds
// it, however deep, in this repository.
func TestTagsOfChildren(t *testing.T) {
	c, leaf, sibling := open(t), imageOf(t, "leaf"), imageOf(t, "sibling")
	inner := indexOf(t, leaf)
	middle := indexOf(t, inner, sibling)
	outer := indexOf(t, middle)
	record(t, c, app, leaf, sibling, inner, middle)
	check(t, c.Record(ctx, app, outer, "outer", "ann", now))
	check(t, c.Record(ctx, app, inner, "inner", "ann", now))
	check(t, c.Record(ctx, app, leaf, "leaf", "ann", now))
	check(t, c.Record(ctx, app, leaf, "alias", "ann", now))
	check(t, c.Record(ctx, other, outer, "elsewhere", "ann", now))
	for _, tt := range []struct {
		name string
		repo catalog.Repository
		of   *image.Manifest
		want []string
	}{
		{"three indexes deep", app, leaf, []string{"alias", "inner", "leaf", "outer"}},
		{"two indexes deep", app, inner, []string{"inner", "outer"}},
		{"an untagged one", app, sibling, []string{"outer"}},
		{"the index itself", app, outer, []string{"outer"}},
		{"through indexes of another repository", other, leaf, []string{"elsewhere"}},
		{"another upstream", hub, leaf, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, must[[]string](t)(c.TagsOf(ctx, tt.repo, tt.of.Digest))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	check(t, c.Record(ctx, app, sibling, "outer", "ann", now)) // the tag moves
	check(t, c.ForgetTag(ctx, app, "alias"))
	if diff := cmp.Diff([]string{"inner", "leaf"}, must[[]string](t)(c.TagsOf(ctx, app, leaf.Digest))); diff != "" {
		t.Errorf("after the tags moved (-want +got):\n%s", diff)
	}
}

func TestForgetManifest(t *testing.T) {
	c, m := open(t), imageOf(t, "a")
	for _, repo := range []catalog.Repository{app, other} {
		check(t, c.Record(ctx, repo, m, "1", "ann", now))
		check(t, c.Record(ctx, repo, m, "2", "ann", now))
	}
	gone := must[[]string](t)(c.ForgetManifest(ctx, app, m.Digest, time.Unix(9, 0)))
	if diff := cmp.Diff([]string{"1", "2"}, gone); diff != "" {
		t.Errorf("tags that went with it (-want +got):\n%s", diff)
	}
	for repo, want := range map[catalog.Repository]int{app: 0, other: 1} {
		raw, _, err := c.Manifest(ctx, repo, m.Digest)
		naming := must[[]digest.Digest](t)(c.ManifestsNaming(ctx, repo, blob("a").Digest))
		tags := must[[]string](t)(c.TagsOf(ctx, repo, m.Digest))
		if err != nil || (raw != nil) != (want == 1) || len(naming) != want || len(tags) != 2*want {
			t.Errorf("%s: %q, %v, %v, %v", repo.Name, raw, naming, tags, err)
		}
	}
}

func TestUploads(t *testing.T) {
	c, d := open(t), blob("a").Digest
	check(t, c.Uploaded(ctx, app, d, "ann", now))
	for _, tt := range []struct {
		name      string
		repo      catalog.Repository
		principal string
		after     time.Time
		want      bool
	}{
		{"by whom it was", app, "ann", now.Add(-time.Hour), true},
		{"too long ago", app, "ann", now, false},
		{"by somebody else", app, "ben", now.Add(-time.Hour), false},
		{"by nobody in particular", app, "", now.Add(-time.Hour), false},
		{"to another repository", other, "ann", now.Add(-time.Hour), false},
		{"to another upstream", hub, "ann", now.Add(-time.Hour), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := must[bool](t)(c.UploadedBy(ctx, tt.repo, d, tt.principal, tt.after)); got != tt.want {
				t.Errorf("UploadedBy = %v, want %v", got, tt.want)
			}
		})
	}
	check(t, c.Uploaded(ctx, app, d, "ann", now.Add(time.Hour)))
	if !must[bool](t)(c.UploadedBy(ctx, app, d, "ann", now)) {
		t.Error("a second upload did not count")
	}
	record(t, c, app, imageOf(t, "a"))
	if must[bool](t)(c.UploadedBy(ctx, app, d, "ann", now)) {
		t.Error("a blob that a manifest names is still its uploader's own")
	}
}

func TestReferrers(t *testing.T) {
	c, subject := open(t), imageOf(t, "a")
	about := func(fields map[string]any) *image.Manifest {
		fields["subject"] = image.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: int64(len(subject.Raw))}
		return parse(t, fields)
	}
	typed := about(map[string]any{"config": blob("{}"), "layers": []image.Descriptor{}, "artifactType": "application/sbom", "annotations": map[string]string{"k": "v"}})
	byConfig := about(map[string]any{"config": image.Descriptor{MediaType: "application/vnd.signature", Digest: blob("x").Digest}, "layers": []image.Descriptor{}})
	index := about(map[string]any{"manifests": []image.Descriptor{}})
	record(t, c, app, typed, byConfig, index)
	want := map[digest.Digest]string{typed.Digest: "application/sbom map[k:v]", byConfig.Digest: "application/vnd.signature map[]", index.Digest: " map[]"}
	got := referrers(t, c, app, subject.Digest)
	if len(got) != len(want) {
		t.Errorf("%d referrers, want %d", len(got), len(want))
	}
	for i, d := range got {
		if said := d.ArtifactType + " " + sprint(d.Annotations); said != want[d.Digest] || d.Size == 0 || d.MediaType == "" {
			t.Errorf("%+v, want %q", d, want[d.Digest])
		}
		if i > 0 && got[i-1].Digest >= d.Digest {
			t.Error("not in the order of their digests")
		}
	}
	if got := referrers(t, c, other, subject.Digest); len(got) != 0 {
		t.Errorf("another repository has %+v", got)
	}
	must[[]string](t)(c.ForgetManifest(ctx, app, typed.Digest, time.Unix(9, 0)))
	if got := referrers(t, c, app, subject.Digest); len(got) != 2 {
		t.Errorf("after one was deleted: %+v", got)
	}
}

func TestRecentAndCounts(t *testing.T) {
	c, single, child, bound := open(t), imageOf(t, "single"), imageOf(t, "child"), imageOf(t, "bound")
	index := indexOf(t, child, bound)
	for i, r := range []struct {
		m    *image.Manifest
		tags []string
	}{{child, nil}, {bound, []string{"amd64"}}, {index, []string{"1.0", "1"}}, {single, nil}} {
		record(t, c, app, r.m) // first, so that one without a tag is there too
		for _, tag := range r.tags {
			check(t, c.Record(ctx, app, r.m, tag, "ann", now.Add(time.Duration(i)*time.Minute)))
		}
	}
	check(t, c.Record(ctx, other, single, "x", "ann", now.Add(time.Hour)))
	var got []string
	for _, e := range must[[]catalog.Entry](t)(c.Recent(ctx, 10)) {
		got = append(got, e.Repository.Name+" "+e.Manifest.String()+" "+sprint(e.Tags))
	}
	want := []string{
		"team/other " + single.Digest.String() + " [x]",
		"team/app " + index.Digest.String() + " [1 1.0]", // tagged after the next
		"team/app " + bound.Digest.String() + " [amd64]",
		"team/app " + single.Digest.String() + " []",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recent (-want +got):\n%s", diff)
	}
	if got := must[[]catalog.Entry](t)(c.Recent(ctx, 1)); len(got) != 1 || got[0].Repository != other || !got[0].Added.Equal(now.Add(time.Hour)) {
		t.Errorf("the newest: %+v", got)
	}
	if got := must[catalog.Counts](t)(c.Counts(ctx)); got != (catalog.Counts{Repositories: 2, Manifests: 4}) {
		t.Errorf("%+v", got)
	}
}

// referrers are all manifests that name a subject.
func referrers(t *testing.T, c *catalog.Catalog, repo catalog.Repository, subject digest.Digest) []image.Descriptor {
	t.Helper()
	var all []image.Descriptor
	q := catalog.ReferrersQuery{Subject: subject, MaxBytes: 1} // one by one
	for {
		page, more, err := c.Referrers(ctx, repo, q)
		check(t, err)
		if all = append(all, page...); !more {
			return all
		}
		q.Last = page[len(page)-1].Digest
	}
}
