package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// identifier is a place that can tell whether a blob's bytes are still those
// that were read before, without reading them.
type identifier interface {
	// Identity names the bytes as they are stored now; "" when that cannot be
	// told.
	Identity(d image.Descriptor) string
}

// inspect finds out what is in an image: from the cache, when it was read
// before and its bytes are what they were, else by reading it.
func (s *scanner) inspect(ctx context.Context, m *image.Manifest) (inventory.Subject, *inventory.Image, error) {
	cache := s.options.Cache
	if cache != nil {
		if known, ok := cache.image(m.Digest, s.options.Analyzer.Maker()); ok && s.unchanged(ctx, m) {
			return known.Subject, known.Image, nil
		}
	}
	if err := s.prefetch(ctx, m); err != nil {
		return inventory.Subject{}, nil, err
	}
	subject, im, err := engine.Inspect(ctx, m, s, s.options.Analyzer)
	if err != nil || cache == nil || im == nil {
		return subject, im, err
	}
	return subject, im, cache.putImage(m.Digest, subject, im)
}

// unchanged reports whether every blob of an image has the content that its
// digest names. A registry that is asked by digest has no other content for it.
func (s *scanner) unchanged(ctx context.Context, m *image.Manifest) bool {
	if _, ok := s.images.(*Remote); ok {
		return true
	}
	for _, d := range append([]image.Descriptor{m.Config}, m.Layers...) {
		if !s.verified(ctx, d) {
			return false
		}
	}
	return true
}

// verified looks whether a blob is what it was when it was last read, and reads
// it when that cannot be told. To hash is a small part of the work of a scan.
func (s *scanner) verified(ctx context.Context, d image.Descriptor) bool {
	cache := s.options.Cache
	identity := ""
	if place, ok := s.images.(identifier); ok {
		identity = place.Identity(d)
	}
	if identity != "" && slices.Contains(cache.verified(d.Digest), identity) {
		return true
	}
	body, err := s.images.Blob(ctx, d)
	if err != nil {
		return false
	}
	hash := d.Digest.Algorithm().Hash()
	n, err := io.Copy(hash, body)
	if err = errors.Join(err, body.Close()); err != nil || n != d.Size || fmt.Sprintf("%x", hash.Sum(nil)) != d.Digest.Encoded() {
		return false
	}
	s.remember(d)
	return true
}

// remember notes that a blob was just read and is what its digest names.
func (s *scanner) remember(d image.Descriptor) {
	if place, ok := s.images.(identifier); ok {
		if identity := place.Identity(d); identity != "" {
			_ = s.options.Cache.putVerified(d.Digest, identity) // a cache that cannot be written costs time alone
		}
	}
}

// fileIdentity changes with any write to a file.
func fileIdentity(info os.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d:%d.%09d:%d.%09d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
}
