package localregistry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pratique/pratique/engine/image"
)

// Manifest returns the bytes and the media type of the manifest that ref, a tag
// or a digest, names in repo.
func (r *Registry) Manifest(ctx context.Context, repo, ref string) ([]byte, string, error) {
	d, err := r.manifestDigest(ctx, repo, ref)
	if err != nil {
		return nil, "", err
	}
	raw, err := r.readManifest(ctx, d)
	if notFound(err) { // deleted and collected meanwhile
		err = image.ErrManifestUnknown
	}
	if want := digest.Digest(ref); err == nil && !image.ValidTag(ref) && want.Algorithm().FromBytes(raw) != want {
		err = fmt.Errorf("stored bytes are damaged: %w", image.ErrDigestInvalid)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read manifest %s of %s: %w", d, repo, err)
	}
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		return nil, "", fmt.Errorf("read manifest %s of %s: %w", d, repo, err)
	}
	return raw, m.MediaType, nil
}

// Resolve returns the digest of the manifest that tag names.
func (r *Registry) Resolve(ctx context.Context, repo, tag string) (digest.Digest, error) {
	if !image.ValidTag(tag) {
		return "", fmt.Errorf("resolve %s:%s: %w", repo, tag, image.ErrManifestUnknown)
	}
	return r.manifestDigest(ctx, repo, tag)
}

// manifestDigest resolves ref to a sha256 and checks that the repository has that
// manifest: the blob store is shared, so existing bytes alone say nothing.
func (r *Registry) manifestDigest(ctx context.Context, repo, ref string) (digest.Digest, error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return "", err
	}
	var d digest.Digest
	ok := true
	if image.ValidTag(ref) {
		desc, tagErr := rep.Tags(ctx).Get(ctx, ref)
		var unknown distribution.ErrTagUnknown
		if errors.As(tagErr, &unknown) {
			return "", fmt.Errorf("%s:%s: %w", repo, ref, r.unknown(ctx, repo, image.ErrManifestUnknown))
		}
		d, err = desc.Digest, tagErr
	} else {
		d, ok, err = r.canonical(ctx, digest.Digest(ref))
	}
	if err != nil {
		return "", fmt.Errorf("resolve %s of %s: %w", ref, repo, err)
	}
	if ok {
		ok, err = manifestExists(ctx, rep, d)
	}
	if err != nil {
		return "", fmt.Errorf("stat manifest %s of %s: %w", d, repo, err)
	}
	if !ok {
		return "", fmt.Errorf("%s@%s: %w", repo, ref, r.unknown(ctx, repo, image.ErrManifestUnknown))
	}
	return d, nil
}

func manifestExists(ctx context.Context, rep distribution.Repository, d digest.Digest) (bool, error) {
	manifests, err := rep.Manifests(ctx)
	if err != nil {
		return false, err
	}
	return manifests.Exists(ctx, d)
}

// readManifest reads the stored bytes and checks them: what is served is judged
// by this digest.
func (r *Registry) readManifest(ctx context.Context, d digest.Digest) ([]byte, error) {
	rc, err := r.driver.Reader(ctx, blobPath(d), 0)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	raw, err := io.ReadAll(io.LimitReader(rc, image.MaxManifestSize+1))
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(raw) != d {
		return nil, fmt.Errorf("stored bytes are damaged: %w", image.ErrDigestInvalid)
	}
	return raw, nil
}

// PutManifest stores the manifest under its digest and, when ref is a tag, moves
// the tag to it; when ref is a sha512, the manifest is known by that too. Config
// and layers must be in the repository, those that are not for distribution
// excepted; the children of an index and the subject may be missing.
func (r *Registry) PutManifest(ctx context.Context, repo, ref, mediaType string, raw []byte) error {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return err
	}
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return fmt.Errorf("put manifest %s of %s: %w", ref, repo, err)
	}
	isTag := image.ValidTag(ref)
	if want := digest.Digest(ref); !isTag && (image.SupportedDigest(want) != nil || want.Algorithm().FromBytes(raw) != want) {
		return fmt.Errorf("put manifest %s of %s: %w: it is %s", ref, repo, image.ErrDigestInvalid, m.Digest)
	}
	defer r.lockWrites(repo)()
	if err := r.place(ctx, rep, m, ref); err != nil {
		return fmt.Errorf("put manifest %s of %s: %w", ref, repo, err)
	}
	if isTag {
		if err := rep.Tags(ctx).Tag(ctx, ref, v1.Descriptor{Digest: m.Digest}); err != nil {
			return fmt.Errorf("tag %s:%s: %w", repo, ref, err)
		}
	}
	return nil
}

