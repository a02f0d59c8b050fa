package scan_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/scan"
)

// TestWarm: a second scan says what the first one said, and reads no layer; but
// no earlier scan speaks for bytes that are not those that it read.
func TestWarm(t *testing.T) {
	o := options(t)
	o.Cache = &scan.Cache{Dir: filepath.Join(t.TempDir(), "scans"), Limit: 1 << 30}
	im := imagetest.Vulnerable()
	layerDigest := digest.FromBytes(im.Layers[0].Blob)
	write := func() string {
		dir := t.TempDir()
		check(t, im.WriteLayout(dir, "1"))
		return dir
	}
	run := func(dir string) ([]scan.Document, error) {
		l := openDir(t, dir)
		return scan.Scan(t.Context(), l, l.Root(), o)
	}
	first := write()
	cold, err := run(first)
	check(t, err)
	for name, dir := range map[string]string{"the same folder": first, "a copy": write(), "a copy again": first} {
		warm, err := run(dir)
		if diff := cmp.Diff(cold, warm); diff != "" || err != nil {
			t.Errorf("%s: %v (-cold +warm)\n%s", name, err, diff)
		}
	}
	for name, damage := range map[string]func(path string) error{
		"missing": os.Remove,
		"other bytes of the same size": func(path string) error {
			return os.WriteFile(path, make([]byte, len(im.Layers[0].Blob)), 0o600)
		},
		"cut": func(path string) error { return os.Truncate(path, 10) },
	} {
		dir := write()
		check(t, damage(blobPath(dir, layerDigest)))
		if docs, err := run(dir); err == nil && docs[0].Verdict.Passed || err == nil && len(docs[0].Findings) > 0 {
			t.Errorf("%s: scanned as if it were whole: %+v", name, docs)
		}
	}
	entries, err := os.ReadDir(o.Cache.Dir)
	check(t, err)
	if len(entries) == 0 {
		t.Error("nothing was kept")
	}
	o.Cache.Limit = 0
	check(t, o.Cache.Prune())
	if entries, err = os.ReadDir(o.Cache.Dir); err != nil || len(entries) > 0 {
		t.Errorf("not pruned: %v %v", entries, err)
	}
}

// TestWarmArchive: an archive is known by where the bytes stand in it.
func TestWarmArchive(t *testing.T) {
	o := options(t)
	o.Cache = &scan.Cache{Dir: t.TempDir(), Limit: 1 << 30}
	dir := t.TempDir()
	check(t, imagetest.Vulnerable().WriteLayout(dir, "1"))
	l := openArchive(t, pack(t, dir))
	cold, err := scan.Scan(t.Context(), l, l.Root(), o)
	check(t, err)
	warm, err := scan.Scan(t.Context(), l, l.Root(), o)
	if diff := cmp.Diff(cold, warm); diff != "" || err != nil {
		t.Errorf("%v (-cold +warm)\n%s", err, diff)
	}
}

// TestDamagedCache: what cannot be read of the cache is read from the image.
func TestDamagedCache(t *testing.T) {
	o := options(t)
	o.Cache = &scan.Cache{Dir: t.TempDir(), Limit: 1 << 30}
	dir := t.TempDir()
	check(t, imagetest.Vulnerable().WriteLayout(dir, "1"))
	l := openDir(t, dir)
	cold, err := scan.Scan(t.Context(), l, l.Root(), o)
	check(t, err)
	entries, err := os.ReadDir(o.Cache.Dir)
	check(t, err)
	for _, e := range entries {
		check(t, os.WriteFile(filepath.Join(o.Cache.Dir, e.Name()), []byte("damaged"), 0o600))
	}
	again, err := scan.Scan(t.Context(), l, l.Root(), o)
	if diff := cmp.Diff(cold, again); diff != "" || err != nil {
		t.Errorf("%v (-cold +again)\n%s", err, diff)
	}
}
