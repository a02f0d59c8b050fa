package feeds_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/sharedtest"
)

// vex is a document about one package of RHEL 9: what list has it in, why there
// is no fix, and when that was said.
func vex(cve, pkg, list, remediation, when string) string {
	return fmt.Sprintf(`{"document": {"category": "csaf_vex", "tracking": {"id": %q, "status": "final", "current_release_date": %q}},
	 "product_tree": {"branches": [
	  {"category": "product_name", "name": "r", "product": {"name": "RHEL 9", "product_id": "rhel9", "product_identification_helper": {"cpe": "cpe:/o:redhat:enterprise_linux:9"}}},
	  {"category": "product_version", "name": "p", "product": {"name": %[3]q, "product_id": %[3]q, "product_identification_helper": {"purl": "pkg:rpm/redhat/%[3]s"}}}],
	  "relationships": [{"category": "default_component_of", "full_product_name": {"name": "x", "product_id": "rhel9:x"}, "product_reference": %[3]q, "relates_to_product_reference": "rhel9"}]},
	 "vulnerabilities": [{"cve": %[1]q, "product_status": {%[4]q: ["rhel9:x"]}, "remediations": [{"category": %[5]q, "details": "", "product_ids": ["rhel9:x"]}]}]}`,
		cve, when, pkg, list, remediation)
}

// csafFolder is a publisher of documents like Red Hat: files by path.
func csafFolder(t testing.TB, day string, documents map[string]string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{
		"vex/archive_latest.txt": []byte("csaf_vex_" + day + ".tar.zst\n"), "vex/csaf_vex_" + day + ".tar.zst": tarred(t, documents),
		"vex/changes.csv": nil, "vex/deletions.csv": nil,
	}
	for name, text := range documents {
		files["vex/"+name] = []byte(text)
	}
	return files
}

