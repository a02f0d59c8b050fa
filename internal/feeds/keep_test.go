package feeds_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
)

// dump is an all.zip with one record for each package, all of one day.
func dump(t *testing.T, ecosystem, day string, packages ...string) []byte {
	t.Helper()
	records := map[string]string{}
	for _, p := range packages {
		records[p+".json"] = fmt.Sprintf(`{"id": "X-%s", "modified": "%sT00:00:00Z", "affected": [{"package": {"ecosystem": %q, "name": %q}, "versions": ["1"]}]}`, p, day, ecosystem, p)
	}
	return zipped(t, records)
}

// has fails the test unless exactly the packages with a "+" are in the index.
func has(t *testing.T, dir string, packages ...string) {
	t.Helper()
	s := current(t, dir)
	for _, p := range packages {
		ecosystem, name, _ := strings.Cut(p[1:], " ")
		if n := lookup(t, s, ecosystem, name); (n > 0) != (p[0] == '+') {
			t.Errorf("%s: %d advisories", p, n)
		}
	}
}

// imported is a data directory with downloads of a Monday, and the bundle of a
// Friday imported over them; the mirror has what it had on Monday.
func imported(t *testing.T) (m *mirror, dir string, monday advisory.Revision) {
	t.Helper()
	m, dir = newMirror(t), t.TempDir()
	files := map[string][]byte{"osv/Debian/all.zip": dump(t, "Debian:12", "2026-06-01", "tar"), "osv/npm/all.zip": dump(t, "npm", "2026-06-01", "a")}
	set := func(files map[string][]byte) {
		m.set(func(m *mirror) {
			for name, body := range files {
				m.files[name] = body
			}
		})
	}
	set(files)
	monday = sync(t, dir, m.config()).Revision
	set(map[string][]byte{
		"osv/Debian/all.zip": dump(t, "Debian:12", "2026-06-05", "tar", "zlib"), "osv/npm/all.zip": dump(t, "npm", "2026-06-05", "a", "b"),
		"osv/PyPI/all.zip": dump(t, "PyPI", "2026-06-05", "flask"), "nvd/nvdcve-2.0-2023.json.gz": gzipped(t, []byte(`{"vulnerabilities": []}`)),
	})
	cfg := m.config()
	cfg.Sources[0].Ecosystems = append(cfg.Sources[0].Ecosystems, "PyPI")
	from, bundle := t.TempDir(), filepath.Join(t.TempDir(), "b.zst")
	sync(t, from, cfg)
	if _, err := feeds.Export(t.Context(), from, bundle, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := feeds.Import(t.Context(), dir, bundle, feeds.ImportOptions{Unsigned: true}); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "+Debian:12 zlib", "+npm b", "+PyPI flask")
	files["nvd/nvdcve-2.0-2023.json.gz"] = fixtures(t)["nvd/nvdcve-2.0-2023.json.gz"]
	set(files)
	return m, dir, monday
}

// TestSyncKeepsWhatWasImported: neither sources that fail nor ones that still
// have the older data replace the data of a bundle.
func TestSyncKeepsWhatWasImported(t *testing.T) {
	t.Parallel()
	m, dir, monday := imported(t)
	before, _ := feeds.List(dir)
	m.set(func(m *mirror) {
		m.fault = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true }
	})
	for _, name := range []string{"failing", "older", "older again"} {
		res := sync(t, dir, m.config())
		if res.Changed || res.Revision.Digest == monday.Digest {
			t.Errorf("%s: %+v", name, res)
		}
		has(t, dir, "+Debian:12 zlib", "+npm b", "+PyPI flask")
		if states(res) != "Debian failed, npm failed, NVD "+map[bool]string{true: "failed", false: "unchanged"}[name == "failing"] {
			t.Errorf("%s: %s", name, states(res))
		}
		for _, f := range res.Feeds[:2] {
			if !f.Kept || !f.Synced.Equal(before[0].Synced) || f.Newest.Format(time.DateOnly) != "2026-06-05" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		m.set(func(m *mirror) { m.fault = nil })
	}
	if list, err := feeds.List(dir); err != nil || len(list) != 4 {
		t.Errorf("what is not configured here has no age any more: %+v, %v", list, err)
	}
}

