// Package audit keeps the trail of who did what and who was refused what.
//
// It knows no HTTP and decides nothing. Start with Trail.
package audit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pratique/pratique/internal/catalog"
)

// Kinds of entries.
const (
	PullRefused = "pull refused"      // by the gate: manifest or blob
	PushRefused = "push refused"      // by the gate, a quota, an immutable tag
	Forbidden   = "forbidden"         // by the rules of access
	Pushed      = "pushed"            // a manifest was taken
	Deleted     = "deleted"           // manifest, tag or blob
	Quarantined = "quarantined"       // the tag waits for its image to be allowed
	Released    = "released"          // out of quarantine: the tag was moved
	Dropped     = "dropped"           // out of quarantine: the tag will not be moved
	PassGranted = "break-glass grant" // somebody may pull what is refused
	PassEnded   = "break-glass end"
	PassUsed    = "break-glass pull"   // something refused was served by a grant
	Policy      = "policy changed"     // added, changed or activated
	Exceptions  = "exceptions changed" // those of a cluster
	Collected   = "collected"          // manifests removed by garbage collection
)

// commitTime bounds one write, however many entries it has.
const commitTime = 10 * time.Second

// Trail is safe for concurrent use. An entry is on disk when Add returns nil.
type Trail struct {
	Catalog *catalog.Catalog
	Log     *slog.Logger
	Now     func() time.Time

	mu         sync.Mutex // guards next
	next       *batch
	committing sync.Mutex
}

// batch is what is written in one transaction.
type batch struct {
	entries []catalog.AuditEntry
	done    bool // guarded by Trail.committing, as err
	err     error
}

// Add keeps an entry, and logs it. Entries that come while others are being
// written share the next write. The write goes on when ctx ends.
func (t *Trail) Add(ctx context.Context, e catalog.AuditEntry) error {
	e.At = t.Now().UTC()
	t.Log.LogAttrs(ctx, slog.LevelInfo, "audit", slog.String("kind", e.Kind), slog.String("principal", e.Principal), slog.String("client", e.Client),
		slog.String("repository", e.Repository), slog.String("reference", e.Reference), slog.String("digest", e.Digest), slog.String("message", e.Message))
	t.mu.Lock()
	if t.next == nil {
		t.next = &batch{}
	}
	b := t.next
	b.entries = append(b.entries, e)
	t.mu.Unlock()

	t.committing.Lock()
	defer t.committing.Unlock()
	if !b.done {
		t.mu.Lock()
		t.next = nil // whoever comes now is in the next one
		t.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
		defer cancel()
		b.done, b.err = true, t.Catalog.AddAudit(ctx, b.entries)
	}
	if b.err != nil {
		return fmt.Errorf("keep audit entry: %w", b.err)
	}
	return nil
}
