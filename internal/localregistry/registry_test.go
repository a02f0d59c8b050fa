package localregistry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
)

func open(t *testing.T, dir string) *localregistry.Registry {
	t.Helper()
	r, err := localregistry.Open(dir, localregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestContract(t *testing.T) {
	registrytest.Contract(t, func(t *testing.T) registrytest.Registry { return open(t, t.TempDir()) })
}

// An upload outlives the process, also when bytes were written whose hash state
// was not: then the blob is hashed again.
func TestUploadOutlivesProcess(t *testing.T) {
	for _, tear := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn=%t", tear), func(t *testing.T) {
			dir, content, ctx := t.TempDir(), registrytest.Noise(1, 100_000), t.Context()
			r := open(t, dir)
			state, err := r.StartUpload(ctx, "a/b")
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.AppendUpload(ctx, "a/b", state, 0, bytes.NewReader(content[:60_000])); err != nil {
				t.Fatal(err)
			}
			r.Close()
			if tear {
				states, err := filepath.Glob(filepath.Join(dir, "docker/registry/v2/repositories/a/b/_uploads", state, "hashstates/sha256/*"))
				if err != nil || len(states) == 0 {
					t.Fatalf("hash states: %v, %v", states, err)
				}
				for _, s := range states {
					os.Remove(s)
				}
			}
			r = open(t, dir)
			d := digest.FromBytes(content)
			if err := r.CommitUpload(ctx, "a/b", state, 60_000, d, bytes.NewReader(content[60_000:]), 40_000); err != nil {
				t.Fatal(err)
			}
			if size, err := r.StatBlob(ctx, "a/b", d); err != nil || size != 100_000 {
				t.Errorf("stat = %d, %v", size, err)
			}
		})
	}
}

func TestOneWriterPerUpload(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	state, err := r.StartUpload(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := r.AppendUpload(ctx, "a", state, 0, pr)
		done <- err
	}()
	if _, err := pw.Write([]byte("x")); err != nil { // the first writer is in
		t.Fatal(err)
	}
	if _, _, err := r.AppendUpload(ctx, "a", state, 0, strings.NewReader("y")); !errors.Is(err, image.ErrRangeInvalid) {
		t.Errorf("second writer: %v", err)
	}
	if err := r.CancelUpload(ctx, "a", state); !errors.Is(err, image.ErrRangeInvalid) {
		t.Errorf("cancel under the writer: %v", err)
	}
	pw.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.CommitUpload(ctx, "a", state, 1, digest.FromString("x"), nil, 0); err != nil {
		t.Fatal(err)
	}
}

func TestSameBlobAtOnce(t *testing.T) {
	r, content := open(t, t.TempDir()), registrytest.Noise(2, 50_000)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			repo := fmt.Sprintf("many/%d", i%3)
			state, err := r.StartUpload(t.Context(), repo)
			if err == nil {
				err = r.CommitUpload(t.Context(), repo, state, 0, digest.FromBytes(content), bytes.NewReader(content), -1)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSweep(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	if err := r.Sweep(ctx, time.Now()); err != nil {
		t.Fatalf("sweep of nothing: %v", err)
	}
	state, err := r.StartUpload(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Sweep(ctx, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.AppendUpload(ctx, "a", state, 0, strings.NewReader("x")); err != nil {
		t.Errorf("young upload was swept: %v", err)
	}
	if err := r.Sweep(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.AppendUpload(ctx, "a", state, 1, strings.NewReader("x")); !errors.Is(err, image.ErrUploadUnknown) {
		t.Errorf("old upload: %v", err)
	}
}

func TestStateNamesNoPath(t *testing.T) {
	r := open(t, t.TempDir())
	for _, state := range []string{"", "..", "../../x", "a/b", strings.Repeat("a", 36), "00000000-0000-0000-0000-000000000000"} {
		if err := r.CancelUpload(t.Context(), "a", state); !errors.Is(err, image.ErrUploadUnknown) {
			t.Errorf("cancel %q: %v", state, err)
		}
	}
	for _, repo := range []string{"", "..", "a/../b", "A", "a//b", "/a", "a/_uploads"} {
		if _, err := r.StartUpload(t.Context(), repo); !errors.Is(err, image.ErrNameUnknown) {
			t.Errorf("upload to %q: %v", repo, err)
		}
	}
}

func TestForeignLayersAndDockerTypes(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	config := registrytest.PutBlob(t, r, "a", []byte("{}"))
	foreign := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":%q,"size":9,"urls":["https://example.com/layer"]}]}`,
		image.MediaTypeDockerManifest, image.MediaTypeDockerConfig, config, digest.FromString("foreign"))
	if err := r.PutManifest(ctx, "a", "windows", image.MediaTypeDockerManifest, []byte(foreign)); err != nil {
		t.Errorf("foreign layer: %v", err)
	}
	untyped := strings.Replace(foreign, fmt.Sprintf(`"mediaType":%q,"config"`, image.MediaTypeDockerManifest), `"config"`, 1)
	if err := r.PutManifest(ctx, "a", "untyped", image.MediaTypeDockerManifest, []byte(untyped)); !errors.Is(err, image.ErrManifestInvalid) {
		t.Errorf("Docker manifest without its media type: %v", err)
	}
}

func TestDamagedManifestIsNotServed(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	r := open(t, dir)
	raw := registrytest.Manifest(t, r, "a", image.MediaTypeConfig, "application/vnd.oci.image.layer.v1.tar", []byte("layer"))
	if err := r.PutManifest(ctx, "a", "latest", image.MediaTypeManifest, raw); err != nil {
		t.Fatal(err)
	}
	hex := digest.FromBytes(raw).Encoded()
	file := filepath.Join(dir, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
	if err := os.WriteFile(file, bytes.Replace(raw, []byte("linux"), []byte("linus"), 1)[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Manifest(ctx, "a", "latest"); !errors.Is(err, image.ErrDigestInvalid) {
		t.Errorf("damaged manifest: %v", err)
	}
}

func TestTruncatedBlobIsAnError(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	d := registrytest.PutBlob(t, r, "a", registrytest.Noise(3, 1000))
	rc, _, err := r.Blob(t.Context(), "a", d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if err := os.Truncate(filepath.Join(dir, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data"), 900); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(rc); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read of a truncated blob: %v", err)
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if _, err := localregistry.Open(dir, localregistry.Options{}); err == nil {
		t.Error("the directory was opened twice")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}
