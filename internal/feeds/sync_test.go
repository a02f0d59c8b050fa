package feeds_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
)

func TestSyncFromFiles(t *testing.T) {
	t.Parallel()
	root, dir := writeFixtures(t), t.TempDir()
	cfg := feeds.Config{Sources: []feeds.Source{
		{Name: "osv", URL: "file://" + root + "/osv", Ecosystems: []string{"Debian", "npm"}},
		{Name: "nvd", URL: "file://" + root + "/nvd"},
	}}
	var steps []feeds.Progress
	res, err := feeds.Sync(context.Background(), dir, cfg, nil, func(p feeds.Progress) { steps = append(steps, p) })
	if err != nil {
		t.Fatal(err)
	}
	if got := states(res); got != "Debian ok, npm ok, NVD ok" || !res.Changed || res.Revision.Sequence != 1 || len(res.Warnings) != 0 {
		t.Fatalf("%s, %+v", got, res)
	}
	if d := res.Feeds[0]; d.Records != 2 || d.Skipped != 1 || d.Newest.Format(time.DateOnly) != "2026-05-01" || d.Synced.IsZero() || d.Size == 0 {
		t.Errorf("Debian: %+v", d)
	}
	if n := res.Feeds[2]; n.Records != 2 || n.Skipped != 1 {
		t.Errorf("NVD: %+v", n)
	}
	if len(steps) == 0 || steps[0].Step != "download" || steps[len(steps)-1].Step != "index" {
		t.Errorf("progress: %+v", steps)
	}
	s := current(t, dir)
	for _, want := range []struct {
		ecosystem, pkg string
		n              int
	}{
		{"Debian:12", "openssl", 1}, {"Debian:11", "openssl", 1}, {"Debian:12", "tar", 1}, {"npm", "lodash", 1}, {"npm", "1odash", 1},
		{"Debian:12", "node-lodash", 1}, // named by a record of npm, and Debian is asked for
		{"RubyGems", "lodash-rails", 0}, // not asked for
		{"NVD", "cpe:2.3:a:openssl:openssl", 1},
	} {
		if n := lookup(t, s, want.ecosystem, want.pkg); n != want.n {
			t.Errorf("%s %s: %d advisories, want %d", want.ecosystem, want.pkg, n, want.n)
		}
	}
	if c, ok := s.Covers("Debian:12"); !ok || c.Records != 2 || c.Source != "osv" {
		t.Errorf("coverage of Debian:12: %+v", c)
	}
	if _, ok := s.Covers("RubyGems"); ok {
		t.Error("RubyGems is covered")
	}
	if score, ok, err := s.Score("CVE-2023-0286"); !ok || err != nil || score.Base != 7.4 {
		t.Errorf("score: %+v, %v, %v", score, ok, err)
	}
	list, err := feeds.List(dir)
	if err != nil || len(list) != 3 || list[0] != res.Feeds[0].Status {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func TestSyncAgainAsksOnlyForNews(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	bodies := m.full
	second := sync(t, dir, m.config())
	if m.full != bodies || second.Changed || second.Revision != first.Revision || states(second) != "Debian unchanged, npm unchanged, NVD unchanged" {
		t.Errorf("%d bodies then %d; %+v", bodies, m.full, second)
	}
	if !second.Feeds[0].Synced.After(first.Feeds[0].Synced) || second.Feeds[0].Records != 2 {
		t.Errorf("sync time stands still: %+v", second.Feeds[0])
	}
	if c, _ := current(t, dir).Covers("Debian:12"); !c.Synced.Equal(second.Feeds[0].Synced) {
		t.Errorf("coverage synced %s, want %s", c.Synced, second.Feeds[0].Synced)
	}
	m.set(func(m *mirror) {
		m.files["osv/npm/all.zip"] = zipped(t, map[string]string{"MAL-2025-2.json": `{"id": "MAL-2025-2", "affected": [{"package": {"ecosystem": "npm", "name": "l0dash"}, "versions": ["1"]}]}`})
	})
	third := sync(t, dir, m.config())
	if !third.Changed || third.Revision.Sequence != 2 || states(third) != "Debian unchanged, npm ok, NVD unchanged" {
		t.Errorf("after a change: %+v", third)
	}
	s := current(t, dir)
	if lookup(t, s, "npm", "l0dash") != 1 || lookup(t, s, "npm", "lodash") != 0 || lookup(t, s, "Debian:12", "openssl") != 1 {
		t.Error("the new index does not hold the new dump and the old others")
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "feeds", "osv", "npm", "*all.zip")); len(kept) != 1 {
		t.Errorf("downloads kept: %v", kept)
	}
}

func TestFailedSourceKeepsWhatItGave(t *testing.T) {
	t.Parallel()
	npm := func(answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/osv/npm/") {
				return false
			}
			answer(w, r)
			return true
		}
	}
	truncated := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write([]byte("PK"))
	}
	tests := map[string]http.HandlerFunc{
		"truncated":   truncated,
		"not found":   http.NotFound,
		"forbidden":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"garbage":     func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>captive portal</html>")) },
		"empty":       func(http.ResponseWriter, *http.Request) {},
		"no records":  func(w http.ResponseWriter, _ *http.Request) { w.Write(zipped(t, map[string]string{"a.txt": "x"})) },
		"bad records": func(w http.ResponseWriter, _ *http.Request) { w.Write(zipped(t, map[string]string{"a.json": "x"})) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/all.zip", http.StatusFound)
		},
		"308 nowhere": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPermanentRedirect) },
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, dir := newMirror(t), t.TempDir()
			first := sync(t, dir, m.config())
			m.set(func(m *mirror) { m.fault = npm(answer) })
			second := sync(t, dir, m.config())
			f := second.Feeds[1]
			if states(second) != "Debian unchanged, npm failed, NVD unchanged" || f.Error == "" || !second.Failed() || second.Changed {
				t.Errorf("%s: %+v", states(second), f)
			}
			if !f.Synced.Equal(first.Feeds[1].Synced) || !f.Tried.After(f.Synced) || f.Records != 2 || f.Size != first.Feeds[1].Size {
				t.Errorf("status was not kept: %+v", f)
			}
			s := current(t, dir)
			if c, _ := s.Covers("npm"); lookup(t, s, "npm", "lodash") != 1 || !c.Synced.Equal(f.Synced) {
				t.Errorf("data were not kept, or look fresh: %+v", c)
			}
			m.set(func(m *mirror) { m.fault = nil })
			if third := sync(t, dir, m.config()); third.Failed() || third.Feeds[1].Error != "" {
				t.Errorf("does not recover: %+v", third)
			}
		})
	}
}

