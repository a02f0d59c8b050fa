// Package verdicts looks up verdicts: process memory, then Redis when it is
// configured, then the catalog.
//
// It knows no policy and no HTTP. A verdict that a tier has lost is found in
// the next; a tier that is down is passed by. Start with Store and Tiers.
package verdicts

import (
	"context"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/policy"
)

// Store keeps the verdict in force for each manifest and selection. All methods
// are safe for concurrent use and return promptly: a store behind a network has
// its own short deadline.
type Store interface {
	// Get returns the verdict, or nil when there is none. The verdict is not to
	// be changed.
	Get(ctx context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error)
	// Put stores the verdict unless the one in force rests on a newer engine or
	// on newer data (policy.Verdict.Older); kept says which.
	Put(ctx context.Context, v *policy.Verdict) (kept bool, err error)
}

// Durable is the Store that is the truth.
type Durable interface {
	Store
	// Drop forgets a verdict, whether there is one or not.
	Drop(ctx context.Context, manifest digest.Digest, selection string) error
}

// Tier names, as the metrics spell them.
const (
	TierMemory  = "memory"
	TierRedis   = "redis"
	TierCatalog = "catalog"
	TierMiss    = "miss"
)

// Tiers is a Store over a process memory, an optional shared store and the
// durable one.
type Tiers struct {
	Memory  *Memory
	Shared  *Redis // nil when not configured
	Durable Durable
	Log     *slog.Logger
	// Looked is called with the tier that answered, for the metrics.
	Looked func(tier string)

	breaker Breaker
}

// Get asks the tiers from the nearest to the farthest, and lets the nearer ones
// know what a farther one said. What Redis says is held against the catalog,
// once for each time that memory does not know: a verdict that could not be
// written to Redis must not be undone by the one that it replaced, and one that
// the catalog does not have would never be renewed.
func (t *Tiers) Get(ctx context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error) {
	if v, _ := t.Memory.Get(ctx, manifest, selection); v != nil {
		t.Looked(TierMemory)
		return v, nil
	}
	shared := t.shared(ctx, manifest, selection)
	durable, err := t.Durable.Get(ctx, manifest, selection)
	switch {
	case shared != nil && (err != nil || durable != nil && !shared.Older(durable)):
		t.Looked(TierRedis)
		_, err := t.Memory.Put(ctx, shared)
		return shared, err
	case err != nil || durable == nil:
		t.Looked(TierMiss)
		return nil, err
	}
	t.Looked(TierCatalog)
	t.share(ctx, durable)
	_, err = t.Memory.Put(ctx, durable)
	return durable, err
}

// Put writes the durable tier first: what the others say must never outlive it.
func (t *Tiers) Put(ctx context.Context, v *policy.Verdict) (bool, error) {
	kept, err := t.Durable.Put(ctx, v)
	if err != nil || !kept {
		return false, err
	}
	t.share(ctx, v)
	return t.Memory.Put(ctx, v)
}

// Drop forgets a verdict. What Redis still has of it counts for nothing without
// the durable one.
func (t *Tiers) Drop(ctx context.Context, manifest digest.Digest, selection string) error {
	if err := t.Durable.Drop(ctx, manifest, selection); err != nil {
		return err
	}
	t.Memory.Forget(manifest, selection)
	return nil
}

func (t *Tiers) shared(ctx context.Context, manifest digest.Digest, selection string) *policy.Verdict {
	if t.Shared == nil || !t.breaker.Closed(time.Now()) {
		return nil
	}
	v, err := t.Shared.Get(ctx, manifest, selection)
	t.note(ctx, err)
	return v
}

func (t *Tiers) share(ctx context.Context, v *policy.Verdict) {
	t.withShared(ctx, func() error { _, err := t.Shared.Put(ctx, v); return err })
}

// Share puts a verdict that is in force into Redis once more, for processes that
// did not find it there.
func (t *Tiers) Share(ctx context.Context, v *policy.Verdict) { t.share(ctx, v) }

// ShareFact lets processes that have Redis alone know what is known of a thing.
// Where Redis is away, they ask for it again.
func (t *Tiers) ShareFact(ctx context.Context, name string, fact any) {
	t.withShared(ctx, func() error { return t.Shared.PutFact(ctx, name, fact) })
}

func (t *Tiers) withShared(ctx context.Context, write func() error) {
	if t.Shared != nil && t.breaker.Closed(time.Now()) {
		t.note(ctx, write())
	}
}

// note opens the breaker after a failure, so that a Redis that is down costs
// one deadline every few seconds and not one a request.
func (t *Tiers) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if changed := t.breaker.Report(err, time.Now()); !changed {
		return
	}
	if err != nil {
		t.Log.Warn("redis unreachable", "error", err)
	} else {
		t.Log.Info("redis reachable")
	}
}
