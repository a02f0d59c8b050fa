package registrytest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// ContractSHA512 is what a registry must do that knows content by its sha512
// too. It stands apart from Contract because registries need not.
func ContractSHA512(t *testing.T, open func(t *testing.T) Registry) {
	t.Helper()
	cases := []struct {
		name string
		run  func(t *testing.T, r Registry)
	}{
		{"blob", blobSHA512},
		{"blob refused", blobSHA512Refused},
		{"blob mounted and deleted", blobSHA512Mounted},
		{"manifest", manifestSHA512},
		{"manifest refused", manifestSHA512Refused},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// PutBlobAs uploads content in two requests, as the digest of that algorithm,
// and returns it.
func PutBlobAs(t *testing.T, r Registry, repo string, content []byte, algorithm digest.Algorithm) digest.Digest {
	t.Helper()
	d := algorithm.FromBytes(content)
	state, err := r.StartUpload(t.Context(), repo)
	must(t, err)
	half := len(content) / 2
	state, written, err := r.AppendUpload(t.Context(), repo, state, 0, unsized(content[:half]))
	must(t, err)
	must(t, r.CommitUpload(t.Context(), repo, state, written, d, bytes.NewReader(content[half:]), int64(len(content)-half)))
	return d
}

func blobSHA512(t *testing.T, r Registry) {
	for name, content := range map[string][]byte{"some": Noise(40, 100_000), "empty": nil} {
		t.Run(name, func(t *testing.T) {
			long, short := PutBlobAs(t, r, "long", content, digest.SHA512), digest.FromBytes(content)
			for _, d := range []digest.Digest{long, short} {
				size, err := r.StatBlob(t.Context(), "long", d)
				must(t, err)
				wantEqual(t, "size", size, int64(len(content)))
				got, _ := readBlob(t, r, "long", d, 0, -1)
				if !bytes.Equal(got, content) {
					t.Errorf("bytes of %s differ", d)
				}
			}
			PutBlobAs(t, r, "long", content, digest.SHA512) // once more is no harm
			PutBlobAs(t, r, "long", content, digest.SHA256)
			_, err := r.StatBlob(t.Context(), "elsewhere", long)
			wantErr(t, "stat where it is not", err, image.ErrBlobUnknown, image.ErrNameUnknown)
		})
	}
	PutBlobAs(t, r, "long", Noise(40, 100_000), digest.SHA512)
	got, total := readBlob(t, r, "long", digest.SHA512.FromBytes(Noise(40, 100_000)), 50_000, 100)
	wantEqual(t, "total", total, 100_000)
	wantEqual(t, "range", string(got), string(Noise(40, 100_000)[50_000:50_100]))
}

func blobSHA512Refused(t *testing.T, r Registry) {
	ctx, repo, content := t.Context(), "long/refused", Noise(41, 1000)
	other := digest.SHA512.FromString("other")
	state, err := r.StartUpload(ctx, repo)
	must(t, err)
	err = r.CommitUpload(ctx, repo, state, 0, other, bytes.NewReader(content), 1000)
	wantErr(t, "wrong digest", err, image.ErrDigestInvalid)
	for _, d := range []digest.Digest{other, digest.FromBytes(content), digest.SHA512.FromBytes(content)} {
		_, err = r.StatBlob(ctx, repo, d)
		wantErr(t, "stat after wrong digest", err, image.ErrBlobUnknown, image.ErrNameUnknown)
	}
}

func blobSHA512Mounted(t *testing.T, r Registry) {
	ctx, content := t.Context(), Noise(42, 1000)
	d := PutBlobAs(t, r, "long/from", content, digest.SHA512)
	ok, err := r.MountBlob(ctx, "long/to", "long/from", d)
	must(t, err)
	if !ok {
		t.Fatal("mount of an existing blob was not done")
	}
	ok, err = r.MountBlob(ctx, "long/to", "long/from", digest.SHA512.FromString("nowhere"))
	must(t, err)
	if ok {
		t.Error("mount of a missing blob was done")
	}
	must(t, r.DeleteBlob(ctx, "long/from", d))
	_, err = r.StatBlob(ctx, "long/from", d)
	wantErr(t, "stat after delete", err, image.ErrBlobUnknown)
	wantErr(t, "delete after delete", r.DeleteBlob(ctx, "long/from", d), image.ErrBlobUnknown)
	if got, _ := readBlob(t, r, "long/to", d, 0, -1); !bytes.Equal(got, content) {
		t.Error("bytes differ")
	}
}

// ManifestSHA512 returns an image manifest that names its config and layer by
// their sha512.
func ManifestSHA512(t *testing.T, r Registry, repo string, layer []byte) []byte {
	t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	c, l := PutBlobAs(t, r, repo, config, digest.SHA512), PutBlobAs(t, r, repo, layer, digest.SHA512)
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		image.MediaTypeManifest, image.MediaTypeConfig, c, len(config), gzipLayer, l, len(layer))
}

func manifestSHA512(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "long/images"
	raw := ManifestSHA512(t, r, repo, Noise(43, 1000))
	long, short := digest.SHA512.FromBytes(raw), digest.FromBytes(raw)
	must(t, r.PutManifest(ctx, repo, long.String(), image.MediaTypeManifest, raw))
	must(t, r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, raw))
	for _, ref := range []string{long.String(), short.String(), "latest"} {
		got, mediaType, err := r.Manifest(ctx, repo, ref)
		must(t, err)
		wantEqual(t, "bytes by "+ref, string(got), string(raw))
		wantEqual(t, "media type by "+ref, mediaType, image.MediaTypeManifest)
	}
	d, err := r.Resolve(ctx, repo, "latest")
	must(t, err)
	wantEqual(t, "resolved", d, short)
	_, _, err = r.Manifest(ctx, "long/elsewhere", long.String())
	wantErr(t, "manifest where it is not", err, image.ErrManifestUnknown, image.ErrNameUnknown)
	must(t, r.DeleteManifest(ctx, repo, long))
	for _, ref := range []string{long.String(), short.String(), "latest"} {
		_, _, err := r.Manifest(ctx, repo, ref)
		wantErr(t, "manifest "+ref+" after delete", err, image.ErrManifestUnknown)
	}
	wantErr(t, "delete after delete", r.DeleteManifest(ctx, repo, long), image.ErrManifestUnknown)
}

func manifestSHA512Refused(t *testing.T, r Registry) {
	ctx, repo := t.Context(), "long/refused/images"
	raw := ManifestSHA512(t, r, repo, Noise(44, 1000))
	err := r.PutManifest(ctx, repo, digest.SHA512.FromString("other").String(), image.MediaTypeManifest, raw)
	wantErr(t, "put under another digest", err, image.ErrDigestInvalid)
	missing := bytes.Replace(raw, []byte(digest.SHA512.FromBytes(Noise(44, 1000))), []byte(digest.SHA512.FromString("no layer")), 1)
	err = r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, missing)
	wantErr(t, "put with a missing layer", err, image.ErrReferenceMissing)
	err = r.PutManifest(ctx, "long/elsewhere", "latest", image.MediaTypeManifest, raw)
	wantErr(t, "put where the layers are not", err, image.ErrReferenceMissing)
}
