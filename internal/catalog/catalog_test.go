package catalog_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pratique/pratique/internal/catalog"
)

func TestReopen(t *testing.T) {
	path, m := filepath.Join(t.TempDir(), "deep", "a %20 b?.db"), imageOf(t, "a")
	c, err := catalog.Open(ctx, path)
	check(t, err)
	check(t, c.Record(ctx, app, m, "1", "ann", now))
	check(t, c.Close())
	again := openAt(t, path)
	check(t, again.Ping(ctx))
	if tags := must[[]string](t)(again.TagsOf(ctx, app, m.Digest)); len(tags) != 1 {
		t.Errorf("tags %q", tags)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder of the catalog: %v, %v", info, err)
	}
}

// TestNewerSchema: what a newer version wrote is left alone.
func TestNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := catalog.Open(ctx, path)
	check(t, err)
	check(t, c.PutSetting(ctx, "k", "v"))
	check(t, c.Close())
	version := pragma[int](t, path, "user_version")
	execute(t, path, fmt.Sprintf("PRAGMA user_version = %d", version+1))
	if _, err := catalog.Open(ctx, path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("newer Pratique (schema %d, this one knows %d)", version+1, version)) {
		t.Errorf("Open = %v", err)
	}
	if got := pragma[int](t, path, "user_version"); got != version+1 {
		t.Errorf("schema %d, want %d as it was", got, version+1)
	}
	execute(t, path, fmt.Sprintf("PRAGMA user_version = %d", version))
	if got := must[string](t)(openAt(t, path).Setting(ctx, "k")); got != "v" {
		t.Errorf("setting %q", got)
	}
}

func TestNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	check(t, os.WriteFile(path, []byte(strings.Repeat("no database\n", 1000)), 0o600))
	if _, err := catalog.Open(ctx, path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v", err)
	}
}

// TestConcurrentWriters: writers wait for each other, and nothing is lost.
func TestConcurrentWriters(t *testing.T) {
	const writers, each = 8, 12
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, second := openAt(t, path), openAt(t, path) // the second as another process would have it
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			to := []*catalog.Catalog{c, second}[w%2]
			for i := range each {
				m := imageOf(t, "common", fmt.Sprint(w, "-", i))
				if err := to.Record(ctx, app, m, fmt.Sprintf("w%d", w), "ann", now); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				if raw, _, err := to.Manifest(ctx, app, m.Digest); err != nil || raw == nil {
					t.Errorf("writer %d does not read what it wrote: %v", w, err)
				}
			}
		})
	}
	group.Wait()
	if got := must[catalog.Counts](t)(c.Counts(ctx)); got.Manifests != writers*each || got.Repositories != 1 {
		t.Errorf("%+v, want %d manifests", got, writers*each)
	}
	for w := range writers {
		last := imageOf(t, "common", fmt.Sprint(w, "-", each-1))
		if tags := must[[]string](t)(c.TagsOf(ctx, app, last.Digest)); len(tags) != 1 || tags[0] != fmt.Sprintf("w%d", w) {
			t.Errorf("writer %d: tags %q", w, tags)
		}
	}
}

// database opens the file without the catalog.
func database(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	return db
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	must[sql.Result](t)(database(t, path).ExecContext(ctx, statement))
}

func pragma[T any](t *testing.T, path, name string) (value T) {
	t.Helper()
	check(t, database(t, path).QueryRowContext(ctx, "PRAGMA "+name).Scan(&value))
	return value
}
