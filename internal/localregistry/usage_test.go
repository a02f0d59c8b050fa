package localregistry_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
)

const gzipLayer = "application/vnd.oci.image.layer.v1.tar+gzip"

// limited opens a registry in which each repository may hold quota bytes.
func limited(t *testing.T, dir string, quota *atomic.Int64) *localregistry.Registry {
	t.Helper()
	r, err := localregistry.Open(dir, localregistry.Options{Quota: func(string) int64 { return quota.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func upload(t *testing.T, r *localregistry.Registry, repo string, content []byte) error {
	t.Helper()
	state, err := r.StartUpload(t.Context(), repo)
	if err != nil {
		return err
	}
	return r.CommitUpload(t.Context(), repo, state, 0, digest.FromBytes(content), bytes.NewReader(content), -1)
}

func wantUsage(t *testing.T, r *localregistry.Registry, repo string, want int64) {
	t.Helper()
	if got, err := r.Usage(t.Context(), repo); err != nil || got != want {
		t.Errorf("usage of %s = %d, %v; want %d", repo, got, err, want)
	}
}

func TestUsage(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	wantUsage(t, r, "a", 0)
	raw := registrytest.Manifest(t, r, "a", image.MediaTypeConfig, gzipLayer, registrytest.Noise(1, 1000))
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	want := m.Config.Size + 1000
	wantUsage(t, r, "a", want)
	for _, ref := range []string{"one", "two", m.Digest.String()} {
		if err := r.PutManifest(ctx, "a", ref, image.MediaTypeManifest, raw); err != nil {
			t.Fatal(err)
		}
		wantUsage(t, r, "a", want+int64(len(raw)))
	}
	want += int64(len(raw))
	registrytest.PutBlobAs(t, r, "a", registrytest.Noise(1, 1000), digest.SHA512) // the same bytes
	registrytest.PutBlob(t, r, "a", raw)                                          // the manifest, as a blob
	wantUsage(t, r, "a", want)
	if _, err := r.MountBlob(ctx, "b", "a", m.Layers[0].Digest); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, r, "b", 1000)
	if err := r.DeleteBlob(ctx, "a", m.Digest); err != nil { // it stays as a manifest
		t.Fatal(err)
	}
	wantUsage(t, r, "a", want)
	r.Close()
	r = open(t, dir)
	wantUsage(t, r, "a", want)
	if err := r.DeleteManifest(ctx, "a", m.Digest); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, r, "a", want-int64(len(raw)))
	if _, err := r.Collect(ctx, localregistry.CollectOptions{OlderThan: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, r, "a", 0)
	wantUsage(t, r, "b", 0)
	if _, err := r.Usage(ctx, "../a"); !errors.Is(err, image.ErrNameUnknown) {
		t.Errorf("usage of a path: %v", err)
	}
}

func TestQuota(t *testing.T) {
	var quota atomic.Int64
	r, ctx := limited(t, t.TempDir(), &quota), t.Context()
	raw := registrytest.Manifest(t, r, "a", image.MediaTypeConfig, gzipLayer, registrytest.Noise(1, 1000))
	used, err := r.Usage(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	full := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, image.ErrQuotaExceeded) {
			t.Errorf("%s: %v, want ErrQuotaExceeded", what, err)
		}
	}
	quota.Store(used + int64(len(raw)) - 1)
	full("manifest", r.PutManifest(ctx, "a", "latest", image.MediaTypeManifest, raw))
	if _, err := r.Resolve(ctx, "a", "latest"); !errors.Is(err, image.ErrManifestUnknown) {
		t.Errorf("tag of a refused manifest: %v", err)
	}
	full("commit", upload(t, r, "a", registrytest.Noise(2, 5000)))
	if err := upload(t, r, "a", registrytest.Noise(1, 1000)); err != nil {
		t.Errorf("a blob that the repository has: %v", err)
	}
	quota.Store(used + int64(len(raw)))
	if err := r.PutManifest(ctx, "a", "latest", image.MediaTypeManifest, raw); err != nil {
		t.Errorf("manifest that just fits: %v", err)
	}
	if err := r.PutManifest(ctx, "a", "again", image.MediaTypeManifest, raw); err != nil {
		t.Errorf("another tag: %v", err)
	}
	if err := upload(t, r, "b", registrytest.Noise(3, 1000)); err != nil {
		t.Errorf("another repository: %v", err)
	}
	_, err = r.MountBlob(ctx, "a", "b", digest.FromBytes(registrytest.Noise(3, 1000)))
	full("mount", err)
	if err := r.DeleteManifest(ctx, "a", digest.FromBytes(raw)); err != nil {
		t.Fatal(err)
	}
	if err := upload(t, r, "a", registrytest.Noise(4, len(raw))); err != nil {
		t.Errorf("blob in the room of a deleted manifest: %v", err)
	}
}

// TestQuotaStopsUploads: what can never be committed is not taken in.
func TestQuotaStopsUploads(t *testing.T) {
	var quota atomic.Int64
	quota.Store(100_000)
	r, ctx := limited(t, t.TempDir(), &quota), t.Context()
	state, err := r.StartUpload(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, n, err := r.AppendUpload(ctx, "a", state, 0, bytes.NewReader(make([]byte, 100_000))); err != nil || n != 100_000 {
		t.Fatalf("append of all that fits: %d, %v", n, err)
	}
	endless := &counter{}
	_, n, err := r.AppendUpload(ctx, "a", state, 100_000, endless)
	if !errors.Is(err, image.ErrQuotaExceeded) || n != 0 || endless.n > 1<<20 {
		t.Errorf("append beyond it: %d, %v, after %d bytes", n, err, endless.n)
	}
	if err := r.CancelUpload(ctx, "a", state); !errors.Is(err, image.ErrUploadUnknown) {
		t.Errorf("cancel of an upload that was dropped: %v", err)
	}
	wantUsage(t, r, "a", 0)
}

type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	if c.n > 1<<24 {
		return 0, io.EOF
	}
	c.n += len(p)
	return len(p), nil
}

// TestQuotaUnderConcurrency: as many blobs as fit are taken, not one more, and
// the same blob twice at once counts once.
func TestQuotaUnderConcurrency(t *testing.T) {
	const fit, offered, size = 10, 24, 1000
	var quota atomic.Int64
	quota.Store(fit * size)
	dir := t.TempDir()
	r := limited(t, dir, &quota)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for i := range offered {
		content := registrytest.Noise(uint64(i), size)
		var both [2]error
		var pair sync.WaitGroup
		wg.Go(func() {
			for j := range both {
				pair.Go(func() { both[j] = upload(t, r, "a", content) })
			}
			pair.Wait()
			for _, err := range both {
				if err != nil && !errors.Is(err, image.ErrQuotaExceeded) {
					t.Error(err)
				}
			}
			if both[0] == nil || both[1] == nil {
				taken.Add(1)
			}
		})
		wg.Go(func() {
			if n, err := r.Usage(t.Context(), "a"); err != nil || n > fit*size {
				t.Errorf("usage = %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	if taken.Load() != fit {
		t.Errorf("%d blobs were taken, %d fit", taken.Load(), fit)
	}
	wantUsage(t, r, "a", fit*size)
	r.Close()
	wantUsage(t, open(t, dir), "a", fit*size)
}
