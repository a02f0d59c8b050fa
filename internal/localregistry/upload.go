package localregistry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pratique/pratique/engine/image"
)

// uploadIDRE keeps what a caller hands back as state from naming another path.
var uploadIDRE = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// StartUpload begins the upload of a blob. The state that it returns names the
// upload in the calls that follow, also after a restart.
func (r *Registry) StartUpload(ctx context.Context, repo string) (string, error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return "", err
	}
	w, err := rep.Blobs(ctx).Create(ctx)
	if err != nil {
		return "", fmt.Errorf("start upload to %s: %w", repo, err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("start upload to %s: %w", repo, err)
	}
	return w.ID(), nil
}

// AppendUpload writes body at offset, which must be the end of what was written
// so far. What was read of a body that breaks off is kept and counted. An upload
// that is larger than what the repository may still hold is dropped.
func (r *Registry) AppendUpload(ctx context.Context, repo, state string, offset int64, body io.Reader) (string, int64, error) {
	w, release, err := r.resume(ctx, repo, state, offset)
	if err != nil {
		return state, 0, err
	}
	defer release()
	left, err := r.room(ctx, repo)
	if err != nil {
		return state, 0, errors.Join(fmt.Errorf("append to upload to %s: %w", repo, err), w.Close())
	}
	n, err := w.ReadFrom(&capped{body, max(0, left-offset)})
	if err := errors.Join(err, w.Close()); err != nil {
		return state, n, r.refuse(ctx, repo, state, fmt.Errorf("append to upload to %s: %w", repo, err))
	}
	return state, n, nil
}

// CommitUpload appends body, if there is one, and stores the upload as blob d.
// An upload that is not what d says, or for which there is no room, is dropped.
func (r *Registry) CommitUpload(ctx context.Context, repo, state string, offset int64, d digest.Digest, body io.Reader, size int64) error {
	w, release, err := r.resume(ctx, repo, state, offset)
	if err != nil {
		return err
	}
	defer release()
	if err := image.SupportedDigest(d); err != nil {
		return errors.Join(fmt.Errorf("commit upload to %s: %w: %w", repo, image.ErrUnsupported, err), w.Close())
	}
	if err := r.readLast(ctx, repo, w, d, body, size); err != nil {
		err = errors.Join(fmt.Errorf("commit upload to %s: %w", repo, err), w.Close())
		return r.refuse(ctx, repo, state, err)
	}
	target := d
	if d.Algorithm() != digest.SHA256 {
		if w, target, err = r.rehash(ctx, repo, w, d); err != nil {
			return r.refuse(ctx, repo, state, fmt.Errorf("commit upload to %s as %s: %w", repo, d, err))
		}
	}
	if err := r.commit(ctx, repo, w, d, target); err != nil {
		return r.refuse(ctx, repo, state, fmt.Errorf("commit upload to %s as %s: %w", repo, d, err))
	}
	return nil
}

// readLast appends the body that came with the commit. A blob that the
// repository has already takes no room.
func (r *Registry) readLast(ctx context.Context, repo string, w distribution.BlobWriter, d digest.Digest, body io.Reader, size int64) error {
	if body == nil {
		return nil
	}
	left, err := r.room(ctx, repo)
	if err != nil {
		return err
	}
	if target, ok, err := r.canonical(ctx, d); err != nil {
		return err
	} else if ok {
		if have, err := r.linked(ctx, repo, target); err != nil {
			return err
		} else if have {
			left = math.MaxInt64
		}
	}
	n, err := w.ReadFrom(&capped{body, max(0, left-w.Size())})
	if err == nil && size >= 0 && n != size {
		err = fmt.Errorf("body has %d bytes, not the %d that were announced: %w", n, size, io.ErrUnexpectedEOF)
	}
	return err
}

