package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
)

// ImmutableError: the tag stands for an image and is not to be moved or deleted.
type ImmutableError struct {
	Repository, Tag string
	Manifest        digest.Digest // what it stands for
}

// Error is written for the client.
func (e *ImmutableError) Error() string {
	return fmt.Sprintf("the tag %s of %s is immutable (gate.immutable) and stands for %s: push under another tag", e.Tag, e.Repository, e.Manifest)
}

// Store puts a manifest into the upstream under a digest of its bytes, and
// records it.
func (g *Gate) Store(ctx context.Context, q Question, d digest.Digest, m *image.Manifest) error {
	q.Tag = ""
	return g.store(ctx, q, d.String(), m)
}

// store and whoever deletes the manifest wait for each other: what is stored
// after a delete is there, and known to be.
func (g *Gate) store(ctx context.Context, q Question, ref string, m *image.Manifest) error {
	if err := g.prove(ctx, q, m); err != nil {
		return err
	}
	defer g.stored.lock(tagKeyOf(q.Target, m.Digest.String()))()
	if err := q.Target.Upstream.Registry.PutManifest(ctx, q.Target.Repository, ref, m.MediaType, m.Raw); err != nil {
		return err
	}
	return g.record(ctx, q, m)
}

// Tag puts a manifest into the upstream under the tag of the question, as
// gate.push says: at once, or when the image is allowed. The decision is never a
// refusal; its warning is for the answer. Held tells that the tag waits.
func (g *Gate) Tag(ctx context.Context, q Question, m *image.Manifest) (d Decision, held bool, err error) {
	settings := g.Config().For(q.Target.Name())
	if settings.Push == PushQuarantine && settings.Mode != ModePassive {
		return g.quarantine(ctx, q, settings, m)
	}
	if err := g.move(ctx, q, m); err != nil {
		return Decision{}, false, err
	}
	return g.Observe(ctx, q, m), false, nil
}

// move makes the tag stand for the manifest.
func (g *Gate) move(ctx context.Context, q Question, m *image.Manifest) error {
	defer g.tagged.lock(tagKeyOf(q.Target, q.Tag))()
	if err := g.mutable(ctx, q.Target, q.Tag, m.Digest); err != nil {
		return err
	}
	if err := g.store(ctx, q, q.Tag, m); err != nil {
		return err
	}
	h, err := g.Catalog.Hold(ctx, q.Target.Key(), q.Tag)
	if h != nil && err == nil { // of before quarantine was turned off
		_, err = g.Catalog.DropHold(ctx, *h)
	}
	return err
}

// mutable refuses to let a tag stand for anything else than it does, if it is an
// immutable one. The upstream is asked what it stands for.
func (g *Gate) mutable(ctx context.Context, t Target, tag string, next digest.Digest) error {
	if !g.Config().ImmutableTag(t.Name(), tag) {
		return nil
	}
	d, err := t.Upstream.Registry.Resolve(ctx, t.Repository, tag)
	if errors.Is(err, image.ErrManifestUnknown) || errors.Is(err, image.ErrNameUnknown) {
		return nil
	}
	if err != nil || d == next {
		return err
	}
	return &ImmutableError{t.Name(), tag, d}
}

// DeleteTag deletes a tag, here and upstream, and takes it out of quarantine.
func (g *Gate) DeleteTag(ctx context.Context, t Target, tag string) error {
	defer g.tagged.lock(tagKeyOf(t, tag))()
	if err := g.mutable(ctx, t, tag, ""); err != nil {
		return err
	}
	err := t.Upstream.Registry.DeleteTag(ctx, t.Repository, tag)
	if err != nil && !absent(err) {
		return err
	}
	// What the upstream no longer has is forgotten, also when an earlier delete
	// was cut between the two. A tag that only waits is deleted by that.
	waiting, holdErr := g.Catalog.Hold(ctx, t.Key(), tag)
	if waiting != nil {
		err = nil
	}
	return errors.Join(err, holdErr, g.ForgetTag(ctx, t, tag))
}

// DeleteManifest deletes a manifest, here and upstream, with its tags.
func (g *Gate) DeleteManifest(ctx context.Context, t Target, d digest.Digest) error {
	known, err := g.Canonical(ctx, d)
	if err != nil {
		return err
	}
	tags, err := g.tagsNaming(ctx, t, known)
	if err != nil {
		return err
	}
	for _, tag := range tags { // in order, so that two deletes do not wait for each other
		defer g.tagged.lock(tagKeyOf(t, tag))()
	}
	for _, tag := range tags {
		var immutable *ImmutableError
		if err := g.mutable(ctx, t, tag, ""); errors.As(err, &immutable) && immutable.Manifest == known {
			return err
		}
	}
	defer g.stored.lock(tagKeyOf(t, known.String()))()
	return g.deleteManifest(ctx, t, d, known)
}

