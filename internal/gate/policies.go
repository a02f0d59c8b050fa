package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/catalog"
)

// Policy is a stored bundle, as lists show it.
type Policy struct {
	catalog.Bundle
	Active bool
}

// LoadPolicies stores the given documents, and takes into use the exceptions of
// clusters and the active bundle: the one activated last, or wanted when nothing
// was ever activated or the configuration has come to want another. A document
// that came with an earlier start is replaced by its successor, unless somebody
// has changed it since.
func (g *Gate) LoadPolicies(ctx context.Context, documents [][]byte, wanted string) error {
	if err := g.loadExceptions(ctx); err != nil {
		return err
	}
	for _, raw := range documents {
		if err := g.loadPolicy(ctx, raw); err != nil {
			return err
		}
	}
	configured, err := g.Catalog.Setting(ctx, settingWanted)
	if err != nil {
		return err
	}
	id, epoch, err := g.Catalog.ActiveBundle(ctx)
	if err != nil {
		return err
	}
	if id == "" || configured != wanted {
		if _, err := g.Activate(ctx, wanted); err != nil {
			return err
		}
		return g.Catalog.PutSetting(ctx, settingWanted, wanted)
	}
	return g.use(ctx, id, epoch)
}

const (
	settingWanted = "policy.configured"
	settingLoaded = "policy.loaded." // + id: hash of the document that came with the last start
)

func (g *Gate) loadPolicy(ctx context.Context, raw []byte) error {
	b, err := bundle.Parse(raw)
	if err != nil {
		return err
	}
	loaded, err := g.Catalog.Setting(ctx, settingLoaded+b.ID)
	if err != nil || loaded == b.Hash {
		return err
	}
	stored, err := g.Catalog.Bundle(ctx, b.ID)
	switch {
	case errors.Is(err, catalog.ErrBundleUnknown):
	case err != nil:
		return err
	default:
		if old, err := bundle.Parse(stored.Raw); err == nil && old.Hash != loaded {
			g.Log.Warn("policy not replaced, because it was changed here", "policy", b.ID)
			return nil
		}
	}
	if _, err := g.AddPolicy(ctx, raw); err != nil {
		return err
	}
	return g.Catalog.PutSetting(ctx, settingLoaded+b.ID, b.Hash)
}

// AddPolicy validates and stores a bundle. It is not activated; if it is the
// active one, the new text is in force at once.
func (g *Gate) AddPolicy(ctx context.Context, raw []byte) (Policy, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return Policy{}, err
	}
	p := Policy{Bundle: catalog.Bundle{ID: b.ID, Name: b.Name, Raw: raw, Updated: g.Now()}}
	if err := g.Catalog.PutBundle(ctx, p.Bundle); err != nil {
		return Policy{}, fmt.Errorf("store bundle %q: %w", b.ID, err)
	}
	defer g.publish(ctx)
	if active := g.active.Load(); active != nil && active.ID == b.ID && active.Hash != b.Hash {
		p.Active = true
		_, err = g.Activate(ctx, b.ID)
	}
	return p, err
}

// Policies lists the stored bundles.
func (g *Gate) Policies(ctx context.Context) ([]Policy, error) {
	bundles, err := g.Catalog.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	active := g.active.Load()
	all := make([]Policy, len(bundles))
	for i, b := range bundles {
		all[i] = Policy{b, active != nil && active.ID == b.ID}
	}
	return all, nil
}

// Activate makes a stored bundle the active one, at once: images are judged by
// it when they are next asked for.
func (g *Gate) Activate(ctx context.Context, id string) (Policy, error) {
	stored, err := g.Catalog.Bundle(ctx, id)
	if err != nil {
		return Policy{}, err
	}
	if _, err := bundle.Parse(stored.Raw); err != nil {
		return Policy{}, err
	}
	epoch, err := g.Catalog.Activate(ctx, id)
	if err != nil {
		return Policy{}, err
	}
	if err := g.use(ctx, id, epoch); err != nil {
		return Policy{}, err
	}
	g.event(ctx, EventActivated, map[string]any{"policy": id, "name": stored.Name, "epoch": epoch})
	g.publish(ctx)
	return Policy{stored, true}, nil
}

func (g *Gate) use(ctx context.Context, id string, epoch int64) error {
	stored, err := g.Catalog.Bundle(ctx, id)
	if err != nil {
		return err
	}
	b, err := bundle.Parse(stored.Raw)
	if err != nil {
		return fmt.Errorf("policy bundle %q: %w", id, err)
	}
	g.active.Store(&activeBundle{b, stored.Raw, epoch})
	return nil
}

// ActivePolicy returns the bundle in force.
func (g *Gate) ActivePolicy() (*bundle.Bundle, error) {
	active := g.active.Load()
	if active == nil {
		return nil, errors.New("no policy bundle is active")
	}
	return active.Bundle, nil
}
