package gate

import (
	"context"
	"fmt"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// maxNesting is how deep indexes may lie in each other.
const maxNesting = 4

// index decides about an index: it is refused when every image in it is. Its
// children are gated by their own verdicts when they are asked for, so what is
// not known yet holds nobody up. Children that the index carries inline must
// pass here: nobody will ask for them.
func (g *Gate) index(ctx context.Context, q Question, settings Settings, m *image.Manifest, depth int) Decision {
	if depth >= maxNesting {
		return answer(settings.Unscannable, fmt.Sprintf("indexes lie more than %d deep in each other", maxNesting))
	}
	var refusal *Decision
	refused, open := 0, 0
	for _, d := range m.Manifests {
		child, state := g.child(ctx, q, settings, d, depth)
		switch {
		case state == childArtifact:
		case child.Outcome == Served:
			open++
		case d.Data != nil:
			child.Message = "the index carries an image inline that is not to be served: " + child.Message
			return child
		case child.Outcome == Pending:
			open++
		default:
			if refused++; refusal == nil {
				refusal = &child
			}
		}
	}
	if refusal == nil || open > 0 {
		return Decision{Outcome: Served}
	}
	if refused > 1 {
		refusal.Message += fmt.Sprintf(" (and %d more platforms of this index are refused)", refused-1)
	}
	return *refusal
}

type childState int

const (
	childImage childState = iota
	childArtifact
)

// child decides about one entry of an index from what is known already.
func (g *Gate) child(ctx context.Context, q Question, settings Settings, d image.Descriptor, depth int) (Decision, childState) {
	m, err := g.Manifest(ctx, q.Target, d)
	if err != nil || m == nil {
		return Decision{Outcome: Pending, Message: "a child of the index is not known yet"}, childImage
	}
	if m.Index {
		return g.index(ctx, q, settings, m, depth+1), childImage
	}
	if s, err := g.subject(ctx, q.Target, m, never); err == nil && s.Kind == inventory.KindArtifact {
		return Decision{}, childArtifact
	}
	q.Tag = "" // the child is judged as it will be asked for: by its digest
	return g.image(ctx, q, settings, m, never), childImage
}