func TestFirstSyncWithoutOneSource(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	m.set(func(m *mirror) { delete(m.files, "osv/npm/all.zip") })
	res := sync(t, dir, m.config())
	if states(res) != "Debian ok, npm failed, NVD ok" || !res.Changed || !res.Feeds[1].Synced.IsZero() {
		t.Errorf("%+v", res)
	}
	s := current(t, dir)
	if _, ok := s.Covers("npm"); ok || lookup(t, s, "Debian:12", "openssl") != 1 {
		t.Error("npm is covered, or Debian is not there")
	}
}

func TestNothingReachable(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	m.Close()
	second := sync(t, dir, m.config())
	if states(second) != "Debian failed, npm failed, NVD failed" || second.Changed || second.Revision != first.Revision {
		t.Errorf("%+v", second)
	}
	empty := sync(t, t.TempDir(), m.config())
	if empty.Changed || empty.Revision.Sequence != 0 || !empty.Failed() {
		t.Errorf("nothing was reachable and yet: %+v", empty)
	}
}

func TestSyncRetries(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	faults := map[string]int{}
	m.set(func(m *mirror) {
		m.fault = func(w http.ResponseWriter, r *http.Request) bool {
			faults[r.URL.Path]++
			switch {
			case r.URL.Path == "/osv/Debian/all.zip" && faults[r.URL.Path] == 1:
				w.WriteHeader(http.StatusInternalServerError)
			case r.URL.Path == "/osv/npm/all.zip" && faults[r.URL.Path] == 1:
				w.Header().Set("Content-Length", "100000")
				w.Write([]byte("PK"))
			default:
				return false
			}
			return true
		}
	})
	if res := sync(t, dir, m.config()); states(res) != "Debian ok, npm ok, NVD ok" {
		t.Errorf("%+v", res)
	}
}

func TestMissingYearsAreWarnings(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	res := sync(t, dir, m.config())
	want := time.Now().UTC().Year() - 2002 + 1 - 2
	if len(res.Warnings) != want || res.Warnings[0] != "nvd: no file of the year 2002" {
		t.Errorf("%d warnings, want %d: %q", len(res.Warnings), want, res.Warnings)
	}
}

func TestNVDFaults(t *testing.T) {
	t.Parallel()
	for name, content := range map[string][]byte{
		"not gzip":           []byte("x"),
		"not JSON":           gzipped(t, []byte("x")),
		"other JSON":         gzipped(t, []byte(`{"cves": []}`)),
		"array":              gzipped(t, []byte(`[]`)),
		"cut JSON":           gzipped(t, []byte(`{"vulnerabilities": [{"cve": {}}`)),
		"cut gzip":           gzipped(t, []byte(`{"vulnerabilities": []}`))[:20],
		"one enormous value": gzipped(t, []byte(`{"vulnerabilities": [{"cve": "`+strings.Repeat("x", 20<<20)+`"}]}`)),
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := t.TempDir(), t.TempDir()
			path := filepath.Join(root, "nvdcve-2.0-2024.json.gz")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, url := range []string{"file://" + root, "file://" + path} {
				res := sync(t, dir, feeds.Config{Sources: []feeds.Source{{Name: "nvd", URL: url}}})
				if states(res) != "NVD failed" {
					t.Errorf("%s: %+v", url, res)
				}
			}
		})
	}
}

