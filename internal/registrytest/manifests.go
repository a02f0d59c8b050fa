package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

const gzipLayer = "application/vnd.oci.image.layer.v1.tar+gzip"

func manifestKeptExactly(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "exact/images"
	plain := string(Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(10, 500)))
	absent := digest.FromString("a child of a sparse index")
	cases := []struct {
		name, mediaType, raw string
	}{
		{"image", image.MediaTypeManifest, plain},
		{"no media type inside", image.MediaTypeManifest, strings.Replace(plain, fmt.Sprintf(" \"mediaType\":%q,\n", image.MediaTypeManifest), "", 1)},
		{"chart", image.MediaTypeManifest, string(Manifest(t, r, repo, "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Noise(11, 500)))},
		{"media types nobody knows", image.MediaTypeManifest, string(Manifest(t, r, repo, "application/x-strange", "text/plain; odd", Noise(12, 500)))},
		{"subject that is not there", image.MediaTypeManifest, strings.Replace(plain, `"layers"`, fmt.Sprintf(`"subject":{"mediaType":%q,"digest":%q,"size":7},"layers"`, image.MediaTypeManifest, absent), 1)},
		{"Docker schema 2", image.MediaTypeDockerManifest, dockerManifest(t, r, repo)},
		{"sparse index", image.MediaTypeIndex, fmt.Sprintf("{\"schemaVersion\":2,\t\"mediaType\":%q,\"manifests\":[{\"mediaType\":%q,\"digest\":%q,\"size\":7,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}}]}", image.MediaTypeIndex, image.MediaTypeManifest, absent)},
		{"empty index", image.MediaTypeIndex, fmt.Sprintf("{\"schemaVersion\":2,\"mediaType\":%q,\"manifests\":[]}", image.MediaTypeIndex)},
		{"Docker list", image.MediaTypeDockerList, fmt.Sprintf("{\"schemaVersion\":2,\"mediaType\":%q,\"manifests\":[{\"mediaType\":%q,\"digest\":%q,\"size\":7,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}", image.MediaTypeDockerList, image.MediaTypeDockerManifest, absent)},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tag, d := fmt.Sprintf("v%d", i), digest.FromString(c.raw)
			must(t, r.PutManifest(ctx, repo, d.String(), c.mediaType, []byte(c.raw)))
			must(t, r.PutManifest(ctx, repo, tag, c.mediaType, []byte(c.raw)))
			for _, ref := range []string{tag, d.String()} {
				raw, mediaType, err := r.Manifest(ctx, repo, ref)
				must(t, err)
				wantEqual(t, "bytes by "+ref, string(raw), c.raw)
				wantEqual(t, "media type by "+ref, mediaType, c.mediaType)
			}
			got, err := r.Resolve(ctx, repo, tag)
			must(t, err)
			wantEqual(t, "resolved", got, d)
		})
	}
}

func dockerManifest(t *testing.T, r Registry, repo string) string {
	t.Helper()
	config, layer := []byte(`{"docker":true}`), Noise(13, 500)
	c, l := PutBlob(t, r, repo, config), PutBlob(t, r, repo, layer)
	return fmt.Sprintf("{\n   \"schemaVersion\": 2,\n   \"mediaType\": %q,\n   \"config\": {\"mediaType\": %q, \"size\": %d, \"digest\": %q},\n   \"layers\": [{\"mediaType\": \"application/vnd.docker.image.rootfs.diff.tar.gzip\", \"size\": 500, \"digest\": %q}]\n}",
		image.MediaTypeDockerManifest, image.MediaTypeDockerConfig, len(config), c, l)
}

func manifestRefused(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "refused/images"
	raw := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(14, 500))
	err := r.PutManifest(ctx, repo, digest.FromString("other").String(), image.MediaTypeManifest, raw)
	wantErr(t, "put under another digest", err, image.ErrDigestInvalid)

	missing := bytes.Replace(raw, []byte(digest.FromBytes(Noise(14, 500))), []byte(digest.FromString("no layer")), 1)
	err = r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, missing)
	wantErr(t, "put with a missing layer", err, image.ErrReferenceMissing)

	err = r.PutManifest(ctx, "refused/elsewhere", "latest", image.MediaTypeManifest, raw)
	wantErr(t, "put where the layers are not", err, image.ErrReferenceMissing)

	if err := r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, []byte(`{"schemaVersion":2`)); err == nil {
		t.Error("put of half a document succeeded")
	}
	_, err = r.Resolve(ctx, repo, "latest")
	wantErr(t, "resolve after refusals", err, image.ErrManifestUnknown, image.ErrNameUnknown)
}

func manifestDeleted(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "deleted/images"
	raw := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(15, 500))
	d := digest.FromBytes(raw)
	must(t, r.PutManifest(ctx, repo, "one", image.MediaTypeManifest, raw))
	must(t, r.PutManifest(ctx, repo, "two", image.MediaTypeManifest, raw))
	must(t, r.DeleteManifest(ctx, repo, d))
	for _, ref := range []string{"one", "two", d.String()} {
		_, _, err := r.Manifest(ctx, repo, ref)
		wantErr(t, "manifest "+ref+" after delete", err, image.ErrManifestUnknown)
	}
	_, err := r.Resolve(ctx, repo, "one")
	wantErr(t, "resolve after delete", err, image.ErrManifestUnknown)
	wantErr(t, "delete after delete", r.DeleteManifest(ctx, repo, d), image.ErrManifestUnknown)
	must(t, r.PutManifest(ctx, repo, "one", image.MediaTypeManifest, raw))
	_, err = r.Resolve(ctx, repo, "one")
	must(t, err)
}

