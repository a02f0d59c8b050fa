package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Manifest returns the bytes and the media type of the manifest that ref, a tag
// or a digest, names in repo. The media type is empty when the registry gave
// none that says anything. Bytes asked for by digest are checked.
func (r *Registry) Manifest(ctx context.Context, repo, ref string) ([]byte, string, error) {
	raw, mediaType, err := r.manifest(ctx, repo, ref)
	if err != nil {
		return nil, "", fmt.Errorf("get manifest %s of %s: %w", ref, repo, err)
	}
	return raw, mediaType, nil
}

func (r *Registry) manifest(ctx context.Context, repo, ref string) ([]byte, string, error) {
	q, err := r.manifestRequest(http.MethodGet, repo, ref)
	if err != nil {
		return nil, "", err
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return nil, "", err
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, "", r.answerError(resp, image.ErrManifestUnknown)
	}
	raw, err := readAll(resp.Body, image.MaxManifestSize)
	if err != nil {
		return nil, "", r.broken(err)
	}
	if resp.ContentLength >= 0 && int64(len(raw)) != resp.ContentLength {
		return nil, "", r.broken(errors.New("manifest is cut short"))
	}
	if d := digest.Digest(ref); !image.ValidTag(ref) && d.Algorithm().FromBytes(raw) != d {
		return nil, "", fmt.Errorf("registry %s: %w", r.name, image.ErrDigestInvalid)
	}
	return raw, saidType(resp.Header), nil
}

// saidType is the media type that the registry gave, unless it is one that web
// servers give to anything.
func saidType(h http.Header) string {
	t := mediaType(h)
	if t == "application/json" || t == "application/octet-stream" || strings.HasPrefix(t, "text/") {
		return ""
	}
	return t
}

// manifestRequest asks for all media types: some registries answer "unknown" to
// a request that does not list the stored one, and do not read several types in
// one header the same way as several headers.
func (r *Registry) manifestRequest(method, repo, ref string) (*request, error) {
	name, err := r.repository(repo)
	if err != nil {
		return nil, err
	}
	if !image.ValidTag(ref) {
		if err := digest.Digest(ref).Validate(); err != nil {
			return nil, fmt.Errorf("%w: %q is neither tag nor digest", image.ErrManifestUnknown, ref)
		}
	}
	return &request{
		method: method,
		url:    r.url(name + "/manifests/" + ref),
		header: http.Header{"Accept": {strings.Join(image.ManifestTypes, ", ")}},
		scopes: scopePull(name),
	}, nil
}

// Resolve returns the digest of the manifest that tag names: what the registry
// says, or, when it does not say, the sha256 of the bytes that it sends.
func (r *Registry) Resolve(ctx context.Context, repo, tag string) (digest.Digest, error) {
	d, err := r.resolve(ctx, repo, tag)
	if err != nil {
		return "", fmt.Errorf("resolve %s:%s: %w", repo, tag, err)
	}
	return d, nil
}

func (r *Registry) resolve(ctx context.Context, repo, ref string) (digest.Digest, error) {
	q, err := r.manifestRequest(http.MethodHead, repo, ref)
	if err != nil {
		return "", err
	}
	q.header.Set("Prefer", "wait=0") // a gate need not know more than the digest
	resp, err := r.do(ctx, q)
	if err != nil {
		return "", err
	}
	defer drain(resp.Body)
	d := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests // by a gate, which says what
	if (resp.StatusCode == http.StatusOK || refused) && d.Validate() == nil {
		return d, nil
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
	case http.StatusForbidden: // why, only the body of a GET tells; GHCR refuses HEAD alone at times
	default:
		return "", r.answerError(resp, image.ErrManifestUnknown)
	}
	raw, _, err := r.manifest(ctx, repo, ref)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(raw), nil
}

// PutManifest stores the bytes under ref, a tag or their digest. When the answer
// is lost, the registry is asked whether the manifest is there.
func (r *Registry) PutManifest(ctx context.Context, repo, ref, mediaType string, raw []byte) error {
	q, err := r.manifestRequest(http.MethodPut, repo, ref)
	if err != nil {
		return fmt.Errorf("put manifest %s of %s: %w", ref, repo, err)
	}
	want := digest.FromBytes(raw)
	if d := digest.Digest(ref); !image.ValidTag(ref) {
		want = d.Algorithm().FromBytes(raw)
		if want != d {
			return fmt.Errorf("put manifest %s of %s: %w: it is %s", ref, repo, image.ErrDigestInvalid, want)
		}
	}
	name, err := r.repository(repo)
	if err != nil {
		return err
	}
	q.header, q.scopes, q.content = http.Header{"Content-Type": {mediaType}}, scopePush(name), raw
	resp, err := r.do(ctx, q)
	if err == nil {
		defer drain(resp.Body)
		if resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusAccepted {
			return nil
		}
		err = r.putError(resp)
	}
	if isLost(ctx, err) {
		if d, gone := r.resolve(ctx, repo, ref); gone == nil && d == want {
			return nil
		}
	}
	return fmt.Errorf("put manifest %s of %s: %w", ref, repo, err)
}

// putError reads the refusal of a manifest, for which "blob unknown" is about
// what the manifest names.
func (r *Registry) putError(resp *http.Response) error {
	err := r.answerError(resp, image.ErrNameUnknown)
	if errors.Is(err, image.ErrBlobUnknown) || errors.Is(err, image.ErrManifestUnknown) {
		return fmt.Errorf("%w: %w", image.ErrReferenceMissing, err)
	}
	return err
}

// isLost reports whether a write may have been done although it failed: there
// was no answer, or the failure is of the server.
func isLost(ctx context.Context, err error) bool {
	var answer *image.UpstreamError
	return ctx.Err() == nil && errors.As(err, &answer) && (answer.Status == 0 || answer.Status >= 500)
}

// DeleteManifest deletes the manifest, and with it, on most registries, its tags.
func (r *Registry) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	if err := r.delete(ctx, repo, "/manifests/"+d.String(), d.Validate(), image.ErrManifestUnknown); err != nil {
		return fmt.Errorf("delete manifest %s of %s: %w", d, repo, err)
	}
	return nil
}

// DeleteTag deletes the tag alone, where the registry can do that.
func (r *Registry) DeleteTag(ctx context.Context, repo, tag string) error {
	var invalid error
	if !image.ValidTag(tag) {
		invalid = errors.New("not a tag")
	}
	if err := r.delete(ctx, repo, "/manifests/"+tag, invalid, image.ErrManifestUnknown); err != nil {
		return fmt.Errorf("delete tag %s:%s: %w", repo, tag, err)
	}
	return nil
}

// delete deletes what path names in repo. invalid says what is wrong with path.
func (r *Registry) delete(ctx context.Context, repo, path string, invalid, missing error) error {
	name, err := r.repository(repo)
	if err != nil {
		return err
	}
	if invalid != nil {
		return fmt.Errorf("%w: %w", missing, invalid)
	}
	resp, err := r.do(ctx, &request{method: http.MethodDelete, url: r.url(name + path), scopes: scopeDelete(name)})
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	switch resp.StatusCode {
	case http.StatusAccepted, http.StatusOK, http.StatusNoContent:
		return nil
	}
	return r.answerError(resp, missing)
}
