package feeds_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/sharedtest"
)

func TestSyncSharedData(t *testing.T) {
	root := sharedtest.Dir(t, "data")
	dir := t.TempDir()
	cfg := feeds.Config{Sources: []feeds.Source{
		{Name: "osv", URL: "file://" + filepath.Join(root, "vulndb")},
		{Name: "nvd", URL: "file://" + filepath.Join(root, "nvd")},
	}}
	started := time.Now()
	res := sync(t, dir, cfg)
	t.Logf("first sync took %s", time.Since(started))
	if res.Failed() || !res.Changed {
		t.Fatalf("first sync: %+v", res)
	}
	for _, f := range res.Feeds {
		t.Logf("%s %s: %d records, %d skipped, newest %s, %d bytes", f.Source, f.Ecosystem, f.Records, f.Skipped, f.Newest.Format(time.DateOnly), f.Size)
		if f.Records == 0 || f.Skipped > f.Records/100 {
			t.Errorf("%s: %d records, %d skipped", f.Ecosystem, f.Records, f.Skipped)
		}
	}
	store, err := advisory.OpenStore(feeds.IndexDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	snapshot, ok := store.Current()
	if !ok {
		t.Fatal("no index")
	}
	defer snapshot.Release()
	for _, key := range []struct {
		ecosystem, pkg, id string
	}{
		{"Debian:12", "openssl", "DEBIAN-CVE-2023-0286"},
		{"Debian:12", "zlib", "DEBIAN-CVE-2023-45853"},
		{"npm", "lodash", "GHSA-29mw-wpgm-hmr9"},
		{"Go", "stdlib", "GO-2023-2102"},
		{"Go", "golang.org/x/net", "GO-2023-2102"},
		{"Alpine:v3.20", "musl", "ALPINE-CVE-2025-26519"},
		{"PyPI", "Django", ""},
	} {
		found, err := snapshot.Lookup(key.ecosystem, key.pkg)
		if err != nil || len(found) == 0 {
			t.Errorf("%s %s: %d advisories, %v", key.ecosystem, key.pkg, len(found), err)
			continue
		}
		t.Logf("%s %s: %d advisories", key.ecosystem, key.pkg, len(found))
		if key.id != "" && !hasID(found, key.id) {
			t.Errorf("%s %s: no %s", key.ecosystem, key.pkg, key.id)
		}
	}
	if score, ok, err := snapshot.Score("CVE-2023-0042"); !ok || err != nil || score.Base != 6.1 {
		t.Errorf("CVE-2023-0042: %+v, %v, %v", score, ok, err)
	}
	files, _ := filepath.Glob(filepath.Join(feeds.IndexDir(dir), "*.idx"))
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		opening := time.Now()
		ix, err := advisory.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, opened in %s", filepath.Base(file), info.Size(), time.Since(opening))
		ix.Close()
	}
	started = time.Now()
	if res := sync(t, dir, cfg); res.Changed || res.Failed() || res.Revision != snapshot.Revision() {
		t.Errorf("second sync: %+v", res)
	}
	t.Logf("second sync took %s", time.Since(started))
}

func hasID(found []advisory.Advisory, id string) bool {
	for _, a := range found {
		if a.ID == id {
			return true
		}
	}
	return false
}

// BenchmarkSharedSync indexes all shared data from nothing.
func BenchmarkSharedSync(b *testing.B) {
	cfg := sharedConfig(b)
	for b.Loop() {
		sync(b, b.TempDir(), cfg)
	}
}

// BenchmarkSharedLookup looks up every source package that the shared Debian
// data name, as a scan of a large image does.
func BenchmarkSharedLookup(b *testing.B) {
	dir := b.TempDir()
	sync(b, dir, sharedConfig(b))
	records, _, err := feeds.UnzipAll(sharedtest.Dir(b, "data", "vulndb", "Debian", "all.zip"))
	if err != nil {
		b.Fatal(err)
	}
	packages := map[string]bool{}
	for _, raw := range records {
		advisories, err := advisory.FromOSV([]byte(raw))
		if err != nil {
			b.Fatal(err)
		}
		for _, a := range advisories {
			packages[a.Package] = true
		}
	}
	s := current(b, dir)
	found := 0
	for b.Loop() {
		found = 0
		for name := range packages {
			found += lookup(b, s, "Debian:12", name)
		}
	}
	b.ReportMetric(float64(len(packages)), "packages")
	b.ReportMetric(float64(found), "advisories")
}

func sharedConfig(t testing.TB) feeds.Config {
	return feeds.Config{Sources: []feeds.Source{
		{Name: "osv", URL: "file://" + sharedtest.Dir(t, "data", "vulndb"), Ecosystems: []string{
			"AlmaLinux", "Alpine", "Bitnami", "Debian", "Go", "Maven", "NuGet", "Packagist", "PyPI", "RubyGems", "crates.io", "npm",
		}},
		{Name: "nvd", URL: "file://" + sharedtest.Dir(t, "data", "nvd")},
	}}
}