// tagsNaming are the tags that stand for a manifest or wait for it, in order, as
// far as the catalog and the upstream can tell.
func (g *Gate) tagsNaming(ctx context.Context, t Target, d digest.Digest) ([]string, error) {
	tags, err := g.Catalog.TagsNaming(ctx, t.Key(), d)
	upstream, ok := t.Upstream.Registry.(tagFinder)
	if err != nil || !ok {
		return tags, err
	}
	more, err := upstream.TagsNaming(ctx, t.Repository, d)
	if err != nil && !absent(err) {
		return nil, err
	}
	slices.Sort(more)
	for _, tag := range more {
		if at, found := slices.BinarySearch(tags, tag); !found {
			tags = slices.Insert(tags, at, tag)
		}
	}
	return tags, nil
}

// deleteManifest is called with the lock of the manifest held.
func (g *Gate) deleteManifest(ctx context.Context, t Target, d, known digest.Digest) error {
	err := t.Upstream.Registry.DeleteManifest(ctx, t.Repository, d)
	if err != nil && !absent(err) {
		return err
	}
	return errors.Join(err, g.ForgetManifest(ctx, t, known))
}

// DeleteUntagged deletes a manifest that nothing has kept since before, and
// reports whether it did: it may be wanted again since the caller looked.
func (g *Gate) DeleteUntagged(ctx context.Context, m catalog.Member, before time.Time) (bool, error) {
	u := g.Upstreams.Named(m.Repository.Upstream)
	if u == nil {
		return false, nil
	}
	t := Target{u, m.Repository.Name}
	defer g.stored.lock(tagKeyOf(t, m.Manifest.String()))()
	still, err := g.Catalog.Unkept(ctx, m, before)
	if err != nil || !still {
		return false, err
	}
	// The upstream is the truth about tags: somebody may have moved one there.
	if upstream, ok := u.Registry.(tagFinder); ok {
		if tags, err := upstream.TagsNaming(ctx, m.Repository.Name, m.Manifest); err != nil || len(tags) > 0 {
			return false, err
		}
	}
	if err := g.deleteManifest(ctx, t, m.Manifest, m.Manifest); err != nil && !absent(err) {
		return false, err
	}
	return true, nil
}

// tagFinder is a registry that can be asked which tags name a manifest.
type tagFinder interface {
	TagsNaming(ctx context.Context, repo string, d digest.Digest) ([]string, error)
}

// Touch notes that somebody who may push has asked whether a manifest is there,
// and is told so: it counts as pushed now. The error is image.ErrManifestUnknown
// when it has been collected meanwhile.
func (g *Gate) Touch(ctx context.Context, t Target, m *image.Manifest) error {
	k := member{t.Key(), m.Digest}
	if _, recently := g.wanted.Get(k); recently {
		return nil
	}
	defer g.stored.lock(tagKeyOf(t, m.Digest.String()))()
	there, err := g.Catalog.Refresh(ctx, catalog.Member{Repository: k.repository, Manifest: k.digest}, g.Now())
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%w: %s was deleted a moment ago", image.ErrManifestUnknown, m.Digest)
	}
	g.wanted.Add(k, struct{}{})
	return nil
}

// absent reports whether an upstream says that something is not there.
func absent(err error) bool {
	return slices.ContainsFunc([]error{image.ErrManifestUnknown, image.ErrNameUnknown, image.ErrBlobUnknown}, func(e error) bool { return errors.Is(err, e) })
}

// tagLocks lets one writer at a time work on a tag, or a manifest.
type tagLocks struct {
	mu  sync.Mutex
	all map[tagKey]*tagLock
}

type tagLock struct {
	sync.Mutex
	users int // guarded by tagLocks.mu
}

func tagKeyOf(t Target, tag string) tagKey { return tagKey{t.Upstream.Name, t.Repository, tag} }

// lock returns the function that unlocks.
func (ls *tagLocks) lock(k tagKey) func() {
	ls.mu.Lock()
	if ls.all == nil {
		ls.all = map[tagKey]*tagLock{}
	}
	l := ls.all[k]
	if l == nil {
		l = &tagLock{}
		ls.all[k] = l
	}
	l.users++
	ls.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		ls.mu.Lock()
		defer ls.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(ls.all, k)
		}
	}
}