func tarred(t testing.TB, documents map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(documents[name]))})
		if err == nil {
			_, err = w.Write([]byte(documents[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// csafMirror serves a folder, and tells the configuration for it.
func csafMirror(t *testing.T, files map[string][]byte) (*mirror, feeds.Config) {
	m := newMirror(t)
	m.files = files
	return m, feeds.Config{Sources: []feeds.Source{{Name: "redhat", Type: "csaf", URL: m.URL + "/vex"}}}
}

// stated gives "ID status" of what the newest index has about a package.
func stated(t testing.TB, dir, ecosystem, pkg string) string {
	t.Helper()
	all, err := current(t, dir).Lookup(ecosystem, pkg)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, a := range all {
		lines = append(lines, strings.TrimSpace(a.ID+" "+a.Status))
	}
	return strings.Join(lines, ", ")
}

const rhel9 = "Red Hat:enterprise_linux:9"

var threeDocuments = map[string]string{
	"2024/cve-2024-0001.json": vex("CVE-2024-0001", "curl", "known_affected", "no_fix_planned", "2026-05-01T00:00:00Z"),
	"2024/cve-2024-0002.json": vex("CVE-2024-0002", "curl", "known_affected", "none_available", "2026-05-01T00:00:00Z"),
	"2023/cve-2023-0003.json": vex("CVE-2023-0003", "bash", "known_not_affected", "", "2026-05-01T00:00:00Z"),
}

func TestCSAFArchiveAndChanges(t *testing.T) {
	t.Parallel()
	m, cfg := csafMirror(t, csafFolder(t, "2026-06-01", threeDocuments))
	dir := t.TempDir()
	first := sync(t, dir, cfg)
	if states(first) != "CSAF ok" || first.Feeds[0].Records != 3 || first.Feeds[0].Skipped != 0 || len(first.Warnings) != 0 {
		t.Fatalf("%+v", first)
	}
	if got := stated(t, dir, rhel9, "curl"); got != "CVE-2024-0001 will-not-fix, CVE-2024-0002 affected" {
		t.Errorf("curl: %s", got)
	}
	if c, ok := current(t, dir).Covers(rhel9); !ok || c.Records != 3 || c.Source != "redhat" {
		t.Errorf("coverage: %+v", c)
	}
	bodies := m.full
	if again := sync(t, dir, cfg); states(again) != "CSAF unchanged" || m.full != bodies {
		t.Errorf("%d bodies more: %+v", m.full-bodies, again)
	}
	m.set(func(m *mirror) {
		m.files["vex/2024/cve-2024-0002.json"] = []byte(vex("CVE-2024-0002", "curl", "known_not_affected", "", "2026-06-02T00:00:00Z"))
		m.files["vex/2026/cve-2026-0004.json"] = []byte(vex("CVE-2026-0004", "curl", "under_investigation", "", "2026-06-02T10:00:00Z"))
		m.files["vex/2026/cve-2026-0005.json"] = []byte(vex("CVE-2026-9999", "curl", "known_affected", "", "2026-06-02T10:00:00Z"))
		m.files["vex/changes.csv"] = []byte("\"2026/cve-2026-0004.json\",\"2026-06-02T10:00:00+00:00\"\n\"2026/cve-2026-0005.json\",\"2026-06-02T10:00:00+00:00\"\n" +
			"\"2024/cve-2024-0002.json\",\"2026-06-02T00:00:00+00:00\"\n\"2024/cve-2024-0001.json\",\"2026-05-01T00:00:00+00:00\"\n\"../secret.json\",\"2026-06-02T00:00:00+00:00\"\n")
		m.files["vex/deletions.csv"] = []byte("\"2023/cve-2023-0003.json\",\"2026-06-02T00:00:00+00:00\"\n")
	})
	second := sync(t, dir, cfg)
	if states(second) != "CSAF ok" || !second.Changed || len(second.Warnings) != 1 || !strings.Contains(second.Warnings[0], "1 documents could not be read, such as 2026/cve-2026-0005.json") {
		t.Fatalf("%+v", second)
	}
	if n := m.full - bodies; n != 5 {
		t.Errorf("%d bodies, want two lists and three documents", n)
	}
	if got := stated(t, dir, rhel9, "curl"); got != "CVE-2024-0001 will-not-fix, CVE-2024-0002 not-affected, CVE-2026-0004 under-investigation" {
		t.Errorf("curl: %s", got)
	}
	if got := stated(t, dir, rhel9, "bash"); got != "" || second.Feeds[0].Records != 3 {
		t.Errorf("bash, deleted: %s; %+v", got, second.Feeds[0])
	}
	bodies = m.full
	if third := sync(t, dir, cfg); states(third) != "CSAF unchanged" || third.Changed || m.full != bodies {
		t.Errorf("%d bodies more: %+v", m.full-bodies, third)
	}
}

func TestCSAFManyChanges(t *testing.T) {
	t.Parallel()
	m, cfg := csafMirror(t, csafFolder(t, "2026-06-01", threeDocuments))
	dir := t.TempDir()
	sync(t, dir, cfg)
	var list strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&list, "\"2026/cve-2026-%04d.json\",\"2026-06-02T10:00:00+00:00\"\n", i)
	}
	m.set(func(m *mirror) { m.files["vex/changes.csv"] = []byte(list.String()) })
	if behind := sync(t, dir, cfg); behind.Failed() || behind.Changed || len(behind.Warnings) != 1 || !strings.Contains(behind.Warnings[0], "come with the next archive") {
		t.Errorf("%+v", behind)
	}
	m.set(func(m *mirror) {
		m.files = csafFolder(t, "2026-06-04", map[string]string{"2024/cve-2024-0001.json": vex("CVE-2024-0001", "curl", "known_not_affected", "", "2026-06-02T10:00:00Z")})
		m.files["vex/changes.csv"] = []byte(list.String())
	})
	after := sync(t, dir, cfg)
	if states(after) != "CSAF ok" || len(after.Warnings) != 0 {
		t.Errorf("%+v", after)
	}
	if got := stated(t, dir, rhel9, "curl"); got != "CVE-2024-0001 not-affected" {
		t.Errorf("curl: %s", got)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "feeds", "redhat", "CSAF", "*archive.tar")); len(kept) != 1 {
		t.Errorf("archives kept: %v", kept)
	}
}

// TestDamagedCSAFOverlay: what was fetched by itself and cannot be read is fetched
// again, with or without news.
func TestDamagedCSAFOverlay(t *testing.T) {
	t.Parallel()
	for _, news := range []bool{false, true} {
		m, cfg := csafMirror(t, csafFolder(t, "2026-06-01", threeDocuments))
		dir := t.TempDir()
		m.set(func(m *mirror) {
			m.files["vex/2026/cve-2026-0004.json"] = []byte(vex("CVE-2026-0004", "curl", "known_affected", "", "2026-06-02T10:00:00Z"))
			m.files["vex/changes.csv"] = []byte("2026/cve-2026-0004.json,2026-06-02T10:00:00+00:00\n")
		})
		sync(t, dir, cfg)
		overlays, _ := filepath.Glob(filepath.Join(dir, "feeds", "redhat", "CSAF", "*-overlay.jsonl"))
		if len(overlays) != 1 {
			t.Fatal(overlays)
		}
		info, err := os.Stat(overlays[0])
		if err == nil {
			err = os.WriteFile(overlays[0], make([]byte, info.Size()), 0o600)
		}
		if err == nil {
			err = os.RemoveAll(feeds.IndexDir(dir))
		}
		if err != nil {
			t.Fatal(err)
		}
		if news {
			m.set(func(m *mirror) {
				m.files["vex/deletions.csv"] = []byte("2023/cve-2023-0003.json,2026-06-02T00:00:00+00:00\n")
			})
		}
		sync(t, dir, cfg)
		if res := sync(t, dir, cfg); res.Failed() {
			t.Errorf("%+v", res)
		}
		if got := stated(t, dir, rhel9, "curl"); !strings.Contains(got, "CVE-2026-0004 affected") {
			t.Errorf("curl: %s", got)
		}
	}
}

// TestCSAFOfSUSE: the archive stands beside the folder, and is one of bzip2.
func TestCSAFOfSUSE(t *testing.T) {
	t.Parallel()
	archive, err := os.ReadFile("testdata/csaf-vex.tar.bz2")
	if err != nil {
		t.Fatal(err)
	}
	m, cfg := csafMirror(t, map[string][]byte{"vex.tar.bz2": archive})
	dir := t.TempDir()
	if res := sync(t, dir, cfg); states(res) != "CSAF ok" || res.Feeds[0].Records != 1 || len(res.Warnings) != 0 {
		t.Fatalf("%+v", res)
	}
	const sles = "SUSE:Linux Enterprise Server 15 SP5"
	if got := stated(t, dir, sles, "libpcre1.rpm") + "; " + stated(t, dir, sles, "pcre"); got != "CVE-2024-2222; CVE-2024-2222 will-not-fix" {
		t.Errorf("pcre: %s", got)
	}
	bodies := m.full
	if again := sync(t, dir, cfg); again.Failed() || again.Changed || m.full != bodies {
		t.Errorf("%+v", again)
	}
}

func TestCSAFFaults(t *testing.T) {
	t.Parallel()
	good := csafFolder(t, "2026-06-01", threeDocuments)
	name := "vex/csaf_vex_2026-06-01.tar.zst"
	for fault, change := range map[string]func(files map[string][]byte){
		"nothing is there":   func(files map[string][]byte) { clear(files) },
		"name outside":       func(files map[string][]byte) { files["vex/archive_latest.txt"] = []byte("../../x.tar.zst") },
		"page for the name":  func(files map[string][]byte) { files["vex/archive_latest.txt"] = []byte("<html>") },
		"archive is a page":  func(files map[string][]byte) { files[name] = []byte("<html>captive portal</html>") },
		"archive is empty":   func(files map[string][]byte) { files[name] = nil },
		"archive of nothing": func(files map[string][]byte) { files[name] = tarred(t, nil) },
		"no documents": func(files map[string][]byte) {
			files[name] = tarred(t, map[string]string{"a.json": "{}", "b.txt": "x"})
		},
		"list is a page":     func(files map[string][]byte) { files["vex/changes.csv"] = []byte("<html>\n") },
		"list without times": func(files map[string][]byte) { files["vex/deletions.csv"] = []byte("a.json,b\n") },
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			m, cfg := csafMirror(t, maps.Clone(good))
			m.set(func(m *mirror) { change(m.files) })
			dir := t.TempDir()
			if res := sync(t, dir, cfg); !res.Failed() || res.Feeds[0].Error == "" {
				t.Errorf("%+v", res.Feeds)
			}
			m.set(func(m *mirror) { m.files = maps.Clone(good) })
			if res := sync(t, dir, cfg); res.Failed() || res.Feeds[0].Records != 3 {
				t.Errorf("does not recover: %+v", res.Feeds)
			}
		})
	}
}