// rehash reads the stored upload again, checks that it is d, and returns its
// sha256 with a writer to go on with. It closes the one it was given.
func (r *Registry) rehash(ctx context.Context, repo string, w distribution.BlobWriter, d digest.Digest) (distribution.BlobWriter, digest.Digest, error) {
	if err := w.Close(); err != nil { // now all bytes are in the file
		return nil, "", err
	}
	stored, err := r.driver.Reader(ctx, repositoryPath(repo, "_uploads", w.ID(), "data"), 0)
	if err != nil {
		return nil, "", err
	}
	defer stored.Close()
	wanted, canonical := d.Algorithm().Digester(), digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(wanted.Hash(), canonical.Hash()), stored); err != nil {
		return nil, "", err
	}
	if wanted.Digest() != d {
		return nil, "", image.ErrDigestInvalid
	}
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return nil, "", err
	}
	again, err := rep.Blobs(ctx).Resume(ctx, w.ID())
	return again, canonical.Digest(), err
}

// commit stores the upload as target, a sha256, and links it to the repository;
// d is the same, or the sha512 that the bytes were found to have.
func (r *Registry) commit(ctx context.Context, repo string, w distribution.BlobWriter, d, target digest.Digest) error {
	defer r.guard.share(target)()
	settle, err := r.reserve(ctx, repo, target, w.Size())
	if err != nil {
		return errors.Join(err, w.Close())
	}
	defer settle()
	defer r.marks.linked(repo, target)
	if d != target {
		if err := r.putAlias(ctx, d, target); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	_, err = w.Commit(ctx, v1.Descriptor{Digest: target})
	var invalid distribution.ErrBlobInvalidDigest
	if errors.As(err, &invalid) {
		return image.ErrDigestInvalid
	}
	if err != nil {
		return err
	}
	// Another upload of the same blob may have moved it into place a moment ago.
	return r.driver.syncUp(blobPath(target))
}

// refuse drops an upload that can never be committed, and returns err.
func (r *Registry) refuse(ctx context.Context, repo, state string, err error) error {
	if !errors.Is(err, image.ErrDigestInvalid) && !errors.Is(err, image.ErrQuotaExceeded) {
		return err
	}
	return errors.Join(err, r.drop(ctx, repo, state))
}

// CancelUpload drops the upload.
func (r *Registry) CancelUpload(ctx context.Context, repo, state string) error {
	release, err := r.hold(repo, state)
	if err != nil {
		return err
	}
	defer release()
	return r.drop(ctx, repo, state)
}

func (r *Registry) drop(ctx context.Context, repo, state string) error {
	err := r.driver.Delete(ctx, repositoryPath(repo, "_uploads", state))
	if notFound(err) {
		return fmt.Errorf("cancel upload to %s: %w", repo, image.ErrUploadUnknown)
	}
	if err != nil {
		return fmt.Errorf("cancel upload to %s: %w", repo, err)
	}
	return nil
}

// resume opens the upload for this request alone. The release function must be
// called after the writer was closed or committed.
func (r *Registry) resume(ctx context.Context, repo, state string, offset int64) (distribution.BlobWriter, func(), error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return nil, nil, err
	}
	release, err := r.hold(repo, state)
	if err != nil {
		return nil, nil, err
	}
	w, err := rep.Blobs(ctx).Resume(ctx, state)
	if errors.Is(err, distribution.ErrBlobUploadUnknown) {
		err = image.ErrUploadUnknown
	}
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("resume upload to %s: %w", repo, err)
	}
	if size := w.Size(); size != offset {
		err := fmt.Errorf("upload to %s is at %d, not at %d: %w", repo, size, offset, image.ErrRangeInvalid)
		err = errors.Join(err, w.Close())
		release()
		return nil, nil, err
	}
	return w, release, nil
}

// hold marks the upload as being written. A second writer is refused as out of
// range: whatever offset it has, the upload will have moved.
func (r *Registry) hold(repo, state string) (release func(), err error) {
	if !image.ValidRepository(repo) || !uploadIDRE.MatchString(state) {
		return nil, fmt.Errorf("upload to %s: %w", repo, image.ErrUploadUnknown)
	}
	key := repo + "/" + state
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[key] {
		return nil, fmt.Errorf("upload to %s is being written by another request: %w", repo, image.ErrRangeInvalid)
	}
	r.busy[key] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, key)
	}, nil
}
