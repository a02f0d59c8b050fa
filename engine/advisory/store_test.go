package advisory_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
)

func TestStoreTakesNewerRevisions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vulndb")
	store := openStore(t, dir)
	if _, ok := store.Current(); ok {
		t.Fatal("an empty directory has an index")
	}
	build(t, dir, 1, sample()[:1], nil)
	reload(t, store, true)
	reload(t, store, false)
	old, _ := store.Current()
	build(t, dir, 2, sample(), nil)
	reload(t, store, true)
	build(t, dir, 3, sample()[1:], nil)
	reload(t, store, true)
	if files, _ := filepath.Glob(filepath.Join(dir, "*.idx")); len(files) != 2 {
		t.Errorf("%d files kept: %v", len(files), files)
	}
	// The first revision has no name any more and still answers.
	if got, err := old.Lookup("Debian:12", "openssl"); err != nil || len(got) != 1 || old.Revision().Sequence != 1 {
		t.Errorf("old snapshot: %v, %v", got, err)
	}
	index := old.Index()
	old.Release()
	old.Release()
	if _, err := index.Lookup("Debian:12", "openssl"); err == nil {
		t.Error("the mapping outlives its last user")
	}
	now, ok := store.Current()
	if !ok || now.Revision().Sequence != 3 {
		t.Fatalf("current: %v", ok)
	}
	defer now.Release()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if got, err := now.Lookup("npm", "left-pad"); err != nil || len(got) != 1 {
		t.Errorf("snapshot of a closed store: %v, %v", got, err)
	}
}

func TestStoreSurvivesDamagedFile(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, 1, sample(), nil)
	for _, content := range [][]byte{nil, []byte("half"), make([]byte, 4096)} {
		newest := filepath.Join(dir, "vulndb-00000000000000000002-0000000000000000.idx")
		if err := os.WriteFile(newest, content, 0o600); err != nil {
			t.Fatal(err)
		}
		store := openStore(t, dir)
		changed, err := store.Reload(context.Background())
		if changed || err == nil {
			t.Errorf("damaged file of %d bytes: changed %v, error %v", len(content), changed, err)
		}
		snapshot, ok := store.Current()
		if !ok || snapshot.Revision().Sequence != 1 {
			t.Fatal("the whole file is not in force")
		}
		snapshot.Release()
	}
	if n, err := advisory.NewestSequence(dir); n != 2 || err != nil {
		t.Errorf("newest sequence %d, %v", n, err)
	}
}

