package feeds_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	stdsync "sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/feeds"
)

// mirror is a publisher: files by URL path, served over HTTP with ETags. fault
// may answer in its place.
type mirror struct {
	*httptest.Server

	mu    stdsync.Mutex
	files map[string][]byte
	fault func(w http.ResponseWriter, r *http.Request) bool
	full  int // answers with a body
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{files: fixtures(t)}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil && m.fault(w, r) {
		return
	}
	body, ok := m.files[strings.TrimPrefix(r.URL.Path, "/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	m.full++
	w.Write(body)
}

func (m *mirror) set(change func(m *mirror)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

func (m *mirror) config() feeds.Config {
	return feeds.Config{Sources: []feeds.Source{
		{Name: "osv", URL: m.URL + "/osv", Ecosystems: []string{"Debian", "npm"}},
		{Name: "nvd", URL: m.URL + "/nvd"},
	}}
}

// fixtures packs testdata/feeds.txtar as publishers do.
func fixtures(t *testing.T) map[string][]byte {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "feeds.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	records := map[string]map[string]string{}
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "nvd/") {
			files[f.Name+".gz"] = gzipped(t, f.Data)
			continue
		}
		dump := path.Join(path.Dir(f.Name), "all.zip")
		if records[dump] == nil {
			records[dump] = map[string]string{}
		}
		records[dump][path.Base(f.Name)] = string(f.Data)
	}
	for name, content := range records {
		files[name] = zipped(t, content)
	}
	return files
}

func zipped(t *testing.T, records map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, content := range records {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// writeFixtures lays the fixtures out in a folder for file:// URLs.
func writeFixtures(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range fixtures(t) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func sync(t testing.TB, dir string, cfg feeds.Config) feeds.Result {
	t.Helper()
	res, err := feeds.Sync(context.Background(), dir, cfg, http.DefaultClient, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// states gives "osv Debian ok; ..." for short comparisons.
func states(res feeds.Result) string {
	var all []string
	for _, f := range res.Feeds {
		all = append(all, f.Ecosystem+" "+f.State)
	}
	return strings.Join(all, ", ")
}

// current opens the newest index of a data directory.
func current(t testing.TB, dir string) *advisory.Snapshot {
	t.Helper()
	store, err := advisory.OpenStore(feeds.IndexDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	snapshot, ok := store.Current()
	if !ok {
		t.Fatal("no index")
	}
	t.Cleanup(func() { snapshot.Release(); store.Close() })
	return snapshot
}

func lookup(t testing.TB, s *advisory.Snapshot, ecosystem, pkg string) int {
	t.Helper()
	found, err := s.Lookup(ecosystem, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
