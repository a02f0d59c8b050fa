package gate

import (
	"context"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// Push decides whether a pushed manifest is to be taken. Its blobs must be in
// the upstream. With gate.push observe everything is taken; with enforce a
// failing image and an index with a failing child are refused.
func (g *Gate) Push(ctx context.Context, q Question, m *image.Manifest) Decision {
	settings := g.Config().For(q.Target.Name())
	if settings.Push != PushEnforce || settings.Mode == ModePassive { // quarantine holds the tag, not the push
		return Decision{Outcome: Served}
	}
	d := g.whole(ctx, q, settings, m)
	if d.Outcome == Refused {
		g.event(ctx, EventRefused, map[string]any{"manifest": m.Digest, "repository": q.Target.Name(), "tag": q.Tag, "principal": q.Principal, "message": d.Message})
	}
	return d
}

// Observe analyses and judges what has been pushed, so that the verdict is there
// before the push is answered. What it finds is for the answer's warning alone.
func (g *Gate) Observe(ctx context.Context, q Question, m *image.Manifest) Decision {
	settings := g.Config().For(q.Target.Name())
	d := g.whole(ctx, q, settings, m)
	if d.Outcome == Refused && settings.Mode != ModePassive {
		return Decision{Outcome: Served, Warning: "pulls will be refused: " + d.Message, Verdict: d.Verdict}
	}
	return Decision{Outcome: Served, Warning: d.Warning, Verdict: d.Verdict}
}

// whole decides about a manifest with everything in it.
func (g *Gate) whole(ctx context.Context, q Question, settings Settings, m *image.Manifest) Decision {
	if m.Index {
		return g.begun(settings, g.tour(q, settings).whole(ctx, m, 0))
	}
	return g.image(ctx, q, settings, m, forWait)
}

// fetchChild returns a child of an index, and notes that the repository has it.
func (g *Gate) fetchChild(ctx context.Context, q Question, d image.Descriptor) (*image.Manifest, error) {
	if m, err := g.Manifest(ctx, q.Target, d); m != nil || err != nil {
		return m, err
	}
	return g.Fetch(ctx, q, d.Digest.String())
}

// Subject returns what a manifest was found to be; false when it has not been
// analysed.
func (g *Gate) Subject(ctx context.Context, t Target, m *image.Manifest) (inventory.Subject, bool) {
	s, err := g.subject(ctx, t, m, never)
	return s, err == nil
}
