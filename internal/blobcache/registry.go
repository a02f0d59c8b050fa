package blobcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/upstream"
)

// maxLooks is how often a read looks again when the cache changes under it.
const maxLooks = 4

// Registry is a remote registry behind the cache. It keeps the contract of the
// registry itself.
type Registry struct {
	*upstream.Registry
	cache *Cache
	name  string
}

// Through puts the cache before a registry. name tells apart registries that
// give different rights, by their accounts for example.
func (c *Cache) Through(r *upstream.Registry, name string) *Registry {
	return &Registry{Registry: r, cache: c, name: name}
}

// part is what a reader wants of a blob.
type part struct {
	repo           string
	digest         digest.Digest
	offset, length int64 // to the end when length is negative
}

func (q part) whole() bool { return q.offset == 0 && q.length < 0 }

// home names a repository for the cache. None of the three has a space.
func (r *Registry) home(repo string) home {
	return home(r.name + " " + r.Address() + " " + repo)
}

// Blob opens a part of a blob, as upstream.Registry does: from the cache where
// that has it; else a whole blob is brought in, and read while it comes.
func (r *Registry) Blob(ctx context.Context, repo string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	q := part{repo, d, offset, length}
	if image.SupportedDigest(d) != nil || !image.ValidRepository(repo) || offset < 0 {
		return r.past(ctx, q)
	}
	for range maxLooks {
		body, size, err := r.look(ctx, q)
		if errors.Is(err, errPast) {
			break
		}
		if !errors.Is(err, errAgain) {
			return body, size, err
		}
	}
	return r.past(ctx, q)
}

// past asks the registry itself.
func (r *Registry) past(ctx context.Context, q part) (io.ReadCloser, int64, error) {
	r.cache.missed()
	return r.Registry.Blob(ctx, q.repo, q.digest, q.offset, q.length)
}

// look serves the read in the way that the state of the cache asks for. Its
// errors are the registry's and those of ctx, errPast, and errAgain.
func (r *Registry) look(ctx context.Context, q part) (io.ReadCloser, int64, error) {
	b, f := r.cache.find(q.digest)
	switch {
	case b == nil && !q.whole():
		return nil, 0, errPast
	case b == nil && f == nil:
		return r.bring(ctx, q)
	}
	if err := r.prove(ctx, q); err != nil {
		return nil, 0, err
	}
	if b == nil {
		return r.follow(ctx, q, f)
	}
	if q.offset > b.size {
		return nil, 0, fmt.Errorf("get blob %s of %s: %w: blob has %d bytes", q.digest, q.repo, image.ErrRangeInvalid, b.size)
	}
	body, err := r.cache.read(b, q)
	return body, b.size, err
}

// prove asks the registry once whether the repository may have what the cache
// has: for the first byte, because some registries answer HEAD for any blob that
// they have in any repository.
func (r *Registry) prove(ctx context.Context, q part) error {
	known, seen := r.cache.knows(r.home(q.repo), q.digest)
	if known {
		return nil
	}
	body, _, err := r.Registry.Blob(ctx, q.repo, q.digest, 0, 1)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("get blob %s of %s: %w", q.digest, q.repo, err)
	}
	r.cache.learn(r.home(q.repo), q.digest, seen)
	return nil
}

// bring asks the registry for the blob and lets it be filled, if there is room.
// Until it is known that there is, the answer ends with its reader.
func (r *Registry) bring(ctx context.Context, q part) (io.ReadCloser, int64, error) {
	c := r.cache
	f, err := c.begin(q.digest, r.home(q.repo))
	if err != nil {
		return nil, 0, err
	}
	c.missed()
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, cancel)
	body, size, err := r.Registry.Blob(own, q.repo, q.digest, 0, -1)
	if !release() { // the reader has gone, which says nothing about the blob
		if err == nil {
			_ = body.Close()
		}
		c.giveUp(f, errAgain)
		return nil, 0, ctx.Err()
	}
	if err != nil {
		cancel()
		c.giveUp(f, err)
		return nil, 0, err
	}
	src := source{body, cancel}
	file, err := c.start(f, src, size)
	if err != nil {
		c.giveUp(f, err)
		return &linked{src, context.AfterFunc(ctx, cancel)}, size, nil
	}
	return r.follower(ctx, q, f, file), size, nil
}

// follow reads what somebody else brings in.
func (r *Registry) follow(ctx context.Context, q part, f *fill) (io.ReadCloser, int64, error) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	if f.err != nil {
		return nil, 0, r.cache.failed(f, r.home(q.repo))
	}
	file, err := f.open()
	if err != nil {
		return nil, 0, errAgain // it has just been finished or given up
	}
	r.cache.followed()
	return r.follower(ctx, q, f, file), f.size, nil
}

// follower reads a fill that it has been counted in.
func (r *Registry) follower(ctx context.Context, q part, f *fill, file *os.File) *follower {
	around := func(ctx context.Context, at int64) (io.ReadCloser, error) {
		body, _, err := r.Registry.Blob(ctx, q.repo, q.digest, at, -1)
		return body, err
	}
	return &follower{ctx: ctx, fill: f, file: file, around: around}
}

// StatBlob tells the size of a blob, from the cache if the repository is known
// to have it.
func (r *Registry) StatBlob(ctx context.Context, repo string, d digest.Digest) (int64, error) {
	if b, _ := r.cache.find(d); b != nil {
		if known, _ := r.cache.knows(r.home(repo), d); known {
			return b.size, nil
		}
	}
	return r.Registry.StatBlob(ctx, repo, d)
}

// DeleteBlob deletes the blob at the registry. Whatever comes of that, the
// registry is asked again before the repository gets the blob from here.
func (r *Registry) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	defer r.cache.forget(r.home(repo), d)
	return r.Registry.DeleteBlob(ctx, repo, d)
}
