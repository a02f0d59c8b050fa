package localregistry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// StatBlob returns the size of the blob in bytes, if the repository has it. Who
// was told so may count on it: the lease of the blob is renewed.
func (r *Registry) StatBlob(ctx context.Context, repo string, d digest.Digest) (int64, error) {
	c, err := r.find(ctx, repo, d)
	if err != nil {
		return 0, err
	}
	defer r.guard.share(c)()
	return r.stat(ctx, repo, c)
}

// find returns the sha256 of the blob that d names, which the repository need
// not have.
func (r *Registry) find(ctx context.Context, repo string, d digest.Digest) (digest.Digest, error) {
	if !image.ValidRepository(repo) {
		return "", fmt.Errorf("repository %q: %w", repo, image.ErrNameUnknown)
	}
	c, ok, err := r.canonical(ctx, d)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", fmt.Errorf("%s@%s: %w", repo, d, r.unknown(ctx, repo, image.ErrBlobUnknown))
	}
	return c, nil
}

// stat returns the size of the blob d, a sha256, and renews its lease. The
// caller holds the share of d.
func (r *Registry) stat(ctx context.Context, repo string, d digest.Digest) (int64, error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return 0, err
	}
	desc, err := rep.Blobs(ctx).Stat(ctx, d)
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return 0, fmt.Errorf("%s@%s: %w", repo, d, r.unknown(ctx, repo, image.ErrBlobUnknown))
	}
	if err == nil {
		err = r.renew(ctx, repo, d)
	}
	if err != nil {
		return 0, fmt.Errorf("stat blob %s of %s: %w", d, repo, err)
	}
	return desc.Size, nil
}

// Blob opens the blob at offset for at most length bytes, to its end when length
// is negative, and returns its whole size. A file that ends early is
// io.ErrUnexpectedEOF from Read.
func (r *Registry) Blob(ctx context.Context, repo string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	c, err := r.find(ctx, repo, d)
	if err != nil {
		return nil, 0, err
	}
	defer r.guard.share(c)() // until the file is open; then it may go
	size, err := r.stat(ctx, repo, c)
	if err != nil {
		return nil, 0, err
	}
	if offset < 0 || offset > size {
		return nil, 0, fmt.Errorf("blob %s of %s from %d: %w", d, repo, offset, image.ErrRangeInvalid)
	}
	rc, err := r.driver.Reader(ctx, blobPath(c), offset)
	if err != nil {
		return nil, 0, fmt.Errorf("open blob %s of %s: %w", d, repo, err)
	}
	left := size - offset
	if length >= 0 {
		left = min(left, length)
	}
	return &section{ReadCloser: rc, left: left}, size, nil
}

// section reads exactly left bytes.
type section struct {
	io.ReadCloser
	left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo lets a file reach the network without passing through memory here.
func (s *section) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &io.LimitedReader{R: s.ReadCloser, N: s.left})
	s.left -= n
	if err == nil && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// DeleteBlob takes the blob away from the repository. Other repositories keep
// it.
func (r *Registry) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	c, err := r.find(ctx, repo, d)
	if err != nil {
		return err
	}
	defer r.guard.exclude(c)()
	if _, err := r.stat(ctx, repo, c); err != nil {
		return err
	}
	if err := r.unlink(ctx, repo, layerLinks, c); err != nil {
		return fmt.Errorf("delete blob %s of %s: %w", d, repo, err)
	}
	return r.driver.syncUp(linkDir(repo, layerLinks, c))
}

// MountBlob gives repo the blob that from has. False means that from does not
// have it, and that the blob is to be uploaded.
func (r *Registry) MountBlob(ctx context.Context, repo, from string, d digest.Digest) (bool, error) {
	c, err := r.find(ctx, from, d)
	if errors.Is(err, image.ErrBlobUnknown) || errors.Is(err, image.ErrNameUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return false, err
	}
	defer r.guard.share(c)()
	size, err := r.stat(ctx, from, c)
	if errors.Is(err, image.ErrBlobUnknown) || errors.Is(err, image.ErrNameUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	settle, err := r.reserve(ctx, repo, c, size)
	if err != nil {
		return false, fmt.Errorf("mount %s from %s in %s: %w", d, from, repo, err)
	}
	defer settle()
	defer r.marks.linked(repo, c)
	return mount(ctx, rep, from, c)
}

// mount lets the library write the link.
func mount(ctx context.Context, rep distribution.Repository, from string, d digest.Digest) (bool, error) {
	named, err := reference.WithName(from)
	if err != nil {
		return false, fmt.Errorf("mount %s from %s: %w", d, from, err)
	}
	source, err := reference.WithDigest(named, d)
	if err != nil {
		return false, fmt.Errorf("mount %s from %s: %w", d, from, err)
	}
	w, err := rep.Blobs(ctx).Create(ctx, storage.WithMountFrom(source))
	var mounted distribution.ErrBlobMounted
	if errors.As(err, &mounted) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("mount %s from %s: %w", d, from, err)
	}
	// The library could not write the link, keeps the reason to itself, and
	// began an upload.
	return false, w.Cancel(ctx)
}
