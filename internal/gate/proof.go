package gate

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// prove finds out which blobs of a manifest that is being pushed its pusher has
// shown to have, by uploading them, by mounting them, or because it may read them
// here anyway. Artifacts open no others: a manifest is easily made round any
// digest, and would hand to everybody what its maker never had. It is called
// before the manifest is stored, so that nothing is open for a moment.
func (g *Gate) prove(ctx context.Context, q Question, m *image.Manifest) error {
	if m.Index {
		return nil
	}
	repo := q.Target.Key()
	var unproven []digest.Digest
	seen := map[digest.Digest]bool{emptyJSON: true}
	for _, desc := range m.Descriptors() {
		d, err := g.Canonical(ctx, desc.Digest)
		if err != nil {
			return err
		}
		if seen[d] || desc.Data != nil {
			continue
		}
		seen[d] = true
		has, err := g.has(ctx, q, d)
		if err != nil {
			return err
		}
		if !has {
			unproven = append(unproven, d)
		}
	}
	return g.Catalog.CloseBlobs(ctx, repo, unproven)
}

// has reports whether the principal of the question may have the bytes of a blob.
func (g *Gate) has(ctx context.Context, q Question, d digest.Digest) (bool, error) {
	ok, err := g.Catalog.Proven(ctx, q.Target.Key(), d, q.Principal, g.Now().Add(-orphanLife))
	if ok || err != nil || g.Config().For(q.Target.Name()).Mode == ModePassive {
		return ok, err // where nothing is refused, being served proves nothing
	}
	decision, err := g.Blob(ctx, q, d, Read, false)
	if absent(err) {
		return false, nil
	}
	return err == nil && decision.Outcome == Served && decision.Pass == nil, err
}
