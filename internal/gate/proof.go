package gate

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// prove refuses a manifest that names blobs which its pusher has not shown to
// have, by uploading them, by mounting them, or because it may read them here
// anyway. Who asks whether such a blob is here has been told that it is not. A
// manifest is easily made round any digest, with a layer on top that covers up
// what is wrong below, and would hand to everybody what its maker never had. One
// that the repository has already adds nothing.
//
// Where the gate is passive, and of content that may be kept elsewhere, nothing is
// refused: it is noted that the manifest does not open the blobs.
func (g *Gate) prove(ctx context.Context, q Question, m *image.Manifest) error {
	if m.Index {
		return nil
	}
	repo := q.Target.Key()
	known, err := g.Manifest(ctx, q.Target, image.Descriptor{Digest: m.Digest})
	if err != nil {
		return err
	}
	if known != nil {
		if doubted, err := g.Catalog.Doubted(ctx, repo, m.Digest); err != nil || !doubted {
			return err
		}
	}
	unproven, err := g.unproven(ctx, q, m, known != nil)
	switch {
	case err != nil:
		return err
	case len(unproven) > 0:
		return g.Catalog.PutUnproven(ctx, repo, m.Digest, unproven)
	case known != nil:
		return g.Catalog.Prove(ctx, repo, m.Digest)
	}
	return nil
}

// unproven are the blobs of a manifest that its pusher has not shown to have, and
// that are only noted. Others are an error.
func (g *Gate) unproven(ctx context.Context, q Question, m *image.Manifest, known bool) ([]digest.Digest, error) {
	lenient := known || g.Config().For(q.Target.Name()).Mode == ModePassive
	var all []digest.Digest
	seen := map[digest.Digest]bool{emptyJSON: true}
	for _, desc := range m.Descriptors() {
		d, err := g.Canonical(ctx, desc.Digest)
		if err != nil {
			return nil, err
		}
		if seen[d] || desc.Data != nil {
			continue
		}
		seen[d] = true
		has, err := g.has(ctx, q, d)
		if err != nil {
			return nil, err
		}
		if has {
			continue
		}
		if !lenient {
			elsewhere, err := g.elsewhere(ctx, q, desc)
			if err != nil {
				return nil, err
			}
			if !elsewhere {
				return nil, fmt.Errorf("%w: %s", image.ErrReferenceMissing, desc.Digest)
			}
		}
		all = append(all, d)
	}
	return all, nil
}

// elsewhere reports whether content that may be kept elsewhere is.
func (g *Gate) elsewhere(ctx context.Context, q Question, desc image.Descriptor) (bool, error) {
	if !desc.Elsewhere() {
		return false, nil
	}
	_, err := q.Target.Upstream.Registry.StatBlob(ctx, q.Target.Repository, desc.Digest)
	if absent(err) {
		return true, nil
	}
	return false, err
}

// has reports whether the principal of the question has shown to have a blob, or
// may read it here.
func (g *Gate) has(ctx context.Context, q Question, d digest.Digest) (bool, error) {
	proven, err := g.proven(ctx, q, d)
	if proven || err != nil {
		return proven, err
	}
	return g.readable(ctx, q, d)
}

// proven reports whether the principal of the question has uploaded or mounted a
// blob lately.
func (g *Gate) proven(ctx context.Context, q Question, d digest.Digest) (bool, error) {
	return g.Catalog.Proven(ctx, q.Target.Key(), d, q.Principal, g.Now().Add(-orphanLife))
}

// maxReadable bounds the manifests that are looked at for one blob. A blob that
// more of them name, the first of which are all refused, is uploaded again by
// whoever needs it.
const maxReadable = 64

// readable reports whether the principal of the question may read a blob here, by
// what is known already and as if the gate were not passive: where nothing is
// refused, being served proves nothing.
func (g *Gate) readable(ctx context.Context, q Question, d digest.Digest) (bool, error) {
	naming, err := g.Catalog.ManifestsNaming(ctx, q.Target.Key(), d)
	if err != nil {
		return false, err
	}
	if len(naming) > maxReadable {
		naming = naming[:maxReadable]
	}
	q.Tag, q.Above = "", ""
	settings := g.Config().For(q.Target.Name())
	if settings.Mode == ModePassive {
		settings.Mode = ModePolicy
	}
	decision, err := g.byManifests(ctx, q, d, naming, func(m *image.Manifest) Decision { return g.image(ctx, q, settings, m, never) })
	return decision.Outcome == Served, err
}
