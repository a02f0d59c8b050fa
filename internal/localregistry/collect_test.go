package localregistry_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
)

// collect takes away all that nothing needs, however young.
func collect(t *testing.T, r *localregistry.Registry) localregistry.Collected {
	t.Helper()
	got, err := r.Collect(t.Context(), localregistry.CollectOptions{OlderThan: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// files counts the regular files below dir.
func files(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n
}

// whole checks that the manifest and all that it names can be read back.
func whole(ctx context.Context, r *localregistry.Registry, repo string, d digest.Digest) error {
	raw, _, err := r.Manifest(ctx, repo, d.String())
	if err != nil {
		return err
	}
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		return err
	}
	for _, desc := range m.Descriptors() {
		rc, _, err := r.Blob(ctx, repo, desc.Digest, 0, -1)
		if err != nil {
			return err
		}
		got, err := desc.Digest.Algorithm().FromReader(rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
		if got != desc.Digest {
			return errors.New("bytes differ")
		}
	}
	return nil
}

func TestCollect(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	if got := collect(t, r); got != (localregistry.Collected{}) {
		t.Errorf("of nothing: %+v", got)
	}
	short := registrytest.Manifest(t, r, "a", image.MediaTypeConfig, gzipLayer, registrytest.Noise(1, 1000))
	long := registrytest.ManifestSHA512(t, r, "a/b", registrytest.Noise(2, 1000))
	for repo, raw := range map[string][]byte{"a": short, "a/b": long} {
		if err := r.PutManifest(ctx, repo, "latest", image.MediaTypeManifest, raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.PutManifest(ctx, "a/b", digest.SHA512.FromBytes(long).String(), image.MediaTypeManifest, long); err != nil {
		t.Fatal(err)
	}
	orphan := registrytest.PutBlobAs(t, r, "a", registrytest.Noise(3, 5000), digest.SHA512)
	if _, err := r.MountBlob(ctx, "b", "a", digest.FromBytes(registrytest.Noise(1, 1000))); err != nil {
		t.Fatal(err)
	}
	want := localregistry.Collected{Links: 2, Blobs: 1, Bytes: 5000}
	if got := collect(t, r); got != want {
		t.Errorf("collected %+v, want %+v", got, want)
	}
	for repo, raw := range map[string][]byte{"a": short, "a/b": long} {
		if err := whole(ctx, r, repo, digest.FromBytes(raw)); err != nil {
			t.Errorf("%s: %v", repo, err)
		}
	}
	if _, err := r.StatBlob(ctx, "a", orphan); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("blob that nothing names: %v", err)
	}
	for repo, raw := range map[string][]byte{"a": short, "a/b": long} {
		if err := r.DeleteManifest(ctx, repo, digest.FromBytes(raw)); err != nil {
			t.Fatal(err)
		}
	}
	collect(t, r)
	for _, left := range []string{"docker/registry/v2/blobs", "aliases"} {
		if n := files(t, filepath.Join(dir, left)); n != 0 {
			t.Errorf("%d files are left in %s", n, left)
		}
	}
}

// TestCollectKeepsLeases: what is young, and what somebody was told to be there
// a moment ago, is not garbage.
func TestCollectKeepsLeases(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	d := registrytest.PutBlob(t, r, "a", registrytest.Noise(1, 1000))
	hourAgo := localregistry.CollectOptions{OlderThan: time.Now().Add(-time.Hour)}
	if got, err := r.Collect(ctx, hourAgo); err != nil || got.Links != 0 {
		t.Errorf("young: %+v, %v", got, err)
	}
	link := filepath.Join(dir, "docker/registry/v2/repositories/a/_layers/sha256", d.Encoded(), "link")
	age := func(name string) {
		t.Helper()
		old := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	age(link)
	age(filepath.Join(dir, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data"))
	if _, err := r.StatBlob(ctx, "a", d); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Collect(ctx, hourAgo); err != nil || got.Links != 0 || got.Blobs != 0 {
		t.Errorf("asked for: %+v, %v", got, err)
	}
	age(link)
	if got, err := r.Collect(ctx, hourAgo); err != nil || got.Links != 1 || got.Blobs != 1 {
		t.Errorf("old: %+v, %v", got, err)
	}
	if got, err := r.Collect(ctx, localregistry.CollectOptions{}); err != nil || got.Links != 0 {
		t.Errorf("zero time: %+v, %v", got, err)
	}
}

// TestCollectDamagedManifest: what cannot be read may name anything.
func TestCollectDamagedManifest(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	raw := registrytest.Manifest(t, r, "a", image.MediaTypeConfig, gzipLayer, registrytest.Noise(1, 1000))
	if err := r.PutManifest(ctx, "a", "latest", image.MediaTypeManifest, raw); err != nil {
		t.Fatal(err)
	}
	hex := digest.FromBytes(raw).Encoded()
	file := filepath.Join(dir, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
	if err := os.WriteFile(file, raw[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := r.Collect(ctx, localregistry.CollectOptions{OlderThan: time.Now().Add(time.Hour)})
	if err == nil || !strings.Contains(err.Error(), hex) || got != (localregistry.Collected{}) {
		t.Errorf("damaged: %+v, %v; want nothing, and the manifest's digest", got, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, r); got.Links != 2 || got.Blobs != 2 {
		t.Errorf("a manifest without bytes is one that nobody can have: %+v", got)
	}
}

func TestCollectTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	d := digest.FromString("never moved into place")
	old := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{
		filepath.Join("docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data.0.tmp"),
		filepath.Join("aliases/sha512/00", strings.Repeat("0", 128)+".0.tmp"),
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.Chtimes(name, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	if got := collect(t, r); got != (localregistry.Collected{}) {
		t.Errorf("temporary files were counted: %+v", got)
	}
	if n := files(t, dir); n != 1 { // the lock
		t.Errorf("%d files are left", n)
	}
}

func TestCollectEnds(t *testing.T) {
	r := open(t, t.TempDir())
	registrytest.PutBlob(t, r, "a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := r.Collect(ctx, localregistry.CollectOptions{OlderThan: time.Now().Add(time.Hour)})
	if !errors.Is(err, context.Canceled) || got.Blobs != 0 {
		t.Errorf("after the end of the request: %+v, %v", got, err)
	}
	if got := collect(t, r); got.Blobs != 1 {
		t.Errorf("the next one: %+v", got)
	}
}

func TestRepositoriesPaged(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	for _, repo := range []string{"a/1", "a", "a/b/c", "a-b", "0", "b"} {
		registrytest.PutBlob(t, r, repo, []byte("x"))
	}
	index := []byte(`{"schemaVersion":2,"mediaType":"` + image.MediaTypeIndex + `","manifests":[]}`)
	if err := r.PutManifest(ctx, "a/index", "latest", image.MediaTypeIndex, index); err != nil {
		t.Fatal(err)
	}
	want := "0 a a/1 a/b/c a/index a-b b"
	var got []string
	for last, more := "", true; more; last = got[len(got)-1] {
		page, left, err := r.Repositories(ctx, last, 1)
		if err != nil || len(page) != 1 || len(got) > 10 {
			t.Fatalf("after %q: %v, %v", last, page, err)
		}
		got, more = append(got, page...), left
	}
	if strings.Join(got, " ") != want {
		t.Errorf("repositories %v, want %s", got, want)
	}
	for last, want := range map[string]string{"a/b": "a/b/c", "a/zz/zz": "a-b", "nowhere": "", "a/b/c/d": "a/index"} {
		page, _, err := r.Repositories(ctx, last, 1)
		if err != nil || strings.Join(page, " ") != want {
			t.Errorf("after %q: %v, %v; want %q", last, page, err, want)
		}
	}
}
