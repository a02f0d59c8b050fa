package localregistry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// staleTemporary is the age of a file that was never moved into place: whoever
// wrote it is gone.
const staleTemporary = 24 * time.Hour

// CollectOptions say what may go.
type CollectOptions struct {
	// OlderThan protects what was linked, renewed or written after it, whether
	// or not a manifest names it: pushes under way. The zero time keeps
	// everything.
	OlderThan time.Time
}

// Collected is what a collection took away.
type Collected struct {
	Links int   // of blobs to repositories
	Blobs int   // files
	Bytes int64 // of these files
}

// Collect takes away what no manifest needs, while the registry is in use: links
// of repositories to blobs that none of their manifests names, then content that
// no repository links, then the aliases of content that is gone. Which manifests
// stay is the caller's decision, by DeleteManifest. One collection runs at a
// time, others wait. It can be cut off anywhere.
//
// What it cannot read it keeps: a repository with a damaged manifest loses no
// link, and the error says so. It goes on with the others.
func (r *Registry) Collect(ctx context.Context, o CollectOptions) (Collected, error) {
	select {
	case r.collecting <- struct{}{}:
		defer func() { <-r.collecting }()
	case <-ctx.Done():
		return Collected{}, fmt.Errorf("collect garbage: %w", ctx.Err())
	}
	r.marks.begin()
	defer r.marks.end()
	c := &collection{Registry: r, olderThan: o.OlderThan}
	err := c.run(ctx)
	if err := errors.Join(append(c.damaged, err)...); err != nil {
		return c.done, fmt.Errorf("collect garbage: %w", err)
	}
	return c.done, nil
}

type collection struct {
	*Registry
	olderThan time.Time
	done      Collected
	damaged   []error
}

// run first learns all links and then removes files: an error in between means
// that a link may not have been seen, and no file goes.
func (c *collection) run(ctx context.Context) error {
	if err := c.eachRepository(ctx, "", func(repo string) error { return c.links(ctx, repo) }); err != nil {
		return err
	}
	if err := c.eachHash(ctx, layoutRoot+"/blobs/sha256", c.blob); err != nil {
		return err
	}
	return c.eachHash(ctx, aliasRoot, c.alias)
}

// links marks what the repository links, and takes away the links to blobs that
// its manifests do not name.
func (c *collection) links(ctx context.Context, repo string) error {
	c.marks.enter(repo)
	defer c.marks.leave()
	readable, before := true, c.done.Links
	err := c.eachLink(ctx, repo, revisionLinks, func(d digest.Digest, _ time.Time) error {
		c.marks.linked(repo, d)
		if err := c.markNamed(ctx, repo, d); err != nil {
			readable = false
			c.damaged = append(c.damaged, fmt.Errorf("read manifest %s of %s: %w", d, repo, err))
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("read manifests of %s: %w", repo, err)
	}
	err = c.eachLink(ctx, repo, layerLinks, func(d digest.Digest, written time.Time) error {
		if !readable || c.marks.isNamed(d) || !written.Before(c.olderThan) {
			c.marks.linked(repo, d)
			return nil
		}
		return c.link(ctx, repo, d)
	})
	if err == nil && c.done.Links > before { // no link may come back to content that is gone
		err = c.driver.syncFrom(linksDir(repo, layerLinks))
	}
	if err != nil {
		return fmt.Errorf("collect blobs of %s: %w", repo, err)
	}
	return nil
}

// markNamed marks all content that a manifest names: config, layers, children,
// subject, with or without inline data.
func (c *collection) markNamed(ctx context.Context, repo string, d digest.Digest) error {
	raw, err := c.readManifest(ctx, d)
	if notFound(err) { // to all the world, the repository does not have it
		return nil
	}
	if err != nil {
		return err
	}
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		return err
	}
	for _, named := range references(m) {
		if named.Algorithm() == digest.SHA512 {
			named, err = c.readAlias(ctx, named)
			if notFound(err) { // never uploaded under this name
				continue
			}
			if err != nil {
				return err
			}
		}
		c.marks.named(repo, named)
	}
	return nil
}

// link takes one link away, unless somebody came to rely on it.
func (c *collection) link(ctx context.Context, repo string, d digest.Digest) error {
	defer c.guard.exclude(d)()
	written, ok, err := c.linkTime(ctx, repo, layerLinks, d)
	if err != nil || !ok {
		return err
	}
	if c.marks.isNamed(d) || !written.Before(c.olderThan) {
		c.marks.linked(repo, d)
		return nil
	}
	if err := c.unlink(ctx, repo, layerLinks, d); err != nil {
		return err
	}
	c.done.Links++
	return nil
}

// blob takes one file of content away, if no repository links it.
func (c *collection) blob(ctx context.Context, dir, hex string) error {
	d := digest.NewDigestFromEncoded(digest.SHA256, hex)
	if d.Validate() != nil || c.marks.isLinked(d) {
		return nil
	}
	defer c.guard.exclude(d)()
	if c.marks.isLinked(d) {
		return nil
	}
	info, err := c.driver.Stat(ctx, blobPath(d))
	whole := err == nil
	if notFound(err) { // a crash came before the file was moved into place
		info, err = c.driver.Stat(ctx, dir)
	}
	if notFound(err) {
		return nil
	}
	if err != nil || !info.ModTime().Before(c.olderThan) {
		return err
	}
	if err := c.driver.Delete(ctx, dir); err != nil {
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	if whole {
		c.done.Blobs++
		c.done.Bytes += info.Size()
	}
	return nil
}

// alias takes one alias away, if its content is gone. A damaged one stays: what
// it stood for may still be there.
func (c *collection) alias(ctx context.Context, file, hex string) error {
	if strings.HasSuffix(hex, ".tmp") {
		return c.temporary(ctx, file)
	}
	d := digest.NewDigestFromEncoded(digest.SHA512, hex)
	if d.Validate() != nil {
		return nil
	}
	target, err := c.readAlias(ctx, d)
	if notFound(err) || errors.Is(err, errAliasDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.guard.exclude(target)()
	if _, err := c.driver.Stat(ctx, blobPath(target)); !notFound(err) {
		return err
	}
	info, err := c.driver.Stat(ctx, file)
	if err != nil || !info.ModTime().Before(c.olderThan) {
		return err
	}
	return c.driver.Delete(ctx, file)
}

func (c *collection) temporary(ctx context.Context, file string) error {
	info, err := c.driver.Stat(ctx, file)
	if err == nil && time.Since(info.ModTime()) > staleTemporary && info.ModTime().Before(c.olderThan) {
		err = c.driver.Delete(ctx, file)
	}
	if notFound(err) {
		return nil
	}
	return err
}

// eachHash calls f for each entry of the folders 00 to ff below root, with its
// path and name.
func (c *collection) eachHash(ctx context.Context, root string, f func(ctx context.Context, file, name string) error) error {
	folders, err := c.driver.List(ctx, root)
	if err != nil && !notFound(err) {
		return err
	}
	for _, folder := range folders {
		files, err := c.driver.List(ctx, folder)
		if err != nil && !notFound(err) {
			return err
		}
		for _, file := range files {
			if err := f(ctx, file, path.Base(file)); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
