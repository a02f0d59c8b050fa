package feeds_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/registrytest"
)

// exporter is a data directory with the fixtures in it, and a key.
func exporter(t *testing.T) (dir string, public ed25519.PublicKey, private ed25519.PrivateKey) {
	t.Helper()
	dir = t.TempDir()
	sync(t, dir, newMirror(t).config())
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return dir, public, private
}

func TestBundleRoundTrip(t *testing.T) {
	t.Parallel()
	dir, public, private := exporter(t)
	registry := strings.TrimPrefix(registrytest.StartDistribution(t, registrytest.Options{}).URL, "http://")
	for name, place := range map[string]string{
		"file": filepath.Join(t.TempDir(), "b.tar.zst"), "layout": "oci:" + filepath.Join(t.TempDir(), "layout"), "registry": registry + "/security/vulndb:v1",
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			var bundle feeds.Bundle
			for range 2 { // the second takes the place of the first
				var err error
				if bundle, err = feeds.Export(t.Context(), dir, place, private); err != nil || !bundle.Signed || bundle.Revision.Sequence != 1 {
					t.Fatalf("%+v, %v", bundle, err)
				}
			}
			_, other, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := feeds.Import(t.Context(), to, place, feeds.ImportOptions{Key: other.Public().(ed25519.PublicKey)}); !errors.Is(err, feeds.ErrBadSignature) {
				t.Errorf("another key: %v", err)
			}
			if _, err := feeds.Import(t.Context(), to, place, feeds.ImportOptions{}); !errors.Is(err, feeds.ErrUnsigned) {
				t.Errorf("no key: %v", err)
			}
			res, err := feeds.Import(t.Context(), to, place, feeds.ImportOptions{Key: public})
			if err != nil || !res.Changed || !res.Signed || res.Local != res.Revision || res.Digest != bundle.Digest {
				t.Fatalf("%+v, %v", res, err)
			}
			if lookup(t, current(t, to), "Debian:12", "openssl") != 1 {
				t.Error("the imported index has no openssl")
			}
			here, _ := feeds.List(dir)
			there, err := feeds.List(to)
			here[0].Kept = true // nothing here was downloaded
			if err != nil || len(there) != len(here) || there[0] != here[0] {
				t.Errorf("status %+v, want %+v; %v", there, here, err)
			}
			if left, _ := filepath.Glob(filepath.Join(to, "*", ".*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			if again, err := feeds.Import(t.Context(), to, place, feeds.ImportOptions{Key: public}); err != nil || again.Changed || again.Local != res.Local {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// TestBundleStepBack: an import is seen by who has the directory open,
// and a step back is refused unless forced.
func TestBundleStepBack(t *testing.T) {
	t.Parallel()
	m, dir, to := newMirror(t), t.TempDir(), t.TempDir()
	first := sync(t, dir, m.config())
	old, next := filepath.Join(t.TempDir(), "old.zst"), filepath.Join(t.TempDir(), "next.zst")
	export := func(path string) {
		if b, err := feeds.Export(t.Context(), dir, path, nil); err != nil || b.Signed {
			t.Fatalf("%+v, %v", b, err)
		}
	}
	export(old)
	m.set(func(m *mirror) {
		m.files["osv/npm/all.zip"] = zipped(t, map[string]string{"MAL-2.json": `{"id": "MAL-2", "affected": [{"package": {"ecosystem": "npm", "name": "l0dash"}, "versions": ["1"]}]}`})
	})
	second := sync(t, dir, m.config())
	export(next)
	unsigned := feeds.ImportOptions{Unsigned: true}
	if _, err := feeds.Import(t.Context(), to, next, unsigned); err != nil {
		t.Fatal(err)
	}
	store, err := advisory.OpenStore(feeds.IndexDir(to))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := feeds.Import(t.Context(), to, old, unsigned); !errors.Is(err, feeds.ErrOlderBundle) {
		t.Errorf("a step back: %v", err)
	}
	res, err := feeds.Import(t.Context(), to, old, feeds.ImportOptions{Unsigned: true, Force: true})
	if err != nil || !res.Changed || res.Local.Sequence != 2 || res.Local.Digest != first.Revision.Digest {
		t.Errorf("a forced step back: %+v, %v", res, err)
	}
	if changed, err := store.Reload(context.Background()); !changed || err != nil {
		t.Errorf("reload: %v, %v", changed, err)
	}
	if res, err = feeds.Import(t.Context(), to, next, unsigned); err != nil || res.Local.Sequence != 3 || res.Local.Digest != second.Revision.Digest {
		t.Errorf("forward again: %+v, %v", res, err)
	}
	// A sync keeps what was imported where it has nothing to build from.
	m.Close()
	if res := sync(t, to, m.config()); res.Revision != (advisory.Revision{Sequence: res.Revision.Sequence, Digest: second.Revision.Digest, Built: second.Revision.Built}) {
		t.Errorf("after a sync: %+v", res.Revision)
	}
	if _, err := feeds.Import(t.Context(), to, old, unsigned); !errors.Is(err, feeds.ErrOlderBundle) {
		t.Errorf("a step back after a sync: %v", err)
	}
	sync(t, to, feeds.Config{})
	if list, err := feeds.List(to); err != nil || len(list) != 3 || list[0].Synced.IsZero() {
		t.Errorf("without sources the times of the bundle stay: %+v, %v", list, err)
	}
}

func TestDamagedBundle(t *testing.T) {
	t.Parallel()
	dir, public, private := exporter(t)
	path := filepath.Join(t.TempDir(), "b.zst")
	if _, err := feeds.Export(t.Context(), dir, path, private); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Readers that know nothing of signatures can unpack it.
	z, err := zstd.NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if tar, err := io.ReadAll(z); err != nil || !bytes.HasPrefix(tar, []byte("status.json\x00")) {
		t.Errorf("%.20q, %v", tar, err)
	}
	to := t.TempDir()
	for i := 0; i < len(whole); i += 1 + i/40 {
		for _, b := range [][]byte{append(bytes.Clone(whole[:i]), whole[i:]...), whole[:i]} {
			if len(b) == len(whole) {
				b[i] ^= 1
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if res, err := feeds.Import(t.Context(), to, path, feeds.ImportOptions{Key: public}); err == nil {
				t.Fatalf("damage at %d: %+v", i, res)
			}
		}
	}
	if files, _ := filepath.Glob(filepath.Join(feeds.IndexDir(to), "*")); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestLayoutKeepsOtherContent(t *testing.T) {
	t.Parallel()
	dir, public, private := exporter(t)
	layout := t.TempDir()
	other := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + strings.Repeat("a", 64) + `","size":7}]}`
	if err := os.WriteFile(filepath.Join(layout, "index.json"), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := feeds.Export(t.Context(), dir, "oci:"+layout, private); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		sync(t, dir, feeds.Config{}) // nothing but a new status
		_, private, _ = ed25519.GenerateKey(rand.Reader)
	}
	var index struct{ Manifests []struct{ Digest string } }
	raw, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err == nil {
		err = json.Unmarshal(raw, &index)
	}
	blobs, _ := filepath.Glob(filepath.Join(layout, "blobs", "sha256", "*"))
	if err != nil || len(index.Manifests) != 2 || len(blobs) != 3 {
		t.Errorf("%s, blobs %v, %v", raw, blobs, err)
	}
	if _, err := feeds.Import(t.Context(), t.TempDir(), "oci:"+layout, feeds.ImportOptions{Key: public}); !errors.Is(err, feeds.ErrBadSignature) {
		t.Errorf("the bundle that was replaced is still there: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x50\x2a\x4d\x18\x48\x00\x00\x00PRATSIG1"))
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := z.Write([]byte("status.json")); err != nil {
		f.Fatal(err)
	}
	if err := z.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(packed.Bytes())
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(dir, "fuzzed.zst")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if res, err := feeds.Import(t.Context(), dir, path, feeds.ImportOptions{Unsigned: true}); err == nil {
			t.Errorf("%+v", res)
		}
	})
}
