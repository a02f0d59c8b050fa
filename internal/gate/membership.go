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
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	k := member{t.Key(), d.Digest}
	if _, ok := g.members.Get(k); ok {
		if m, ok := g.manifests.Get(d.Digest); ok {
			return m, nil
		}
	}
	raw, mediaType, err := g.Catalog.Manifest(ctx, k.repository, d.Digest)
	if err != nil || raw == nil {
		return nil, err
	}
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return nil, err
	}
	g.manifests.Put(d.Digest, m)
	g.members.Put(k, struct{}{})
	return m, nil
}

// Fetch reads a manifest from the upstream and records that the repository has
// it. ref is a tag or a digest; a tag is resolved by this one request, so that
// the bytes that are judged are the bytes that are served.
func (g *Gate) Fetch(ctx context.Context, q Question, ref string) (*image.Manifest, error) {
	raw, mediaType, err := q.Target.Upstream.Registry.Manifest(ctx, q.Target.Repository, ref)
	if err != nil {
		return nil, err
	}
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return nil, err
	}
	return m, g.Record(ctx, q, m)
}

// Record notes that the repository has the manifest, and what the tag of the
// question is bound to. What is known already costs nothing.
func (g *Gate) Record(ctx context.Context, q Question, m *image.Manifest) error {
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	repo := q.Target.Key()
	k, b := member{repo, m.Digest}, binding{repo, q.Tag}
	_, known := g.members.Get(k)
	bound, _ := g.bindings.Get(b)
	if known && (q.Tag == "" || bound == m.Digest) {
		return nil
	}
	if err := g.Catalog.Record(ctx, repo, m, q.Tag, q.Principal, g.Now()); err != nil {
		return err
	}
	g.manifests.Put(m.Digest, m)
	g.members.Put(k, struct{}{})
	if q.Tag != "" {
		g.bindings.Put(b, m.Digest)
	}
	return nil
}

// Bind notes what the tag of the question stands for. The manifest is one that
// the repository had a moment ago: if it was deleted meanwhile, it stays so.
func (g *Gate) Bind(ctx context.Context, q Question, m *image.Manifest) error {
	g.forgetting.RLock()
	defer g.forgetting.RUnlock()
	b := binding{q.Target.Key(), q.Tag}
	if bound, ok := g.bindings.Get(b); q.Tag == "" || (ok && bound == m.Digest) {
		return nil
	}
	bound, err := g.Catalog.BindTag(ctx, b.repository, q.Tag, m.Digest)
	if err == nil && bound {
		g.bindings.Put(b, m.Digest)
	}
	return err
}

// ForgetTag notes that a repository no longer has a tag.
func (g *Gate) ForgetTag(ctx context.Context, t Target, tag string) error {
	g.forgetting.Lock()
	defer g.forgetting.Unlock()
	g.bindings.Remove(binding{t.Key(), tag})
	return g.Catalog.ForgetTag(ctx, t.Key(), tag)
}

// ForgetManifest notes that a repository no longer has a manifest, nor the tags
// that were bound to it.
func (g *Gate) ForgetManifest(ctx context.Context, t Target, d digest.Digest) error {
	g.forgetting.Lock()
	defer g.forgetting.Unlock()
	tags, err := g.Catalog.ForgetManifest(ctx, t.Key(), d)
	g.members.Remove(member{t.Key(), d})
	for _, tag := range tags {
		g.bindings.Remove(binding{t.Key(), tag})
	}
	return err
}
