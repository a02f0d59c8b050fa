package scan

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/upstream"
)

// Remote is an image in a registry.
type Remote struct {
	registry   *upstream.Registry
	repository string
	root       image.Descriptor
	raw        []byte // of the root
}

// OpenRemote resolves a reference at its registry, with the credentials that
// docker login has left for it.
func OpenRemote(ctx context.Context, ref image.Reference) (*Remote, error) {
	cfg, err := upstream.ForHost(ctx, ref.Registry)
	if err != nil {
		return nil, err
	}
	reg, err := upstream.New(cfg)
	if err != nil {
		return nil, err
	}
	raw, mediaType, err := reg.Manifest(ctx, ref.Repository, ref.Identifier())
	if err != nil {
		return nil, err
	}
	root := image.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return &Remote{reg, ref.Repository, root, raw}, nil
}

// Close closes the connections.
func (r *Remote) Close() error { return r.registry.Close() }

// Root returns what the reference stood for when it was opened.
func (r *Remote) Root() image.Descriptor { return r.root }

// Manifest is part of Images.
func (r *Remote) Manifest(ctx context.Context, d image.Descriptor) ([]byte, error) {
	if d.Digest == r.root.Digest {
		return r.raw, nil
	}
	raw, _, err := r.registry.Manifest(ctx, r.repository, d.Digest.String())
	return raw, err
}

// Blob is part of Images.
func (r *Remote) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	body, _, err := r.registry.Blob(ctx, r.repository, d.Digest, 0, -1)
	return body, err
}
