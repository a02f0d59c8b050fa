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

// storable reports whether content can be stored under d. The store knows
// sha256 alone; other algorithms are names that the catalog keeps.
func storable(d digest.Digest) bool {
	return d.Validate() == nil && d.Algorithm() == digest.SHA256
}

// StatBlob returns the size of the blob in bytes, if the repository has it.
func (r *Registry) StatBlob(ctx context.Context, repo string, d digest.Digest) (int64, error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return 0, err
	}
	if !storable(d) {
		return 0, fmt.Errorf("%s@%s: %w", repo, d, image.ErrBlobUnknown)
	}
	desc, err := rep.Blobs(ctx).Stat(ctx, d)
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return 0, fmt.Errorf("%s@%s: %w", repo, d, r.unknown(ctx, repo, image.ErrBlobUnknown))
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
	size, err := r.StatBlob(ctx, repo, d)
	if err != nil {
		return nil, 0, err
	}
	if offset < 0 || offset > size {
		return nil, 0, fmt.Errorf("blob %s of %s from %d: %w", d, repo, offset, image.ErrRangeInvalid)
	}
	rc, err := r.driver.Reader(ctx, blobPath(d), offset)
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

// DeleteBlob takes the blob away from the repository. Other repositories keep
// it.
func (r *Registry) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	if _, err := r.StatBlob(ctx, repo, d); err != nil {
		return err
	}
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return err
	}
	err = rep.Blobs(ctx).Delete(ctx, d)
	if errors.Is(err, distribution.ErrBlobUnknown) || notFound(err) { // deleted meanwhile
		return fmt.Errorf("%s@%s: %w", repo, d, image.ErrBlobUnknown)
	}
	if err != nil {
		return fmt.Errorf("delete blob %s of %s: %w", d, repo, err)
	}
	return nil
}

// MountBlob gives repo the blob that from has. False means that from does not
// have it, and that the blob is to be uploaded.
func (r *Registry) MountBlob(ctx context.Context, repo, from string, d digest.Digest) (bool, error) {
	_, err := r.StatBlob(ctx, from, d)
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
	// The source lost the blob meanwhile, and the library began an upload.
	return false, w.Cancel(ctx)
}