// TestCSAFGaps: what is not understood is counted and told, round after round.
func TestCSAFGaps(t *testing.T) {
	t.Parallel()
	documents := maps.Clone(threeDocuments)
	documents["2024/broken.json"] = "{"
	documents["2024/bomb.json"] = strings.Repeat(" ", advisory.MaxCSAF+1)
	documents["2024/cve-2024-0006.json"] = strings.Replace(vex("CVE-2024-0006", "curl", "known_affected", "", "2026-05-01T00:00:00Z"), `["rhel9:x"]`, `["rhel9:x", "rhel9:nowhere"]`, 1)
	m, cfg := csafMirror(t, csafFolder(t, "2026-06-01", documents))
	dir := t.TempDir()
	for range 2 {
		res := sync(t, dir, cfg)
		f := res.Feeds[0]
		if f.Records != 4 || f.Skipped != 2 || f.Unclear != 1 || f.UnclearExample != "rhel9:nowhere" {
			t.Errorf("%+v", f)
		}
		if len(res.Warnings) != 1 || res.Warnings[0] != `redhat: what is said of 1 product ids could not be understood, such as "rhel9:nowhere"` {
			t.Errorf("%q", res.Warnings)
		}
	}
	m.Close()
	if f := sync(t, dir, cfg).Feeds[0]; f.State != feeds.StateFailed || f.Records != 4 || f.Unclear != 1 {
		t.Errorf("%+v", f)
	}
}

