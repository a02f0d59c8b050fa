package main_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// lockoutFeed is a folder in the shape of an OSV mirror that knows two things of
// Alpine 3.20: the vulnerability of imagetest.VulnerableSSL, and one more of the
// same package that is renewed at will and that no test image has.
type lockoutFeed struct {
	dir   string
	round int
}

func newLockoutFeed(t testing.TB) *lockoutFeed {
	t.Helper()
	f := &lockoutFeed{dir: t.TempDir()}
	f.renew(t)
	return f
}

// settings point the feeds at the folder.
func (f *lockoutFeed) settings() []string {
	return []string{"--set", fmt.Sprintf(`feeds.sources=[{name: osv, url: "file://%s", ecosystems: [Alpine]}]`, f.dir)}
}

// renew publishes other data: every image with the package is judged again, and
// no verdict changes.
func (f *lockoutFeed) renew(t testing.TB) {
	t.Helper()
	f.round++
	dir := filepath.Join(f.dir, "Alpine")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(file)
	for id, fixed := range map[string]string{"CVE-2025-15467": "3.3.6-r0", "CVE-2020-0001": fmt.Sprintf("3.0.%d-r0", f.round)} {
		entry, err := w.Create("ALPINE-" + id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(entry).Encode(opensslAdvisory(id, fixed)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file.Name(), filepath.Join(dir, "all.zip")); err != nil {
		t.Fatal(err)
	}
}

// opensslAdvisory is a vulnerability of openssl with a high severity, in OSV's
// form.
func opensslAdvisory(id, fixed string) map[string]any {
	return map[string]any{
		"schema_version": "1.7.3", "id": "ALPINE-" + id, "upstream": []string{id}, "details": id + " in openssl",
		"published": "2026-05-20T00:00:00Z", "modified": "2026-05-20T00:00:00Z",
		"severity": []map[string]string{{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H"}},
		"affected": []map[string]any{{
			"package": map[string]string{"ecosystem": "Alpine:v3.20", "name": "openssl"},
			"ranges":  []map[string]any{{"type": "ECOSYSTEM", "events": []map[string]string{{"introduced": "0"}, {"fixed": fixed}}}},
		}},
	}
}

// syncInto brings the data of the folder into a data folder, which a running
// server may have open.
func (f *lockoutFeed) syncInto(t testing.TB, dataDir string) {
	t.Helper()
	args := append([]string{"feeds", "sync", "--set", "data_dir=" + dataDir}, f.settings()...)
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		t.Errorf("feeds sync: %v\n%s", err, out)
	}
}

// serveLockouts starts a server on the data of a feed of its own.
func serveLockouts(t testing.TB, settings ...string) (*server, *lockoutFeed) {
	t.Helper()
	feed, dataDir := newLockoutFeed(t), filepath.Join(t.TempDir(), "data")
	feed.syncInto(t, dataDir)
	return serve(t, dataDir, append(feed.settings(), settings...)...), feed
}
