package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/catalog"
)

// ErrNoData: there are no vulnerability data to judge by, or they are too old.
var ErrNoData = errors.New("no vulnerability data")

// errNoData says what is being done about it.
func errNoData(syncing string) error {
	if syncing != "" {
		return fmt.Errorf("%w yet: the first sync is running (%s)", ErrNoData, syncing)
	}
	return fmt.Errorf("%w: no sync has succeeded yet; `pratique feeds list` says why, and it is tried again soon", ErrNoData)
}

// request is what the bundle chooses by.
func (g *Gate) request(ctx context.Context, q Question, m *image.Manifest, s inventory.Subject) (bundle.Request, error) {
	id, err := g.imageID(ctx, m, s)
	r := q.Target.request(digestsOf(m), id)
	r.Tag = q.Tag
	return r, err
}

// imageID is the id by which policy may know the image; "" where the layers are
// not what the config says.
func (g *Gate) imageID(ctx context.Context, m *image.Manifest, s inventory.Subject) (string, error) {
	if !s.DiffIDsMatch {
		return "", nil
	}
	id, err := g.Canonical(ctx, m.Config.Digest)
	return id.String(), err
}

// request is what a bundle chooses by, whatever the tag.
func (t Target) request(digests []string, imageID string) bundle.Request {
	return bundle.Request{Registries: t.Upstream.Hostnames, Repositories: t.spellings(), Digests: digests, ImageID: imageID}
}

func digestsOf(m *image.Manifest) []string { return []string{m.Digest.String(), m.SHA512.String()} }

// verdict returns the verdict in force for an image under one selection, making
// it from the stored inventory if there is none.
func (g *Gate) verdict(ctx context.Context, m digest.Digest, sel bundle.Selection, req bundle.Request) (*policy.Verdict, error) {
	v, err := g.inForce(ctx, m, sel.Hash)
	if err != nil {
		return nil, err
	}
	if v == nil {
		if v, err = g.judgeOnce(ctx, m, sel, req); err != nil {
			return nil, err
		}
	}
	return v, g.checkAge(v)
}

// inForce returns the verdict that is kept and has not run out, or nil.
func (g *Gate) inForce(ctx context.Context, m digest.Digest, selection string) (*policy.Verdict, error) {
	v, err := g.Verdicts.Get(ctx, m, selection)
	if err != nil || !holds(v, g.Now()) {
		return nil, err
	}
	return v, nil
}

// holds reports whether there is a verdict, and it has not run out.
func holds(v *policy.Verdict, now time.Time) bool {
	return v != nil && v.Action != policy.Unknown && (v.ValidUntil.IsZero() || now.Before(v.ValidUntil))
}

// checkAge refuses to answer from data that nobody has renewed for too long.
func (g *Gate) checkAge(v *policy.Verdict) error {
	snapshot, ok := g.Data.Current()
	if !ok {
		return errNoData(g.Syncing())
	}
	defer snapshot.Release()
	return recent(v, g.Now(), g.Config().MaxDataAge, func(feed string) (time.Time, bool) {
		c, ok := snapshot.Covers(feed)
		return c.Synced, ok
	})
}

// recent is ErrNoData where a feed that the verdict rests on was last synced
// longer ago than limit. For a feed that there is not, the verdict has a gap.
func recent(v *policy.Verdict, now time.Time, limit time.Duration, synced func(feed string) (time.Time, bool)) error {
	for _, feed := range v.Feeds {
		at, ok := synced(feed)
		if age := now.Sub(at); ok && age > limit {
			return fmt.Errorf("%w that is recent enough: %s was last synced %s ago, gate.max_data_age is %s", ErrNoData, feed, age.Round(time.Hour), limit)
		}
	}
	return nil
}

// judgeOnce makes a verdict, once for everybody who waits for the same.
func (g *Gate) judgeOnce(ctx context.Context, m digest.Digest, sel bundle.Selection, req bundle.Request) (*policy.Verdict, error) {
	k := flightKey{m, sel.Hash}
	f, first := g.judging.join(k)
	if !first {
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
		v, err := g.Verdicts.Get(ctx, m, sel.Hash)
		if err == nil && v == nil {
			err = errPending // gone from every store already: the next request makes it anew
		}
		return v, err
	}
	// Others wait for this verdict: it must not end with this client.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), judgeTimeout)
	defer cancel()
	// Whoever made it just now may have left before this one joined.
	v, err := g.inForce(ctx, m, sel.Hash)
	if v == nil && err == nil {
		v, err = g.judge(ctx, m, sel, req)
	}
	g.judging.leave(k, f, err)
	return v, err
}

// judgeTimeout bounds one evaluation, which takes milliseconds.
const judgeTimeout = time.Minute

// judge makes a verdict from the stored inventory and the data in force, and
// stores it. When newer data came into use meanwhile it judges again: their
// renewal may have looked for images before this one was on record.
func (g *Gate) judge(ctx context.Context, m digest.Digest, sel bundle.Selection, req bundle.Request) (*policy.Verdict, error) {
	for {
		v, err := g.judgeNow(ctx, m, sel, req)
		if err != nil {
			return nil, err
		}
		snapshot, ok := g.Data.Current()
		if !ok {
			return v, nil
		}
		newest := snapshot.Revision().Sequence
		snapshot.Release()
		if newest <= v.Data.Sequence {
			return v, nil
		}
	}
}

