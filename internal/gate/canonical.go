package gate

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Canonical returns the digest by which the gate knows content: its sha256,
// where that has been learnt, else d itself. Whatever is asked or named by
// another algorithm is decided under it, so that no second name of the same
// bytes is a second chance.
func (g *Gate) Canonical(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	return g.Catalog.Canonical(ctx, d)
}

// Name returns the digest by which the tag of a question was pushed, if it still
// stands for that manifest: else the manifest's sha256.
func (g *Gate) Name(ctx context.Context, q Question, m *image.Manifest) (digest.Digest, error) {
	b := binding{q.Target.Key(), q.Tag}
	if named, ok := g.named.Get(b); ok && (named == m.Digest || named == m.SHA512) {
		return named, nil
	}
	named, err := g.Catalog.TagName(ctx, b.repository, b.tag, m.Digest)
	if err == nil {
		g.named.Put(b, named)
	}
	return named, err
}

// SetName notes by which digest a tag was pushed.
func (g *Gate) SetName(ctx context.Context, q Question, m *image.Manifest, named digest.Digest) error {
	if known, err := g.Name(ctx, q, m); err != nil || known == named {
		return err
	}
	b := binding{q.Target.Key(), q.Tag}
	if err := g.Catalog.NameTag(ctx, b.repository, b.tag, m.Digest, named); err != nil {
		return err
	}
	g.named.Put(b, named)
	return nil
}

// Learn hashes a blob of the repository to find its sha256, unless that is known.
func (g *Gate) Learn(ctx context.Context, t Target, d digest.Digest) (digest.Digest, error) {
	known, err := g.Canonical(ctx, d)
	if err != nil || known.Algorithm() == digest.SHA256 {
		return known, err
	}
	size, err := t.Upstream.Registry.StatBlob(ctx, t.Repository, d)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, readGrace+time.Duration(max(size, 0)/readRate)*time.Second)
	defer cancel()
	body, _, err := t.Upstream.Registry.Blob(ctx, t.Repository, d, 0, -1)
	if err != nil {
		return "", err
	}
	body = g.learning(ctx, d, body)
	defer body.Close()
	if _, err := io.Copy(io.Discard, body); err != nil {
		return "", fmt.Errorf("hash blob %s: %w", d, err)
	}
	return g.Canonical(ctx, d)
}

// learning passes on a body that is read to its end, checks it, and notes the
// sha256 of what is named by another digest.
func (g *Gate) learning(ctx context.Context, d digest.Digest, body io.ReadCloser) io.ReadCloser {
	if d.Algorithm() == digest.SHA256 {
		return body
	}
	learned := func(as256 digest.Digest) error { return g.Catalog.PutAlias(ctx, d, as256) }
	return &learningBody{ReadCloser: body, alias: d, learned: learned, as256: sha256.New(), as512: sha512.New()}
}

type learningBody struct {
	io.ReadCloser
	alias        digest.Digest
	learned      func(as256 digest.Digest) error
	as256, as512 hash.Hash
}

func (b *learningBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.as256.Write(p[:n])
	b.as512.Write(p[:n])
	if err != io.EOF {
		return n, err
	}
	if digest.NewDigest(digest.SHA512, b.as512) != b.alias {
		return n, fmt.Errorf("read %s: %w", b.alias, image.ErrDigestInvalid)
	}
	if err := b.learned(digest.NewDigest(digest.SHA256, b.as256)); err != nil {
		return n, err
	}
	return n, io.EOF
}