// TestSharedCSAFDocuments takes the documents of vendors from a local folder.
func TestSharedCSAFDocuments(t *testing.T) {
	t.Parallel()
	documents := map[string]string{}
	for _, name := range []string{"redhat-vex-cve-2021-0084.json", "redhat-vex-cve-2024-24786-simple.json", "rhsa-2022-0011.json", "rhsa-2024_6163.json"} {
		raw, err := os.ReadFile(sharedtest.Dir(t, "data", "formats", "csaf", name))
		if err != nil {
			t.Fatal(err)
		}
		documents["2024/"+name] = string(raw)
	}
	root := t.TempDir()
	for name, content := range csafFolder(t, "2026-06-01", documents) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	cfg := feeds.Config{Sources: []feeds.Source{{Name: "redhat", Type: "csaf", URL: "file://" + root + "/vex"}}}
	res, err := feeds.Sync(context.Background(), dir, cfg, http.DefaultClient, nil)
	if err != nil || res.Failed() || res.Feeds[0].Skipped != 0 || res.Feeds[0].Unclear != 0 {
		t.Fatalf("%v %+v", err, res)
	}
	if got := stated(t, dir, rhel9, "kernel.src"); got != "CVE-2021-0084 not-affected" {
		t.Errorf("kernel: %s", got)
	}
	later := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	if err := os.WriteFile(filepath.Join(root, "vex", "2021.json"), []byte(vex("2021", "kernel", "known_affected", "", later)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "vex", "changes.csv"), []byte("2021.json,"+later+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res = sync(t, dir, cfg); res.Failed() || !res.Changed || stated(t, dir, rhel9, "kernel") == "CVE-2021-0084 not-affected" {
		t.Errorf("%+v", res)
	}
}

// FuzzCSAFFolder: an archive and a list of any content end, with an error or
// without.
func FuzzCSAFFolder(f *testing.F) {
	f.Add(tarred(f, threeDocuments), []byte("2024/cve-2024-0001.json,2026-05-01T00:00:00Z\n"))
	bz, err := os.ReadFile("testdata/csaf-vex.tar.bz2")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bz, []byte("\"a\",\"b\"\n"))
	f.Fuzz(func(t *testing.T, archive, list []byte) {
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		_ = feeds.EachDocument(context.Background(), path, func([]byte, error) error {
			if n++; n > 1000 {
				return context.Canceled // a small file may hold many
			}
			return nil
		})
		if err := os.WriteFile(path, list, 0o600); err != nil {
			t.Fatal(err)
		}
		times, err := feeds.ReadCSAFList(path, time.Time{})
		for name := range times {
			if err == nil && (strings.Contains(name, "..") && strings.Contains(name, "/..") || strings.HasPrefix(name, "/")) {
				t.Errorf("path %q", name)
			}
		}
	})
}