func (g *Gate) judgeNow(ctx context.Context, m digest.Digest, sel bundle.Selection, req bundle.Request) (*policy.Verdict, error) {
	start := g.Now()
	im, err := g.Inventory(ctx, m)
	if err != nil {
		return nil, err
	}
	snapshot, ok := g.Data.Current()
	if !ok {
		return nil, errNoData(g.Syncing())
	}
	defer snapshot.Release()
	found := engine.Match(im, snapshot)
	v := engine.Judge(im, found, snapshot, sel, g.Now())
	if err := g.remember(ctx, m, found, v, req); err != nil {
		return nil, err
	}
	g.Metrics.Verdict(v.Action.String())
	g.Log.LogAttrs(ctx, slog.LevelInfo, "image judged", slog.String("manifest", m.String()), slog.Any("repositories", req.Repositories), slog.String("tag", req.Tag),
		slog.String("action", v.Action.String()), slog.String("reason", v.Reason), slog.String("policy", v.BundleName), slog.Int("rows", len(v.Rows)), slog.Int("gaps", len(v.Gaps)),
		slog.Uint64("data", v.Data.Sequence), slog.Int("engine", v.Engine), slog.String("selection", v.Selection), slog.Duration("took", g.Now().Sub(start)))
	return &v, nil
}

// Inventory returns what is in an image that has been analysed.
func (g *Gate) Inventory(ctx context.Context, m digest.Digest) (*inventory.Image, error) {
	if im, ok := g.inventory.Get(m); ok {
		return im, nil
	}
	im, err := g.Catalog.Image(ctx, m)
	if err != nil {
		return nil, err
	}
	if im == nil {
		g.subjects.Remove(m) // it was forgotten meanwhile: the next request analyses it
		return nil, fmt.Errorf("%w: %s has not been analysed", image.ErrManifestUnknown, m)
	}
	g.inventory.Put(m, im)
	return im, nil
}

// remember stores a verdict with what is needed to make it anew when the data
// change, and tells of a verdict that has flipped.
func (g *Gate) remember(ctx context.Context, m digest.Digest, found match.Result, v policy.Verdict, req bundle.Request) error {
	if _, done := g.keyed.Get(m); !done {
		if err := g.Catalog.PutKeys(ctx, m, renewalKeys(found.Keys)); err != nil {
			return fmt.Errorf("keep keys of %s: %w", m, err)
		}
		g.keyed.Put(m, struct{}{})
	}
	if _, done := g.selected.Get(v.Selection); !done {
		if err := g.Catalog.PutSelection(ctx, v.Selection, req); err != nil {
			return fmt.Errorf("keep selection: %w", err)
		}
		g.selected.Put(v.Selection, struct{}{})
	}
	old, err := g.Catalog.Get(ctx, m, v.Selection)
	if err != nil {
		return err
	}
	kept, err := g.Verdicts.Put(ctx, &v)
	if err != nil || !kept || old == nil || old.Action == v.Action {
		return err
	}
	g.event(ctx, EventFlipped, Flip{Manifest: m, Repositories: req.Repositories, Tag: req.Tag, From: old.Action, To: v.Action, Policy: v.BundleName, Data: v.Data})
	return nil
}

// renewalKeys are the keys under which the image is found when data change: its
// packages, and each ecosystem as such, for data that come or go as a whole.
func renewalKeys(keys []match.Key) []catalog.Key {
	all := make([]catalog.Key, 0, len(keys)+8)
	whole := map[string]bool{}
	for _, k := range keys {
		if !whole[k.Ecosystem] {
			whole[k.Ecosystem] = true
			all = append(all, catalog.Key{Ecosystem: k.Ecosystem})
		}
		all = append(all, catalog.Key{Ecosystem: k.Ecosystem, Package: k.Package})
	}
	return all
}

// Kinds of events.
const (
	EventFlipped   = "verdict flipped"
	EventDryRun    = "refusal in dry run"
	EventActivated = "policy activated"
	EventRefused   = "push refused"
)

// Flip is the detail of EventFlipped.
type Flip struct {
	Manifest     digest.Digest     `json:"manifest"`
	Repositories []string          `json:"repositories"`
	Tag          string            `json:"tag,omitempty"`
	From         policy.Action     `json:"from"`
	To           policy.Action     `json:"to"`
	Policy       string            `json:"policy"`
	Data         advisory.Revision `json:"data"`
}

// event keeps an event and logs it. An event that cannot be kept must not
// change a decision: that is logged.
func (g *Gate) event(ctx context.Context, kind string, detail any) {
	g.Log.Info("event", "kind", kind, "detail", detail)
	if err := g.Catalog.AddEvent(ctx, kind, detail, g.Now()); err != nil {
		g.Log.Error("event lost", "kind", kind, "error", err)
	}
}