func TestStoreLaysSyncTimesOverCoverage(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, 1, sample(), nil,
		advisory.Coverage{Ecosystem: "Debian:12", Source: "osv", Records: 2, Synced: built},
		advisory.Coverage{Ecosystem: "npm", Source: "osv", Records: 1, Synced: built})
	store := openStore(t, dir)
	later := built.Add(time.Hour)
	status := advisory.Status{Inputs: "x", Feeds: []advisory.FeedStatus{{Source: "osv", Ecosystem: "Debian", Synced: later}, {Source: "other", Ecosystem: "npm", Synced: later}}}
	if err := advisory.WriteStatus(dir, status); err != nil {
		t.Fatal(err)
	}
	reload(t, store, false)
	snapshot, _ := store.Current()
	defer snapshot.Release()
	if c, ok := snapshot.Covers("Debian:12"); !ok || !c.Synced.Equal(later) {
		t.Errorf("Debian:12 synced %s", c.Synced)
	}
	if c, ok := snapshot.Covers("npm"); !ok || !c.Synced.Equal(built) {
		t.Errorf("npm synced %s", c.Synced)
	}
	if !snapshot.Synced().Equal(built) {
		t.Errorf("oldest sync %s", snapshot.Synced())
	}
	got, err := advisory.ReadStatus(dir)
	if diff := cmp.Diff(status, got); diff != "" || err != nil {
		t.Errorf("status: %v %s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(dir, "status.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Reload(context.Background()); err == nil {
		t.Error("a damaged status is not reported")
	}
	if c, _ := snapshot.Covers("Debian:12"); !c.Synced.Equal(later) {
		t.Error("a damaged status took the sync times away")
	}
}

func TestDiff(t *testing.T) {
	fixed := sample()
	fixed[0].Ranges[0].Events[1].Fixed = "3.0.9-1"
	rescored := scores()
	rescored[1].Base = 5
	key := func(ecosystem, pkg string) advisory.Key { return advisory.Key{Ecosystem: ecosystem, Package: pkg} }
	openssl, tar, flask, pad := key("Debian:12", "openssl"), key("Debian:12", "tar"), key("PyPI", "flask-login"), key("npm", "left-pad")
	tests := []struct {
		name       string
		advisories []advisory.Advisory
		scores     []advisory.Score
		want       []advisory.Key
	}{
		{"same", sample(), scores(), []advisory.Key{}},
		{"changed", fixed, scores(), []advisory.Key{openssl}},
		{"removed", sample()[1:], scores(), []advisory.Key{openssl}},
		{"added", append(sample(), advisory.Advisory{ID: "X-1", Ecosystem: "npm", Package: "zod"}), scores(), []advisory.Key{key("npm", "zod")}},
		{"score changed", sample(), rescored, []advisory.Key{flask}},
		{"score removed", sample(), scores()[1:], []advisory.Key{openssl}},
		{"everything removed", nil, nil, []advisory.Key{openssl, tar, flask, pad}},
	}
	path, _ := build(t, t.TempDir(), 1, sample(), scores())
	old := open(t, path)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, _ := build(t, t.TempDir(), 2, tt.advisories, tt.scores)
			got, err := advisory.Diff(old, open(t, path))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	got, err := advisory.Diff(nil, old)
	if diff := cmp.Diff([]advisory.Key{openssl, tar, flask, pad}, got); diff != "" || err != nil {
		t.Errorf("from nothing: %v %s", err, diff)
	}
}

func openStore(t *testing.T, dir string) *advisory.Store {
	t.Helper()
	store, err := advisory.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func reload(t *testing.T, store *advisory.Store, want bool) {
	t.Helper()
	changed, err := store.Reload(context.Background())
	if err != nil || changed != want {
		t.Fatalf("reload: changed %v, %v; want %v", changed, err, want)
	}
}

// TestStoreRenewsSourcesOfOneFeed: secdb and Debian's tracker are asked as one
// feed, whose name is no ecosystem; what they cover is as fresh as their answer.
func TestStoreRenewsSourcesOfOneFeed(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, 1, sample(), nil,
		advisory.Coverage{Ecosystem: "Alpine:v3.20", Source: "alpine-main", Records: 1, Synced: built},
		advisory.Coverage{Ecosystem: "Debian:12", Source: "debian", Records: 1, Synced: built},
		advisory.Coverage{Ecosystem: "npm", Source: "osv", Records: 1, Synced: built})
	later := built.Add(time.Hour)
	if err := advisory.WriteStatus(dir, advisory.Status{Feeds: []advisory.FeedStatus{
		{Source: "alpine-main", Ecosystem: "secdb", Synced: later}, {Source: "debian", Ecosystem: "Debian tracker", Synced: later},
		{Source: "osv", Ecosystem: "PyPI", Synced: later}, {Source: "osv", Ecosystem: "Go", Synced: later},
	}}); err != nil {
		t.Fatal(err)
	}
	now, _ := openStore(t, dir).Current()
	defer now.Release()
	for ecosystem, want := range map[string]time.Time{"Alpine:v3.20": later, "Debian:12": later, "npm": built} {
		if c, ok := now.Covers(ecosystem); !ok || !c.Synced.Equal(want) {
			t.Errorf("%s was synced %s, want %s", ecosystem, c.Synced, want)
		}
	}
}
