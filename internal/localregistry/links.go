package localregistry

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/opencontainers/go-digest"
)

// A link is the file that says that a repository has content. Its time is when
// it was written, or last renewed by somebody who was told that the content is
// there: the lease of a push under way.
type linkKind string

const (
	layerLinks    linkKind = "_layers"
	revisionLinks linkKind = "_manifests/revisions"

	// leaseStep is how old a link may be before it is renewed: often enough for
	// any sensible grace, and not a write for each read.
	leaseStep = time.Minute
)

// linksDir is the folder of all links of one kind, linkDir that of one link,
// which holds nothing else.
func linksDir(repo string, kind linkKind) string {
	return repositoryPath(repo, string(kind), digest.SHA256.String())
}

func linkDir(repo string, kind linkKind, d digest.Digest) string {
	return path.Join(linksDir(repo, kind), d.Encoded())
}

// eachLink calls f for each link of one kind, with its time. Links that vanish
// meanwhile are left out.
func (r *Registry) eachLink(ctx context.Context, repo string, kind linkKind, f func(digest.Digest, time.Time) error) error {
	names, err := r.driver.List(ctx, linksDir(repo, kind))
	if err != nil && !notFound(err) {
		return err
	}
	for _, name := range names {
		d := digest.NewDigestFromEncoded(digest.SHA256, path.Base(name))
		if d.Validate() != nil {
			continue
		}
		written, ok, err := r.linkTime(ctx, repo, kind, d)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := f(d, written); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// linkTime tells when the link was written or last renewed, and false when there
// is none.
func (r *Registry) linkTime(ctx context.Context, repo string, kind linkKind, d digest.Digest) (time.Time, bool, error) {
	info, err := r.driver.Stat(ctx, path.Join(linkDir(repo, kind, d), "link"))
	if notFound(err) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, err
	}
	return info.ModTime(), true, nil
}

// linked reports whether the repository has the content, as a blob or as a
// manifest.
func (r *Registry) linked(ctx context.Context, repo string, d digest.Digest) (bool, error) {
	_, layer, err := r.linkTime(ctx, repo, layerLinks, d)
	if err != nil || layer {
		return layer, err
	}
	_, revision, err := r.linkTime(ctx, repo, revisionLinks, d)
	return revision, err
}

// renew extends the lease of a blob that somebody is told to be there. The
// caller holds the share of d.
func (r *Registry) renew(ctx context.Context, repo string, d digest.Digest) error {
	r.marks.named(repo, d)
	written, ok, err := r.linkTime(ctx, repo, layerLinks, d)
	if err != nil || !ok || time.Since(written) < leaseStep {
		return err
	}
	return r.driver.touch(path.Join(linkDir(repo, layerLinks, d), "link"))
}

// unlink takes the content away from the repository. The caller holds d alone.
func (r *Registry) unlink(ctx context.Context, repo string, kind linkKind, d digest.Digest) error {
	a := r.ledger.acquire(repo)
	defer r.ledger.release(repo, a)
	a.mu.Lock()
	defer a.mu.Unlock()
	size, err := r.blobSize(ctx, d)
	if err != nil {
		return err
	}
	err = r.driver.Delete(ctx, linkDir(repo, kind, d))
	still, checkErr := r.linked(ctx, repo, d)
	switch {
	case err != nil || checkErr != nil:
		a.counted = false // whether it is gone is not known
	case !still:
		a.bytes -= size
	}
	return errors.Join(err, checkErr)
}

// blobSize is the size of the stored content in bytes, 0 when it is not there.
func (r *Registry) blobSize(ctx context.Context, d digest.Digest) (int64, error) {
	info, err := r.driver.Stat(ctx, blobPath(d))
	if notFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
