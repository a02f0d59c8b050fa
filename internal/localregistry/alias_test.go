package localregistry_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
)

func TestContractSHA512(t *testing.T) {
	registrytest.ContractSHA512(t, func(t *testing.T) registrytest.Registry { return open(t, t.TempDir()) })
}

func aliasFile(dir string, d digest.Digest) string {
	return filepath.Join(dir, "aliases/sha512", d.Encoded()[:2], d.Encoded())
}

// TestAliasDamage: an alias that is not what was written opens nothing, and a
// new upload makes it whole.
func TestAliasDamage(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	content, other := registrytest.Noise(1, 1000), registrytest.Noise(2, 1000)
	d := registrytest.PutBlobAs(t, r, "a", content, digest.SHA512)
	e := registrytest.PutBlobAs(t, r, "a", other, digest.SHA512)
	whole, err := os.ReadFile(aliasFile(dir, d))
	if err != nil {
		t.Fatal(err)
	}
	swapped, err := os.ReadFile(aliasFile(dir, e))
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"empty":                   {},
		"cut":                     whole[:len(whole)-10],
		"of another blob":         swapped,
		"other target, old sum":   bytes.Replace(whole, []byte(digest.FromBytes(content)), []byte(digest.FromBytes(other)), 1),
		"more after the end":      append(bytes.Clone(whole), '\n'),
		"very long":               bytes.Repeat([]byte("a"), 1<<20),
		"no longer a sha256 name": bytes.Replace(whole, []byte("sha256:"), []byte("sha512:"), 1),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(aliasFile(dir, d), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := r.StatBlob(ctx, "a", d); !errors.Is(err, image.ErrBlobUnknown) {
				t.Errorf("stat: %v", err)
			}
			if _, _, err := r.Blob(ctx, "a", d, 0, -1); !errors.Is(err, image.ErrBlobUnknown) {
				t.Errorf("read: %v", err)
			}
			registrytest.PutBlobAs(t, r, "a", content, digest.SHA512)
			if _, err := r.StatBlob(ctx, "a", d); err != nil {
				t.Errorf("stat after a new upload: %v", err)
			}
		})
	}
}

// TestAliasDamageKeepsBlobs: what a manifest names by an alias that cannot be
// read is not garbage.
func TestAliasDamageKeepsBlobs(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	layer := registrytest.Noise(3, 1000)
	raw := registrytest.ManifestSHA512(t, r, "a", layer)
	if err := r.PutManifest(ctx, "a", "latest", image.MediaTypeManifest, raw); err != nil {
		t.Fatal(err)
	}
	orphan := registrytest.PutBlob(t, r, "b", registrytest.Noise(4, 1000))
	if err := os.WriteFile(aliasFile(dir, digest.SHA512.FromBytes(layer)), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := r.Collect(ctx, localregistry.CollectOptions{OlderThan: time.Now().Add(time.Hour)})
	if err == nil || got.Blobs != 1 {
		t.Errorf("collected %+v, %v; want one blob, and an error that names the damage", got, err)
	}
	if _, err := r.StatBlob(ctx, "a", digest.FromBytes(layer)); err != nil {
		t.Errorf("layer that a manifest names: %v", err)
	}
	if _, err := r.StatBlob(ctx, "b", orphan); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("blob that nothing names: %v", err)
	}
}

func TestNotForDistribution(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	config := registrytest.PutBlob(t, r, "a", []byte("{}"))
	for mediaType, want := range map[string]error{
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":   nil,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":   nil,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":      nil,
		"application/vnd.oci.image.layer.v1.tar+gzip":                    image.ErrReferenceMissing,
		"application/vnd.oci.image.layer.nondistributable":               image.ErrReferenceMissing,
		"application/x.vnd.oci.image.layer.nondistributable.v1.tar+gzip": image.ErrReferenceMissing,
	} {
		for _, layer := range []digest.Digest{digest.FromString("layer"), digest.SHA512.FromString("layer")} {
			raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":9}]}`,
				image.MediaTypeManifest, image.MediaTypeConfig, config, mediaType, layer)
			if err := r.PutManifest(ctx, "a", "latest", image.MediaTypeManifest, raw); !errors.Is(err, want) {
				t.Errorf("%s as %s: %v, want %v", mediaType, layer.Algorithm(), err, want)
			}
		}
	}
}

// FuzzAlias: whatever stands in the file, the sha512 of a blob leads to that
// blob or to none.
func FuzzAlias(f *testing.F) {
	dir := f.TempDir()
	r, err := localregistry.Open(dir, localregistry.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { r.Close() })
	var wholes [][]byte
	var names []digest.Digest
	for _, content := range []string{"one", "two two"} {
		d := digest.SHA512.FromString(content)
		state, err := r.StartUpload(f.Context(), "a")
		if err == nil {
			err = r.CommitUpload(f.Context(), "a", state, 0, d, bytes.NewReader([]byte(content)), -1)
		}
		if err != nil {
			f.Fatal(err)
		}
		whole, err := os.ReadFile(aliasFile(dir, d))
		if err != nil {
			f.Fatal(err)
		}
		wholes, names = append(wholes, whole), append(names, d)
		f.Add(whole)
	}
	f.Add([]byte{})
	f.Add([]byte("sha256:\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(aliasFile(dir, names[0]), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		size, err := r.StatBlob(t.Context(), "a", names[0])
		switch {
		case bytes.Equal(raw, wholes[0]):
			if err != nil || size != 3 {
				t.Errorf("the alias as it was written: %d, %v", size, err)
			}
		case !errors.Is(err, image.ErrBlobUnknown):
			t.Errorf("another alias: %d, %v", size, err)
		}
	})
}
