package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to disturb the database of the catalog

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string) (*audit.Trail, *catalog.Catalog) {
	t.Helper()
	c, err := catalog.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return &audit.Trail{Catalog: c, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}, c
}

// hold keeps others from writing to the database until the function that it
// returns is called.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestAdd: what was acknowledged is there after the next start, in the order of
// the answers.
func TestAdd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	trail, c := open(t, path)
	for i := range 3 {
		if err := trail.Add(t.Context(), catalog.AuditEntry{Kind: audit.Pushed, Principal: "ann", Client: "10.0.0.1", Reference: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, c = open(t, path)
	defer c.Close()
	entries, err := c.Audit(t.Context(), catalog.AuditFilter{Limit: 10})
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}
	if e := entries[0]; e.Reference != "2" || e.Kind != audit.Pushed || e.Principal != "ann" || e.Client != "10.0.0.1" || !e.At.Equal(now) {
		t.Errorf("the last: %+v", e)
	}
}

// TestShared: those who come while others are being written share one write.
func TestShared(t *testing.T) {
	const writers = 200
	path := filepath.Join(t.TempDir(), "catalog.db")
	trail, c := open(t, path)
	release := hold(t, path)
	defer release()
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			if err := trail.Add(context.Background(), catalog.AuditEntry{Kind: audit.Pushed, Reference: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // for all to come
	begun := time.Now()
	release()
	group.Wait()
	// One write each would take as many flushes of the disk, one after the other.
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%d entries took %s", writers, took)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, c = open(t, path)
	defer c.Close()
	entries, err := c.Audit(t.Context(), catalog.AuditFilter{Limit: 2 * writers})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range entries {
		seen[e.Reference]++
	}
	if len(entries) != writers || len(seen) != writers {
		t.Errorf("%d entries, %d different, want %d", len(entries), len(seen), writers)
	}
}

// TestClientGone: an entry is kept for a request whose client hung up.
func TestClientGone(t *testing.T) {
	trail, c := open(t, filepath.Join(t.TempDir(), "catalog.db"))
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trail.Add(ctx, catalog.AuditEntry{Kind: audit.PullRefused}); err != nil {
		t.Fatal(err)
	}
	if entries, err := c.Audit(t.Context(), catalog.AuditFilter{Limit: 10}); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestLost: everybody whose entry could not be kept is told, and the trail goes
// on when the catalog does.
func TestLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	trail, c := open(t, path)
	defer c.Close()
	run := func(statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.principal = 'bad' BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	release := hold(t, path)
	const writers = 20
	var group sync.WaitGroup
	failed := make(chan error, writers)
	first := make(chan struct{})
	for i := range writers {
		group.Go(func() {
			if i > 0 {
				<-first
			}
			principal := "good"
			if i == writers/2 {
				principal = "bad"
			}
			if i == 0 {
				time.AfterFunc(50*time.Millisecond, func() { close(first) })
			}
			failed <- trail.Add(context.Background(), catalog.AuditEntry{Kind: audit.Pushed, Principal: principal})
		})
	}
	<-first
	time.Sleep(100 * time.Millisecond) // for the others to come into one write
	release()
	group.Wait()
	close(failed)
	lost := 0
	for err := range failed {
		if err != nil {
			if lost++; !strings.Contains(err.Error(), "keep audit entry") {
				t.Error(err)
			}
		}
	}
	entries, err := c.Audit(t.Context(), catalog.AuditFilter{Limit: 100})
	if err != nil || lost != writers-1 || len(entries) != writers-lost {
		t.Errorf("%d were told of a loss, %d are there, %v", lost, len(entries), err)
	}
	if err := trail.Add(t.Context(), catalog.AuditEntry{Kind: audit.Pushed, Principal: "good"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
