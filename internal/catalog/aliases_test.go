package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
)

func sha512Of(text string) digest.Digest { return digest.SHA512.FromString(text) }

// by512 is a descriptor that names content by its sha512.
func by512(text string) image.Descriptor {
	d := blob(text)
	d.Digest = sha512Of(text)
	return d
}

// TestAliasLearntLate: what was recorded under a sha512 is found under the
// sha256 as soon as that is known, in every table.
func TestAliasLearntLate(t *testing.T) {
	c := open(t)
	m := parse(t, map[string]any{"config": blob("config"), "layers": []image.Descriptor{by512("layer")}})
	twice := parse(t, map[string]any{"config": blob("config"), "layers": []image.Descriptor{blob("layer"), by512("layer")}})
	record(t, c, app, m, twice)
	d := digest.FromString("layer")
	check(t, c.Uploaded(ctx, other, sha512Of("layer"), "ann", now))
	if got := must[digest.Digest](t)(c.Canonical(ctx, sha512Of("layer"))); got != sha512Of("layer") {
		t.Errorf("before: canonical %s", got)
	}
	for range 2 { // the second time changes nothing
		check(t, c.PutAlias(ctx, sha512Of("layer"), d))
	}
	if got := must[digest.Digest](t)(c.Canonical(ctx, sha512Of("layer"))); got != d {
		t.Errorf("canonical %s", got)
	}
	if got := must[[]digest.Digest](t)(c.Aliases(ctx, d)); !cmp.Equal(got, []digest.Digest{sha512Of("layer")}) {
		t.Errorf("aliases %v", got)
	}
	naming := must[[]digest.Digest](t)(c.ManifestsNaming(ctx, app, d))
	if !cmp.Equal(sorted(naming...), sorted(m.Digest, twice.Digest)) {
		t.Errorf("manifests naming it: %v", naming)
	}
	if left := must[[]digest.Digest](t)(c.ManifestsNaming(ctx, app, sha512Of("layer"))); len(left) != 0 {
		t.Errorf("left under the old name: %v", left)
	}
	if !must[bool](t)(c.UploadedBy(ctx, other, d, "ann", now.Add(-time.Hour))) {
		t.Error("the right of the uploader is gone")
	}
	must[[]string](t)(c.ForgetManifest(ctx, app, m.Digest, now))
	must[[]string](t)(c.ForgetManifest(ctx, app, twice.Digest, now))
	if !must[bool](t)(c.Closed(ctx, app, d)) {
		t.Error("the blob is not known as left over")
	}
}

// TestAliasOfAManifest: a manifest is known by both its digests from the moment
// that it is recorded, and so is what named it before.
func TestAliasOfAManifest(t *testing.T) {
	c := open(t)
	child := imageOf(t, "a")
	desc := image.Descriptor{MediaType: child.MediaType, Digest: child.SHA512, Size: int64(len(child.Raw))}
	index := parse(t, map[string]any{"manifests": []image.Descriptor{desc}})
	signed := parse(t, map[string]any{"artifactType": "application/x", "config": blob("{}"), "layers": []image.Descriptor{blob("s")}, "subject": desc})
	check(t, c.Record(ctx, app, index, "1", "ann", now))
	record(t, c, app, signed)
	if tags := must[[]string](t)(c.TagsOf(ctx, app, child.Digest)); len(tags) != 0 {
		t.Errorf("before: tags %q", tags)
	}
	record(t, c, app, child)
	if tags := must[[]string](t)(c.TagsOf(ctx, app, child.Digest)); !cmp.Equal(tags, []string{"1"}) {
		t.Errorf("tags %q", tags)
	}
	if refs := referrers(t, c, app, child.Digest); len(refs) != 1 || refs[0].Digest != signed.Digest {
		t.Errorf("referrers %v", refs)
	}
	later := parse(t, map[string]any{"manifests": []image.Descriptor{desc, {MediaType: child.MediaType, Digest: child.Digest, Size: desc.Size}}})
	check(t, c.Record(ctx, app, later, "2", "ann", now))
	if tags := must[[]string](t)(c.TagsOf(ctx, app, child.Digest)); !cmp.Equal(tags, []string{"1", "2"}) {
		t.Errorf("tags with a later index: %q", tags)
	}
}

// TestNamesOfTags: a tag has the digest that it was pushed with for as long as
// it stands for that manifest.
func TestNamesOfTags(t *testing.T) {
	c := open(t)
	m, next := imageOf(t, "a"), imageOf(t, "b")
	name := func(repo catalog.Repository, manifest digest.Digest) digest.Digest {
		t.Helper()
		return must[digest.Digest](t)(c.TagName(ctx, repo, "1", manifest))
	}
	check(t, c.NameTag(ctx, app, "1", m.Digest, m.SHA512))
	for _, tt := range []struct {
		name      string
		got, want digest.Digest
	}{
		{"as pushed", name(app, m.Digest), m.SHA512},
		{"for another manifest", name(app, next.Digest), next.Digest},
		{"in another repository", name(other, m.Digest), m.Digest},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, tt.got, tt.want)
		}
	}
	check(t, c.NameTag(ctx, app, "1", next.Digest, next.Digest))
	if got := name(app, m.Digest); got != m.Digest {
		t.Errorf("after the tag has moved: %s", got)
	}
}

// TestPurgedAliases: the name of content goes when nothing speaks of the content
// any more, and not before.
func TestPurgedAliases(t *testing.T) {
	c := open(t)
	m := imageOf(t, "a")
	record(t, c, app, m)
	check(t, c.PutAlias(ctx, sha512Of("nobody's"), digest.FromString("nobody's")))
	check(t, c.PutAlias(ctx, sha512Of("a"), digest.FromString("a")))
	must[catalog.Purged](t)(c.Purge(ctx, now.Add(time.Hour), now))
	for alias, want := range map[digest.Digest]digest.Digest{m.SHA512: m.Digest, sha512Of("a"): digest.FromString("a"), sha512Of("nobody's"): sha512Of("nobody's")} {
		if got := must[digest.Digest](t)(c.Canonical(ctx, alias)); got != want {
			t.Errorf("canonical of %s: %s, want %s", alias, got, want)
		}
	}
}
