package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Bounds of what is looked at in one index.
const (
	maxNesting  = 4     // indexes in each other
	maxChildren = 2_000 // different manifests in all
)

// tour is the walk through one index and those in it. A manifest that is named
// twice is looked at once.
type tour struct {
	gate     *Gate
	question Question
	settings Settings
	seen     map[digest.Digest]Decision
}

func (g *Gate) tour(q Question, settings Settings) *tour {
	q.Tag, q.Above = "", q.Tag // children are judged as they will be asked for: by their digest
	return &tour{g, q, settings, map[digest.Digest]Decision{}}
}

// enter says why the walk cannot go on, or nil.
func (t *tour) enter(ctx context.Context, depth int) *Decision {
	var d Decision
	switch {
	case ctx.Err() != nil:
		d = Decision{Outcome: Pending, Message: "the request has ended"}
	case depth >= maxNesting:
		d = answer(t.settings.Unscannable, fmt.Sprintf("indexes lie more than %d deep in each other", maxNesting))
	case len(t.seen) >= maxChildren:
		d = answer(t.settings.Unscannable, fmt.Sprintf("the index holds more than %d manifests", maxChildren))
	default:
		return nil
	}
	return &d
}

// index decides about an index: it is refused when every image in it is. Its
// children are gated by their own verdicts when they are asked for, so what is
// not known yet holds nobody up. Children that the index carries inline must
// pass here: nobody will ask for them.
func (t *tour) index(ctx context.Context, m *image.Manifest, depth int) Decision {
	var refusal *Decision
	refused, open, warning := 0, 0, ""
	for _, d := range m.Manifests {
		if end := t.enter(ctx, depth); end != nil {
			return *end
		}
		child, ok := t.seen[d.Digest]
		if !ok {
			child = t.child(ctx, d, depth)
			t.seen[d.Digest] = child
		}
		switch {
		case child.artifact && child.Outcome == Served:
		case child.Outcome == Served:
			open++
			warning = cmp.Or(warning, child.Warning)
		case d.Data != nil:
			child.Message = "the index carries an image inline that is not to be served: " + child.Message
			return child
		case child.Outcome == Pending:
			open++
		default:
			if !ok {
				refused++
			}
			if refusal == nil {
				refusal = &child
			}
		}
	}
	if refusal == nil || open > 0 {
		return Decision{Outcome: Served, Warning: warning}
	}
	if refused > 1 {
		refusal.Message += fmt.Sprintf(" (and %d more platforms of this index are refused)", refused-1)
	}
	return *refusal
}

// child decides about one entry of an index from what is known already.
func (t *tour) child(ctx context.Context, d image.Descriptor, depth int) Decision {
	g := t.gate
	m, err := g.Manifest(ctx, t.question.Target, d)
	if err != nil || m == nil {
		return Decision{Outcome: Pending, Message: "a child of the index is not known yet"}
	}
	if m.Index {
		return t.index(ctx, m, depth+1)
	}
	p := never
	if d.Data != nil {
		p = forWait // nobody will ask for it by itself
	}
	return g.image(ctx, t.question, t.settings, m, p)
}

// whole decides about an index with everything in it: all children, those that
// the upstream has and the proxy never saw included. The first that is not
// served decides.
func (t *tour) whole(ctx context.Context, m *image.Manifest, depth int) Decision {
	warning := ""
	for _, d := range m.Manifests {
		if end := t.enter(ctx, depth); end != nil {
			return *end
		}
		if _, ok := t.seen[d.Digest]; ok {
			continue
		}
		child := t.wholeChild(ctx, d, depth)
		if t.seen[d.Digest] = child; child.Outcome != Served {
			return child
		}
		warning = cmp.Or(warning, child.Warning)
	}
	return Decision{Outcome: Served, Warning: warning}
}

func (t *tour) wholeChild(ctx context.Context, d image.Descriptor, depth int) Decision {
	m, err := t.gate.fetchChild(ctx, t.question, d)
	switch {
	case errors.Is(err, image.ErrManifestUnknown) || errors.Is(err, image.ErrNameUnknown):
		return Decision{Outcome: Served} // a sparse index: nobody can pull what is not there
	case err != nil:
		return t.gate.unable(t.settings, t.question, &image.Manifest{Digest: d.Digest}, err)
	case m.Index:
		return t.whole(ctx, m, depth+1)
	}
	return t.gate.image(ctx, t.question, t.settings, m, forWait)
}
