package gate

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
)

// member is a manifest that a repository is known to have.
type member struct {
	repository catalog.Repository
	digest     digest.Digest
}

// binding is a tag of a repository.
type binding struct {
	repository catalog.Repository
	tag        string
}

// Manifest returns a manifest that the repository is known to have, or that
// the descriptor carries; nil when there is none.
func (g *Gate) Manifest(ctx context.Context, t Target, d image.Descriptor) (*image.Manifest, error) {
	if d.Data != nil {
		return image.ParseManifest(d.Data, "")
	}
	known, err := g.Canonical(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	k := member{t.Key(), known}
	if _, ok := g.members.Get(k); ok {
		if m, ok := g.manifests.Get(known); ok {
			return m, nil
		}
	}
	raw, mediaType, err := g.Catalog.Manifest(ctx, k.repository, known)
	if err != nil || raw == nil {
		return nil, err
	}
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return nil, err
	}
	g.manifests.Put(known, m)
	g.members.Put(k, struct{}{})
	return m, nil
}

// Fetch reads a manifest from the upstream and records that the repository has
// it. ref is a tag or a digest; a tag is resolved by this one request, so that
// the bytes that are judged are the bytes that are served. What a tag stands for
// is Bind's matter.
func (g *Gate) Fetch(ctx context.Context, q Question, ref string) (*image.Manifest, error) {
	for {
		before := g.forgotten.Load()
		raw, mediaType, err := q.Target.Upstream.Registry.Manifest(ctx, q.Target.Repository, ref)
		if err != nil {
			return nil, err
		}
		m, err := image.ParseManifest(raw, mediaType)
		if err != nil {
			return nil, err
		}
		if current, err := g.learn(ctx, q, m, before); current || err != nil {
			return m, err
		}
	}
}

// learn notes that the repository has a manifest that was read there. It reports
// false, and notes nothing, when manifests were deleted since it was read: this
// may be one of them.
func (g *Gate) learn(ctx context.Context, q Question, m *image.Manifest, before int64) (bool, error) {
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	if g.forgotten.Load() != before {
		return false, ctx.Err()
	}
	if _, known := g.members.Get(member{q.Target.Key(), m.Digest}); known {
		return true, nil
	}
	q.Tag = ""
	return true, g.write(ctx, q, m)
}

// record notes what has been pushed: known or not, it is wanted now.
func (g *Gate) record(ctx context.Context, q Question, m *image.Manifest) error {
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	return g.write(ctx, q, m)
}

// write is called with forgetting shared.
func (g *Gate) write(ctx context.Context, q Question, m *image.Manifest) error {
	repo := q.Target.Key()
	if err := g.Catalog.Record(ctx, repo, m, q.Tag, q.Principal, g.Now()); err != nil {
		return err
	}
	g.manifests.Put(m.Digest, m)
	g.members.Put(member{repo, m.Digest}, struct{}{})
	if q.Tag != "" {
		g.bindings.Put(binding{repo, q.Tag}, m.Digest)
	}
	if q.Tag != "" || m.Index {
		g.inform(ctx, q.Target, m)
	}
	return nil
}

// Bound returns what the tag of a question is known to stand for, "" when that is
// not known. Whoever is about to ask the upstream asks this first, and hands it
// to Bind with the answer.
func (g *Gate) Bound(ctx context.Context, q Question) (digest.Digest, error) {
	b := binding{q.Target.Key(), q.Tag}
	if bound, ok := g.bindings.Get(b); ok || q.Tag == "" {
		return bound, nil
	}
	return g.Catalog.BoundTo(ctx, b.repository, b.tag)
}

// Bind notes what the upstream has said that the tag of the question stands for.
// If a push has moved the tag since it was known to stand for before, it stays
// where the push put it. The manifest is one that the repository had a moment
// ago: if it was deleted meanwhile, it stays so.
func (g *Gate) Bind(ctx context.Context, q Question, m *image.Manifest, before digest.Digest) error {
	if q.Tag == "" || before == m.Digest {
		return nil
	}
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	b := binding{q.Target.Key(), q.Tag}
	bound, err := g.Catalog.BindTag(ctx, b.repository, q.Tag, m.Digest, before)
	if err == nil && bound {
		g.bindings.Put(b, m.Digest)
		g.inform(ctx, q.Target, m)
	}
	return err
}

// ForgetTag notes that a repository no longer has a tag.
func (g *Gate) ForgetTag(ctx context.Context, t Target, tag string) error {
	g.forgetting.Lock()
	defer g.forgetting.Unlock()
	g.bindings.Remove(binding{t.Key(), tag})
	g.named.Remove(binding{t.Key(), tag})
	return g.Catalog.ForgetTag(ctx, t.Key(), tag)
}

// ForgetManifest notes that a repository no longer has a manifest, nor the tags
// that were bound to it.
func (g *Gate) ForgetManifest(ctx context.Context, t Target, d digest.Digest) error {
	g.forgetting.Lock()
	defer g.forgetting.Unlock()
	tags, err := g.Catalog.ForgetManifest(ctx, t.Key(), d, g.Now())
	g.forgotten.Add(1)
	g.members.Remove(member{t.Key(), d})
	for _, tag := range tags {
		g.bindings.Remove(binding{t.Key(), tag})
		g.named.Remove(binding{t.Key(), tag})
	}
	return err
}