func TestOversizedRecordIsSkipped(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	m.set(func(m *mirror) {
		m.files["osv/npm/all.zip"] = zipped(t, map[string]string{
			"bomb.json":       strings.Repeat(" ", 64<<20),
			"MAL-2025-2.json": `{"id": "MAL-2025-2", "affected": [{"package": {"ecosystem": "npm", "name": "l0dash"}, "versions": ["1"]}]}`,
		})
	})
	if f := sync(t, dir, m.config()).Feeds[1]; f.State != feeds.StateOK || f.Records != 1 || f.Skipped != 1 {
		t.Errorf("%+v", f)
	}
}

func TestDamagedFilesOnDiskAreReplaced(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	dumps, _ := filepath.Glob(filepath.Join(dir, "feeds", "osv", "npm", "*-all.zip"))
	indexes, _ := filepath.Glob(filepath.Join(feeds.IndexDir(dir), "*.idx"))
	if len(dumps) != 1 || len(indexes) != 1 {
		t.Fatalf("%v %v", dumps, indexes)
	}
	removeSegments(t, dir)
	for _, path := range append(dumps, indexes...) {
		info, err := os.Stat(path)
		if err == nil {
			err = os.WriteFile(path, make([]byte, info.Size()), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	second := sync(t, dir, m.config())
	if f := second.Feeds[1]; f.State != feeds.StateFailed || !f.Synced.Equal(first.Feeds[1].Synced) {
		t.Errorf("a damaged dump: %+v", f)
	}
	third := sync(t, dir, m.config())
	if third.Failed() || !third.Changed || third.Revision.Digest != first.Revision.Digest {
		t.Errorf("not mended: %+v", third)
	}
}

// removeSegments makes the next build read the dumps.
func removeSegments(t *testing.T, dir string) {
	t.Helper()
	for _, path := range segments(t, dir) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "feeds", "*", "*", "*.segment"))
	if err != nil || len(paths) != 3 {
		t.Fatalf("segments: %v, %v", paths, err)
	}
	return paths
}

func TestDamagedSegmentsAreMadeAnew(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	bodies := m.full
	for i, cut := range []int{0, 5, 100} {
		path := segments(t, dir)[i]
		b, err := os.ReadFile(path)
		if err == nil {
			b[len(b)-1-cut] ^= 1
			err = os.WriteFile(path, b, 0o600)
		}
		if err == nil {
			err = os.RemoveAll(feeds.IndexDir(dir))
		}
		if err != nil {
			t.Fatal(err)
		}
		if again := sync(t, dir, m.config()); again.Failed() || again.Revision.Digest != first.Revision.Digest || m.full != bodies {
			t.Errorf("%s: %+v, %d bodies then %d", path, again, bodies, m.full)
		}
	}
}

// TestAllUnreadableSegmentsAreMadeAnew: one sync makes all that it cannot read.
func TestAllUnreadableSegmentsAreMadeAnew(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	bodies := m.full
	for _, path := range segments(t, dir) {
		b, err := os.ReadFile(path)
		if err == nil {
			b[len("PRATSEG")] ^= 0xff // the version of the format
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(feeds.IndexDir(dir)); err != nil {
		t.Fatal(err)
	}
	if again := sync(t, dir, m.config()); again.Failed() || again.Revision.Digest != first.Revision.Digest || m.full != bodies {
		t.Errorf("%+v, %d bodies then %d", again, bodies, m.full)
	}
}

func TestDamagedDumpDoesNotReachTheIndex(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	first := sync(t, dir, m.config())
	dumps, _ := filepath.Glob(filepath.Join(dir, "feeds", "osv", "npm", "*-all.zip"))
	if len(dumps) != 1 {
		t.Fatal(dumps)
	}
	if err := os.WriteFile(dumps[0], make([]byte, first.Feeds[1].Size), 0o600); err != nil {
		t.Fatal(err)
	}
	removeSegments(t, dir)
	m.set(func(m *mirror) {
		m.files["osv/Debian/all.zip"] = zipped(t, map[string]string{"a.json": `{"id": "DEBIAN-CVE-1", "affected": [{"package": {"ecosystem": "Debian:12", "name": "x"}, "versions": ["1"]}]}`})
	})
	second := sync(t, dir, m.config())
	if states(second) != "Debian ok, npm failed, NVD unchanged" || second.Changed || second.Feeds[1].Records != 2 {
		t.Errorf("%+v", second)
	}
	if lookup(t, current(t, dir), "npm", "lodash") != 1 {
		t.Error("npm is gone from the index")
	}
	third := sync(t, dir, m.config())
	s := current(t, dir)
	if third.Failed() || !third.Changed || lookup(t, s, "npm", "lodash") != 1 || lookup(t, s, "Debian:12", "x") != 1 {
		t.Errorf("not mended: %+v", third)
	}
}

func TestOneSyncAtATime(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	entered, leave := make(chan struct{}), make(chan struct{})
	held := false
	m.set(func(m *mirror) {
		m.fault = func(http.ResponseWriter, *http.Request) bool {
			if !held {
				held = true
				close(entered)
				<-leave
			}
			return false
		}
	})
	done := make(chan error)
	go func() {
		_, err := feeds.Sync(context.Background(), dir, m.config(), http.DefaultClient, nil)
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := feeds.Sync(ctx, dir, m.config(), http.DefaultClient, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second sync: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOldIndexesAreRemoved(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	for i := range 4 {
		m.set(func(m *mirror) {
			m.files["osv/npm/all.zip"] = zipped(t, map[string]string{"MAL.json": `{"id": "MAL-` + strings.Repeat("1", i+1) + `", "affected": [{"package": {"ecosystem": "npm", "name": "x"}, "versions": ["1"]}]}`})
		})
		if res := sync(t, dir, m.config()); res.Revision.Sequence != uint64(i+1) {
			t.Fatalf("round %d: %+v", i, res)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(feeds.IndexDir(dir), "*.idx")); len(files) != 2 {
		t.Errorf("files kept: %v", files)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg feeds.Config
		ok  bool
	}{
		"empty":              {feeds.Config{}, true},
		"https":              {source("osv", "", "https://example.com/x"), true},
		"http loopback":      {source("osv", "", "http://127.0.0.1:8080"), true},
		"http localhost":     {source("osv", "", "http://localhost"), true},
		"file":               {source("osv", "", "file:///srv/osv"), true},
		"nvd":                {source("scores", "nvd", "https://example.com"), true},
		"ecosystem with gap": {source("osv", "", "https://example.com", "Rocky Linux", "crates.io"), true},
		"http":               {source("osv", "", "http://example.com"), false},
		"no scheme":          {source("osv", "", "/srv/osv"), false},
		"file with host":     {source("osv", "", "file://srv/osv"), false},
		"query":              {source("osv", "", "https://example.com/?a=b"), false},
		"password":           {source("osv", "", "https://u:p@example.com/"), false},
		"name":               {source("../osv", "", "https://example.com"), false},
		"type":               {source("osv", "oval", "https://example.com"), false},
		"release suffix":     {source("osv", "", "https://example.com", "Debian:12"), false},
		"path in ecosystem":  {source("osv", "", "https://example.com", "../x"), false},
		"ecosystem twice":    {source("osv", "", "https://example.com", "npm", "npm"), false},
		"nvd with ecosystem": {source("nvd", "", "https://example.com", "npm"), false},
		"short interval":     {feeds.Config{Interval: time.Second}, false},
		"same name":          {feeds.Config{Sources: append(source("a", "", "https://x.com").Sources, source("a", "", "https://y.com").Sources...)}, false},
	} {
		if err := tt.cfg.Validate(); (err == nil) != tt.ok || err != nil && !errors.Is(err, feeds.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := feeds.Sync(context.Background(), t.TempDir(), source("", "", ""), nil, nil); !errors.Is(err, feeds.ErrConfig) {
		t.Errorf("sync of a bad configuration: %v", err)
	}
}

func source(name, kind, url string, ecosystems ...string) feeds.Config {
	return feeds.Config{Sources: []feeds.Source{{Name: name, Type: kind, URL: url, Ecosystems: ecosystems}}}
}

func TestListBeforeFirstSync(t *testing.T) {
	t.Parallel()
	if list, err := feeds.List(t.TempDir()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestStatusOfManyRecords(t *testing.T) {
	t.Parallel()
	records := map[string]string{}
	for i := range 1200 {
		id := "MAL-2025-" + strconv.Itoa(i)
		records[id+".json"] = `{"id": "` + id + `", "affected": [{"package": {"ecosystem": "npm", "name": "p` + strconv.Itoa(i) + `"}, "versions": ["1"]}]}`
	}
	m, dir := newMirror(t), t.TempDir()
	m.set(func(m *mirror) { m.files["osv/npm/all.zip"] = zipped(t, records) })
	if f := sync(t, dir, m.config()).Feeds[1]; f.Records != 1200 {
		t.Errorf("%+v", f)
	}
	if c, ok := current(t, dir).Covers("npm"); !ok || c.Records != 1200 {
		t.Errorf("%+v", c)
	}
	if _, err := advisory.ReadStatus(feeds.IndexDir(dir)); err != nil {
		t.Error(err)
	}
}
