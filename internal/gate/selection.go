package gate

import (
	"context"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// Request is what a bundle chooses by when the question is about this image;
// false when the manifest has not been analysed or is no image. It analyses
// nothing.
func (g *Gate) Request(ctx context.Context, q Question, m *image.Manifest) (bundle.Request, bool) {
	if m.Index {
		return bundle.Request{}, false
	}
	s, err := g.subject(ctx, q.Target, m, never)
	if err != nil || s.Kind != inventory.KindImage {
		return bundle.Request{}, false
	}
	req, err := g.request(ctx, q, m, s)
	return req, err == nil
}