func tagMoved(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "moved/images"
	first := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(16, 500))
	second := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(17, 500))
	must(t, r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, first))
	must(t, r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, second))
	d, err := r.Resolve(ctx, repo, "latest")
	must(t, err)
	wantEqual(t, "tag", d, digest.FromBytes(second))
	raw, _, err := r.Manifest(ctx, repo, digest.FromBytes(first).String())
	must(t, err)
	wantEqual(t, "first manifest", string(raw), string(first))
}

func tagDeleted(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "untagged/images"
	raw := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(18, 500))
	must(t, r.PutManifest(ctx, repo, "gone", image.MediaTypeManifest, raw))
	must(t, r.PutManifest(ctx, repo, "kept", image.MediaTypeManifest, raw))
	must(t, r.DeleteTag(ctx, repo, "gone"))
	_, err := r.Resolve(ctx, repo, "gone")
	wantErr(t, "resolve after delete", err, image.ErrManifestUnknown)
	_, err = r.Resolve(ctx, repo, "kept")
	must(t, err)
	_, _, err = r.Manifest(ctx, repo, digest.FromBytes(raw).String())
	must(t, err)
	wantErr(t, "delete after delete", r.DeleteTag(ctx, repo, "gone"), image.ErrManifestUnknown)
}

func tagsPaged(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "paged/images"
	raw := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(19, 500))
	all := []string{"a", "b-1", "b.2", "b_3", "c"}
	for _, tag := range []string{"c", "b.2", "a", "b_3", "b-1"} {
		must(t, r.PutManifest(ctx, repo, tag, image.MediaTypeManifest, raw))
	}
	cases := []struct {
		name, last string
		n          int
		want       []string
		more       bool
		full       bool // registries may say "more" of a full last page
	}{
		{name: "all", want: all},
		{name: "first two", n: 2, want: all[:2], more: true},
		{name: "next two", last: "b-1", n: 2, want: all[2:4], more: true},
		{name: "last", last: "b_3", n: 2, want: all[4:]},
		{name: "exactly all", n: 5, want: all, full: true},
		{name: "more than all", n: 50, want: all},
		{name: "after a tag that is not there", last: "b", n: 1, want: all[1:2], more: true},
		{name: "after the end", last: "zzz", n: 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, more, err := r.Tags(ctx, repo, c.last, c.n)
			must(t, err)
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("tags = %v, want %v", got, c.want)
			}
			if more != c.more && !c.full {
				t.Errorf("more = %t, want %t", more, c.more)
			}
		})
	}
}

func repositoriesListed(t *testing.T, r Registry) {
	ctx := t.Context()
	want := []string{"list/a", "list/a/b", "list/c"}
	for i, repo := range []string{"list/c", "list/a", "list/a/b"} {
		raw := Manifest(t, r, repo, image.MediaTypeConfig, gzipLayer, Noise(uint64(20+i), 100))
		must(t, r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, raw))
	}
	cases := []struct {
		name, last string
		n          int
		want       []string
	}{
		{name: "all", want: want},
		{name: "first two", n: 2, want: want[:2]},
		{name: "below the last", last: "list/a", n: 1, want: want[1:2]},
		{name: "rest", last: "list/a/b", n: 2, want: want[2:]},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, more := repositories(t, r, c.last, c.n)
			wantEqual(t, "repositories", got, c.want)
			if left := want[len(want)-1] != c.want[len(c.want)-1]; more != nil && *more != left {
				t.Errorf("more = %t, want %t", *more, left)
			}
		})
	}
}

// repositories lists them with a registry that says whether there are more, and
// with one that cannot tell.
func repositories(t *testing.T, r Registry, last string, n int) (names []string, more *bool) {
	t.Helper()
	var err error
	switch r := r.(type) {
	case interface {
		Repositories(context.Context, string, int) ([]string, bool, error)
	}:
		var left bool
		names, left, err = r.Repositories(t.Context(), last, n)
		more = &left
	case interface {
		Repositories(context.Context, string, int) ([]string, error)
	}:
		names, err = r.Repositories(t.Context(), last, n)
	default:
		t.Skip("this registry lists no repositories")
	}
	must(t, err)
	return names, more
}

func nothingKnown(t *testing.T, r Registry) {
	ctx, repo, d := t.Context(), "not/there", digest.FromString("nothing")
	manifest := []error{image.ErrManifestUnknown, image.ErrNameUnknown}
	blob := []error{image.ErrBlobUnknown, image.ErrNameUnknown}
	_, _, err := r.Manifest(ctx, repo, "latest")
	wantErr(t, "manifest by tag", err, manifest...)
	_, _, err = r.Manifest(ctx, repo, d.String())
	wantErr(t, "manifest by digest", err, manifest...)
	_, err = r.Resolve(ctx, repo, "latest")
	wantErr(t, "resolve", err, manifest...)
	_, _, err = r.Tags(ctx, repo, "", 0)
	wantErr(t, "tags", err, image.ErrNameUnknown)
	_, err = r.StatBlob(ctx, repo, d)
	wantErr(t, "stat", err, blob...)
	_, _, err = r.Blob(ctx, repo, d, 0, -1)
	wantErr(t, "blob", err, blob...)
	wantErr(t, "delete blob", r.DeleteBlob(ctx, repo, d), blob...)
	wantErr(t, "delete manifest", r.DeleteManifest(ctx, repo, d), manifest...)
	wantErr(t, "delete tag", r.DeleteTag(ctx, repo, "latest"), manifest...)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := r.Manifest(cancelled, repo, "latest"); err == nil {
		t.Error("a manifest was found after the end of the request")
	}
	if list, err := r.Referrers(ctx, repo, d); (err != nil || len(list) != 0) && !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("referrers of nothing: %v, %v", list, err)
	}
}