// TestSyncTakesNewerData: a source that delivers something newer than the bundle
// is taken, beside the data that are kept; then it stays.
func TestSyncTakesNewerData(t *testing.T) {
	t.Parallel()
	m, dir, _ := imported(t)
	m.set(func(m *mirror) { m.files["osv/npm/all.zip"] = dump(t, "npm", "2026-06-09", "a", "c") })
	res := sync(t, dir, m.config())
	if states(res) != "Debian failed, npm ok, NVD unchanged" || !res.Changed || res.Feeds[1].Kept || !res.Feeds[0].Kept || !res.Feeds[2].Kept {
		t.Errorf("%+v", res)
	}
	has(t, dir, "+Debian:12 zlib", "-npm b", "+npm c", "+PyPI flask")
	s := current(t, dir)
	if c, ok := s.Covers("Debian:12"); !ok || c.Records != 2 || !c.Synced.Equal(res.Feeds[0].Synced) {
		t.Errorf("coverage of what is kept: %+v", c)
	}
	if _, ok := s.Covers("PyPI"); !ok {
		t.Error("no coverage of what is not configured here")
	}
	if again := sync(t, dir, m.config()); again.Changed || again.Revision != res.Revision {
		t.Errorf("built again without news: %+v", again)
	}
	// Scores have dates of none of their records here: what came later is newer.
	m.set(func(m *mirror) {
		m.files["osv/Debian/all.zip"] = dump(t, "Debian:12", "2026-06-05", "tar", "xz")
		m.files["nvd/nvdcve-2.0-2023.json.gz"] = gzipped(t, []byte(`{"vulnerabilities": [{"cve": {"id": "CVE-2023-1", "vulnStatus": "Rejected"}}]}`))
	})
	res = sync(t, dir, m.config())
	if states(res) != "Debian ok, npm unchanged, NVD ok" || res.Feeds[0].Kept || res.Feeds[2].Kept {
		t.Errorf("%+v", res)
	}
	has(t, dir, "-Debian:12 zlib", "+Debian:12 xz", "+npm c", "+PyPI flask")
}

// TestMirrorGoesBack: a dump that is older than the data in force is a failure
// of the source; a record that was withdrawn does not make one older.
func TestMirrorGoesBack(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	m.set(func(m *mirror) { m.files["osv/Debian/all.zip"] = dump(t, "Debian:12", "2026-04-30", "xz") })
	for range 2 {
		res := sync(t, dir, m.config())
		if states(res) != "Debian failed, npm unchanged, NVD unchanged" || res.Changed || !res.Feeds[0].Synced.Equal(first.Feeds[0].Synced) || !strings.Contains(res.Feeds[0].Error, "older data") {
			t.Errorf("%+v", res)
		}
		has(t, dir, "+Debian:12 openssl", "-Debian:12 xz")
	}
	m.set(func(m *mirror) {
		m.files["osv/Debian/all.zip"] = zipped(t, map[string]string{
			"a.json": `{"id": "A", "modified": "2026-04-30T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "xz"}, "versions": ["1"]}]}`,
			"b.json": `{"id": "DEBIAN-CVE-2023-0286", "modified": "2026-05-02T00:00:00Z", "withdrawn": "2026-05-02T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl"}, "versions": ["1"]}]}`,
			"c.json": `{"id": "AHEAD", "modified": "2999-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "y"}, "versions": ["1"]}]}`,
		})
	})
	if res := sync(t, dir, m.config()); states(res) != "Debian ok, npm unchanged, NVD unchanged" || !res.Changed || res.Feeds[0].Newest.Format(time.DateOnly) != "2026-05-02" {
		t.Errorf("%+v", res)
	}
	has(t, dir, "-Debian:12 openssl", "+Debian:12 xz", "+Debian:12 y")
}

// TestImportOfOlderFeed: a bundle that is newer as a whole does not put older
// data of one source in the place of newer ones.
func TestImportOfOlderFeed(t *testing.T) {
	t.Parallel()
	m, from, dir, bundle := newMirror(t), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "b.zst")
	m.set(func(m *mirror) { m.files["osv/npm/all.zip"] = dump(t, "npm", "2026-06-01", "a") })
	sync(t, from, m.config())
	m.set(func(m *mirror) { m.files["osv/npm/all.zip"] = dump(t, "npm", "2026-06-02", "b") })
	sync(t, dir, m.config())
	m.set(func(m *mirror) {
		delete(m.files, "osv/npm/all.zip")
		m.files["osv/Debian/all.zip"] = dump(t, "Debian:12", "2026-06-03", "tar")
	})
	sync(t, from, m.config())
	if _, err := feeds.Export(t.Context(), from, bundle, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := feeds.Import(t.Context(), dir, bundle, feeds.ImportOptions{Unsigned: true}); !errors.Is(err, feeds.ErrOlderBundle) || !strings.Contains(err.Error(), "npm") {
		t.Errorf("%v", err)
	}
	if _, err := feeds.Import(t.Context(), dir, bundle, feeds.ImportOptions{Unsigned: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "+npm a", "+Debian:12 tar")
	m.set(func(m *mirror) {
		m.fault = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true }
	})
	if res := sync(t, dir, m.config()); !res.Feeds[0].Kept || res.Feeds[1].Kept {
		t.Errorf("%+v", res)
	}
	has(t, dir, "+npm b", "-npm a", "+Debian:12 tar")
}
