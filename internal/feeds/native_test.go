package feeds_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/sharedtest"
)

// native are files of publishers that do not use OSV's form, cut short.
var native = map[string]string{
	"kev.json": `{"title": "CISA Catalog", "count": 2, "vulnerabilities": [
		{"cveID": "CVE-2023-0286", "dateAdded": "2024-05-01", "dueDate": "2024-05-22", "knownRansomwareCampaignUse": "Known"},
		{"cveID": "nonsense", "dateAdded": "2024-05-01"}]}`,
	"epss.csv": "#model_version:v2025.03.14,score_date:2026-08-16T00:00:00+0000\ncve,epss,percentile\nCVE-2023-0286,0.88123,0.99001\nCVE-2023-1286,0.00043,0.1\nbroken\nx,1,2\n",
	"secdb.json": `{"distroversion": "v3.20", "reponame": "main", "urlprefix": "https://dl-cdn.alpinelinux.org/alpine", "packages": [
		{"pkg": {"name": "openssl", "secfixes": {"3.3.2-r1": ["CVE-2024-1 XSA-1"], "0": ["CVE-2024-2"]}}}]}`,
	"wolfi.json": `{"apkurl": "{{urlprefix}}/{{arch}}/{{pkg.name}}.apk", "urlprefix": "https://packages.wolfi.dev/os", "packages": [{"pkg": {"name": "curl", "secfixes": {"8.1-r0": ["CVE-2024-3"]}}}]}`,
	"tracker.json": `{"tar": {"CVE-2005-2541": {"description": "Tar does not warn", "releases": {
		"bookworm": {"status": "open", "urgency": "unimportant"}, "trixie": {"status": "resolved", "fixed_version": "1.35-1", "urgency": "low**"},
		"bullseye": {"status": "open", "urgency": "not yet assigned", "nodsa": "Minor issue", "nodsa_reason": "ignored"}, "buster": {"status": "resolved", "fixed_version": "0"}}}},
		"broken": []}`,
}

func writeNative(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range native {
		raw := []byte(text)
		if name == "epss.csv" {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := z.Write(raw)
			if err == nil {
				err = z.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			name, raw = name+".gz", b.Bytes()
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}

// TestNativeSources: what publishers say in forms of their own is indexed, and
// what cannot be read of it is counted.
func TestNativeSources(t *testing.T) {
	t.Parallel()
	root, dir := writeNative(t), t.TempDir()
	cfg := feeds.Config{Sources: []feeds.Source{
		{Name: "kev", URL: root + "/kev.json"}, {Name: "epss", URL: root + "/epss.csv.gz"}, {Name: "alpine", Type: "secdb", URL: root + "/secdb.json"},
		{Name: "wolfi", Type: "secdb", URL: root + "/wolfi.json"}, {Name: "debian", Type: "debian-tracker", URL: root + "/tracker.json"},
	}}
	for round := range 2 { // the second from what is here already
		res, err := feeds.Sync(context.Background(), dir, cfg, nil, nil)
		if err != nil || res.Failed() {
			t.Fatalf("%v %+v", err, res)
		}
		if round == 0 && (res.Feeds[0].Records != 1 || res.Feeds[0].Skipped != 1 || res.Feeds[1].Records != 2 || res.Feeds[1].Skipped != 2 || res.Feeds[4].Skipped != 1) {
			t.Errorf("counts %+v", res.Feeds)
		}
	}
	s := current(t, dir)
	facts, ok, err := s.CVE("CVE-2023-0286")
	want := advisory.CVEFacts{EPSS: 0.88123, Percentile: 0.99001, KEV: &advisory.KEVEntry{
		Added: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC), Due: time.Date(2024, 5, 22, 0, 0, 0, 0, time.UTC), Ransomware: true,
	}}
	if diff := cmp.Diff(want, facts); diff != "" || !ok || err != nil {
		t.Errorf("%v %v %s", ok, err, diff)
	}
	if facts, ok, err = s.CVE("CVE-2023-1286"); facts.EPSS != 0.00043 || facts.KEV != nil || !ok || err != nil {
		t.Errorf("%+v %v %v", facts, ok, err)
	}
	if _, ok, err = s.CVE("CVE-2023-2286"); ok || err != nil {
		t.Errorf("of nothing: %v %v", ok, err)
	}
	status := func(ecosystem, pkg string) string {
		all, err := s.Lookup(ecosystem, pkg)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, a := range all {
			list = append(list, strings.TrimSpace(a.ID+" "+a.Status))
		}
		return strings.Join(list, ", ")
	}
	for _, test := range []struct{ ecosystem, pkg, want string }{
		{"Alpine:v3.20", "openssl", "CVE-2024-1, CVE-2024-2 not-affected"}, {"Wolfi", "curl", "CVE-2024-3"},
		{"Debian:12", "tar", "CVE-2005-2541"}, {"Debian:13", "tar", "CVE-2005-2541"}, {"Debian:11", "tar", "CVE-2005-2541 will-not-fix"}, {"Debian:10", "tar", "CVE-2005-2541 not-affected"},
	} {
		if got := status(test.ecosystem, test.pkg); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.ecosystem, test.pkg, got, test.want)
		}
	}
	if c, ok := s.Covers("Debian:12"); !ok || c.Source != "debian" {
		t.Errorf("coverage %+v", c)
	}
}

// TestNativeFilesThatAreNone: what a source gives in place of its file is
// refused, and says why.
func TestNativeFilesThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, test := range map[string]struct{ kind, text string }{
		"page instead of the catalogue": {"kev", "<html>"}, "catalogue without entries": {"kev", "{}"},
		"table with another header": {"epss", "#score_date:2024-02-20T00:00:00+0000\ninvalid,header,format\n"}, "table without a day": {"epss", "#model_version:v1\ncve,epss,percentile\n"}, "empty table": {"epss", ""},
		"database of nobody": {"secdb", `{"packages": []}`}, "database without fixes": {"secdb", `{"distroversion": "v3.20", "packages": []}`}, "tracker of nothing": {"debian-tracker", "{}"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := feeds.Sync(context.Background(), t.TempDir(), feeds.Config{Sources: []feeds.Source{{Name: "a", Type: test.kind, URL: "file://" + file}}}, nil, nil)
		if err != nil || !res.Failed() || res.Feeds[0].Error == "" {
			t.Errorf("%s: %v %+v", name, err, res.Feeds)
		}
	}
}

// TestRealNativeFiles reads whole files of the publishers.
func TestRealNativeFiles(t *testing.T) {
	t.Parallel()
	formats := "file://" + sharedtest.Dir(t, "data", "formats")
	res, err := feeds.Sync(context.Background(), t.TempDir(), feeds.Config{Sources: []feeds.Source{
		{Name: "kev", URL: formats + "/kev/known_exploited_vulnerabilities.json"}, {Name: "epss", URL: formats + "/epss/epss_scores-2026-08-16.csv.gz"},
		{Name: "debian", Type: "debian-tracker", URL: formats + "/debian-tracker/tracker-excerpt.json"},
	}}, nil, nil)
	if err != nil || res.Failed() {
		t.Fatalf("%v %+v", err, res)
	}
	if res.Feeds[0].Records != 1404 || res.Feeds[1].Records != 360142 || res.Feeds[2].Records == 0 {
		t.Errorf("%+v", res.Feeds)
	}
}
