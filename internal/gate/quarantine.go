package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
)

const (
	releaseInterval = 5 * time.Second // how soon a tag is moved after its image has become allowed
	settledInterval = time.Hour       // and how often those are looked at that are known to be refused, for rules that count days
)

// quarantine stores a pushed image by its digest, and moves the tag if the image
// is allowed. Else the tag waits: releaseLoop moves it when that changes, unless
// a later push touches the tag.
func (g *Gate) quarantine(ctx context.Context, q Question, settings Settings, m *image.Manifest) (Decision, bool, error) {
	if err := g.Store(ctx, q, m.Digest, m); err != nil {
		return Decision{}, false, err
	}
	h := catalog.Hold{Repository: q.Target.Key(), Tag: q.Tag, Manifest: m.Digest, Principal: q.Principal, Added: g.Now(), Reason: "being looked at"}
	if err := g.hold(ctx, q.Target, h); err != nil {
		return Decision{}, false, err
	}
	d := g.whole(ctx, q, settings, m)
	released, err := g.settle(ctx, q, m, h, d)
	if err != nil || released {
		return Decision{Outcome: Served, Warning: d.Warning, Verdict: d.Verdict}, false, err
	}
	why := "the tag is moved when it is allowed: " + d.Message
	if d.Outcome == Served {
		why = "the tag is left to a later push"
	}
	warning := fmt.Sprintf("quarantined: %s is stored as %s, and %s", describe(q, m), m.Digest, why)
	return Decision{Outcome: Served, Warning: warning, Verdict: d.Verdict}, true, nil
}

// hold notes that the tag waits for this manifest, and for no earlier one.
func (g *Gate) hold(ctx context.Context, t Target, h catalog.Hold) error {
	defer g.tagged.lock(tagKeyOf(t, h.Tag))()
	if err := g.mutable(ctx, t, h.Tag, h.Manifest); err != nil {
		return err
	}
	return g.Catalog.PutHold(ctx, h)
}

// settle moves the tag, or notes why not, if it still waits for this manifest.
// It reports whether the tag has been moved.
func (g *Gate) settle(ctx context.Context, q Question, m *image.Manifest, h catalog.Hold, d Decision) (bool, error) {
	defer g.tagged.lock(tagKeyOf(q.Target, q.Tag))()
	now, err := g.Catalog.Hold(ctx, h.Repository, h.Tag)
	if err != nil {
		return false, err
	}
	if now == nil { // somebody else has moved the tag, perhaps for this very push
		bound, err := g.Catalog.BoundTo(ctx, h.Repository, h.Tag)
		return bound == h.Manifest, err
	}
	if now.Manifest != h.Manifest {
		return false, nil
	}
	if d.Outcome != Served {
		if now.Reason == d.Message {
			return false, nil
		}
		now.Reason = d.Message
		return false, g.Catalog.PutHold(ctx, *now)
	}
	if err := g.mutable(ctx, q.Target, q.Tag, m.Digest); err != nil {
		return false, err
	}
	if err := g.store(ctx, q, q.Tag, m); err != nil {
		return false, err
	}
	_, err = g.Catalog.DropHold(ctx, *now)
	return true, err
}

// releaseLoop moves tags whose images have become allowed, until ctx ends.
func (g *Gate) releaseLoop(ctx context.Context) {
	tick := time.NewTicker(releaseInterval)
	defer tick.Stop()
	var settled string // what the last round over all of them was made under
	for {
		state := g.Basis(ctx) + g.Now().Truncate(settledInterval).Format(time.RFC3339)
		if err := g.releaseRound(ctx, state != settled); err == nil {
			settled = state
		} else if ctx.Err() == nil {
			g.Log.Warn("quarantine not looked through", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Basis changes with everything that can change a decision but the image and the
// time.
func (g *Gate) Basis(context.Context) string {
	var epoch int64
	if active := g.active.Load(); active != nil {
		epoch = active.epoch
	}
	var data uint64
	if snapshot, ok := g.Data.Current(); ok {
		data = snapshot.Revision().Sequence
		snapshot.Release()
	}
	return fmt.Sprintf("%d %d %p %p", epoch, data, g.config.Load(), g.excepted.Load())
}

// releaseRound looks at what waits: at everything, or only at what has not been
// decided yet.
func (g *Gate) releaseRound(ctx context.Context, all bool) error {
	holds, err := g.Catalog.Holds(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range holds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if all || g.undecided(h) {
			if _, err := g.Release(ctx, h, ""); err != nil {
				failed = append(failed, fmt.Errorf("%s:%s: %w", h.Repository.Name, h.Tag, err))
			}
		}
	}
	return errors.Join(failed...)
}

// undecided reports whether the image of a hold was still being analysed.
func (g *Gate) undecided(h catalog.Hold) bool {
	s, ok := g.subjects.Get(h.Manifest)
	return !ok || s.Transient
}

// DropHold gives a hold up: the tag stays where it is. It reports whether the tag
// still waited for that manifest.
func (g *Gate) DropHold(ctx context.Context, h catalog.Hold) (bool, error) {
	defer g.tagged.lock(tagKey{h.Repository.Upstream, h.Repository.Name, h.Tag})()
	return g.Catalog.DropHold(ctx, h)
}

// Release moves the tag of a hold if its image is allowed now, if its repository
// has no quarantine any more, or if somebody with the right to do so says by:
// then whatever the gate thinks. Pulls are
// gated in either case.
func (g *Gate) Release(ctx context.Context, h catalog.Hold, by string) (released bool, err error) {
	u := g.Upstreams.Named(h.Repository.Upstream)
	if u == nil {
		return false, fmt.Errorf("upstream %q is not configured any more", h.Repository.Upstream)
	}
	q := Question{Target: Target{u, h.Repository.Name}, Tag: h.Tag, Principal: h.Principal}
	m, err := g.Manifest(ctx, q.Target, image.Descriptor{Digest: h.Manifest})
	if err != nil {
		return false, err
	}
	if m == nil {
		_, err := g.DropHold(ctx, h)
		return false, err
	}
	d, settings := Decision{Outcome: Served}, g.Config().For(q.Target.Name())
	if by == "" && settings.Push == PushQuarantine && settings.Mode != ModePassive {
		d = g.whole(ctx, q, settings, m)
	}
	if released, err = g.settle(ctx, q, m, h, d); err != nil || !released {
		return released, err
	}
	entry := catalog.AuditEntry{Kind: audit.Released, Principal: by, Repository: q.Target.Name(), Reference: h.Tag, Digest: h.Manifest.String(), Message: "pushed by " + h.Principal}
	if by == "" {
		entry.Principal = "pratique"
	}
	return true, g.Audit.Add(ctx, entry)
}