// place checks what the manifest needs and stores it, and holds all of that
// against removal from the one to the other.
func (r *Registry) place(ctx context.Context, rep distribution.Repository, m *image.Manifest, ref string) error {
	repo := rep.Named().Name()
	named := map[digest.Digest]digest.Digest{} // to their sha256, as far as they are known
	held := []digest.Digest{m.Digest}
	for _, d := range references(m) {
		target, ok, err := r.canonical(ctx, d)
		if err != nil {
			return err
		}
		if ok {
			named[d] = target
			held = append(held, target)
		}
	}
	defer r.guard.share(held...)()
	defer r.marks.linked(repo, held...)
	if err := r.checkReferences(ctx, repo, m, named); err != nil {
		return err
	}
	settle, err := r.reserve(ctx, repo, m.Digest, int64(len(m.Raw)))
	if err != nil {
		return err
	}
	defer settle()
	if d := digest.Digest(ref); !image.ValidTag(ref) && d != m.Digest {
		if err := r.putAlias(ctx, d, m.Digest); err != nil {
			return err
		}
	}
	return r.store(ctx, rep, m)
}

// references are the digests of all that the manifest names, as it names them.
func references(m *image.Manifest) []digest.Digest {
	var all []digest.Digest
	for _, desc := range m.Descriptors() {
		all = append(all, desc.Digest)
	}
	if m.Subject != nil {
		all = append(all, m.Subject.Digest)
	}
	return all
}

func (r *Registry) checkReferences(ctx context.Context, repo string, m *image.Manifest, named map[digest.Digest]digest.Digest) error {
	if m.Index {
		return nil
	}
	seen := map[digest.Digest]bool{}
	for _, desc := range m.Descriptors() {
		if desc.Elsewhere() || seen[desc.Digest] {
			continue
		}
		seen[desc.Digest] = true
		target, ok := named[desc.Digest]
		if !ok {
			return fmt.Errorf("%w: %s", image.ErrReferenceMissing, desc.Digest)
		}
		_, err := r.stat(ctx, repo, target)
		if errors.Is(err, image.ErrBlobUnknown) || errors.Is(err, image.ErrNameUnknown) {
			return fmt.Errorf("%w: %s", image.ErrReferenceMissing, desc.Digest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// store writes the bytes and the link of the repository to them. The library's
// own checks are skipped: they refuse what the specification allows (foreign
// urls, sparse indexes), and checkReferences has done what is to be done.
func (r *Registry) store(ctx context.Context, rep distribution.Repository, m *image.Manifest) error {
	manifests, err := rep.Manifests(ctx, storage.SkipLayerVerification())
	if err != nil {
		return err
	}
	var doc interface {
		distribution.Manifest
		UnmarshalJSON([]byte) error
	}
	switch m.MediaType {
	case image.MediaTypeDockerManifest:
		doc = &schema2.DeserializedManifest{}
	case image.MediaTypeDockerList:
		doc = &manifestlist.DeserializedManifestList{}
	case image.MediaTypeIndex:
		doc = &ocischema.DeserializedImageIndex{}
	default:
		doc = &ocischema.DeserializedManifest{}
	}
	if err := doc.UnmarshalJSON(m.Raw); err != nil {
		return fmt.Errorf("%w: %w", image.ErrManifestInvalid, err)
	}
	if _, err := manifests.Put(ctx, doc); err != nil {
		return err
	}
	return r.driver.syncUp(blobPath(m.Digest)) // another request may have written it a moment ago
}

// DeleteManifest removes the manifest from the repository, and the tags that
// name it.
func (r *Registry) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return err
	}
	defer r.lockWrites(repo)()
	target, err := r.manifestDigest(ctx, repo, d.String())
	if err != nil {
		return err
	}
	tags, err := rep.Tags(ctx).Lookup(ctx, v1.Descriptor{Digest: target})
	if err != nil {
		return fmt.Errorf("find tags of %s@%s: %w", repo, d, err)
	}
	for _, tag := range tags {
		if err := rep.Tags(ctx).Untag(ctx, tag); err != nil && !notFound(err) {
			return fmt.Errorf("delete tag %s:%s: %w", repo, tag, err)
		}
	}
	defer r.guard.exclude(target)()
	if err := r.unlink(ctx, repo, revisionLinks, target); err != nil {
		return fmt.Errorf("delete manifest %s@%s: %w", repo, d, err)
	}
	return r.driver.syncUp(linkDir(repo, revisionLinks, target))
}

// Referrers answers that it is not supported: the catalog keeps them.
func (r *Registry) Referrers(context.Context, string, digest.Digest) ([]image.Descriptor, error) {
	return nil, image.ErrUnsupported
}
