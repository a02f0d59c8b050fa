package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// StatBlob returns the size of the blob in bytes, if the repository has it.
func (r *Registry) StatBlob(ctx context.Context, repo string, d digest.Digest) (int64, error) {
	size, err := r.statBlob(ctx, repo, d)
	if err != nil {
		return 0, fmt.Errorf("stat blob %s of %s: %w", d, repo, err)
	}
	return size, nil
}

func (r *Registry) statBlob(ctx context.Context, repo string, d digest.Digest) (int64, error) {
	q, err := r.blobRequest(http.MethodHead, repo, d)
	if err != nil {
		return 0, err
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return 0, err
	}
	defer drain(resp.Body)
	// Object stores refuse HEAD on an address that was signed for GET, and some
	// registries know no HEAD or give no length: then the first byte tells. Why
	// HEAD is refused, only the answer to a GET says.
	refused := resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusForbidden
	if ok := resp.StatusCode == http.StatusOK; ok && resp.ContentLength >= 0 {
		return resp.ContentLength, nil
	} else if !ok && !q.redirected && !refused {
		return 0, r.answerError(resp, image.ErrBlobUnknown)
	}
	resp, err = r.getBlob(ctx, repo, d, "bytes=0-0")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() // may be the whole blob
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return 0, nil // a blob without a first byte
	}
	_, total, err := extent(resp)
	if err != nil {
		return 0, r.broken(err)
	}
	if total < 0 {
		return 0, r.broken(errors.New("answer does not say the size"))
	}
	return total, nil
}

func (r *Registry) blobRequest(method, repo string, d digest.Digest) (*request, error) {
	name, err := r.repository(repo)
	if err != nil {
		return nil, err
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", image.ErrBlobUnknown, err)
	}
	return &request{method: method, url: r.url(name + "/blobs/" + d.String()), scopes: scopePull(name), header: http.Header{}}, nil
}

// Blob opens the blob at offset for at most length bytes, to its end when length
// is negative, and returns its whole size, -1 if the registry does not tell. A
// body that ends early is io.ErrUnexpectedEOF from Read. A whole blob is
// checked: one that is not what the digest says ends in image.ErrDigestInvalid
// instead of its last bytes.
func (r *Registry) Blob(ctx context.Context, repo string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	body, total, err := r.blob(ctx, repo, d, offset, length)
	if err != nil {
		return nil, 0, fmt.Errorf("get blob %s of %s: %w", d, repo, err)
	}
	return body, total, nil
}

func (r *Registry) blob(ctx context.Context, repo string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	if offset < 0 {
		return nil, 0, fmt.Errorf("%w: offset %d", image.ErrRangeInvalid, offset)
	}
	if length == 0 {
		total, err := r.statBlob(ctx, repo, d)
		return http.NoBody, total, err
	}
	resp, err := r.getBlob(ctx, repo, d, rangeHeader(offset, length))
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		defer drain(resp.Body)
		return r.unsatisfied(ctx, repo, d, offset, resp)
	}
	first, total, err := extent(resp)
	if err == nil && first != offset && resp.StatusCode == http.StatusPartialContent {
		err = fmt.Errorf("asked for bytes from %d, got them from %d", offset, first)
	}
	if err == nil && total >= 0 && offset > total {
		resp.Body.Close()
		return nil, 0, fmt.Errorf("%w: blob has %d bytes", image.ErrRangeInvalid, total)
	}
	if err == nil && resp.StatusCode == http.StatusOK && offset > 0 { // the registry knows no ranges
		_, err = io.CopyN(io.Discard, resp.Body, offset)
	}
	if err == nil && total < 0 {
		total, err = r.statBlob(ctx, repo, d)
	}
	if err != nil {
		resp.Body.Close()
		return nil, 0, r.broken(err)
	}
	body := &blobBody{ReadCloser: resp.Body, digest: d, left: total - offset}
	if length > 0 {
		body.left = min(body.left, length)
	}
	if body.left == total {
		body.verifier = d.Verifier()
	}
	return body, total, nil
}

// getBlob asks for the blob; the answer is 200, 206 or 416.
func (r *Registry) getBlob(ctx context.Context, repo string, d digest.Digest, rng string) (*http.Response, error) {
	q, err := r.blobRequest(http.MethodGet, repo, d)
	if err != nil {
		return nil, err
	}
	if rng != "" {
		q.header.Set("Range", rng)
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return resp, nil
	}
	defer drain(resp.Body)
	return nil, r.answerError(resp, image.ErrBlobUnknown)
}

// unsatisfied: reading from the very end of a blob is an empty read here, but
// not in HTTP.
func (r *Registry) unsatisfied(ctx context.Context, repo string, d digest.Digest, offset int64, resp *http.Response) (io.ReadCloser, int64, error) {
	total, err := r.statBlob(ctx, repo, d)
	if err != nil {
		return nil, 0, err
	}
	if offset != total {
		return nil, 0, r.answerError(resp, nil)
	}
	return http.NoBody, total, nil
}

func rangeHeader(offset, length int64) string {
	switch {
	case length > 0:
		return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	case offset > 0:
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return ""
}

// extent returns where in the blob the body of an answer begins, and the size of
// the blob, -1 if the answer does not say.
func extent(resp *http.Response) (first, total int64, err error) {
	if resp.StatusCode == http.StatusOK {
		return 0, resp.ContentLength, nil
	}
	s, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes ")
	span, size, slash := strings.Cut(s, "/")
	start, _, dash := strings.Cut(span, "-")
	first, err = strconv.ParseInt(start, 10, 64)
	if !ok || !slash || !dash || err != nil || first < 0 {
		return 0, 0, errors.New("answer to a range request has no Content-Range")
	}
	if size == "*" {
		return first, -1, nil
	}
	total, err = strconv.ParseInt(size, 10, 64)
	if err != nil || total < first {
		return 0, 0, errors.New("answer to a range request has a wrong Content-Range")
	}
	return first, total, nil
}

// DeleteBlob deletes the blob, where the registry lets clients do that.
func (r *Registry) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	if err := r.delete(ctx, repo, "/blobs/"+d.String(), d.Validate(), image.ErrBlobUnknown); err != nil {
		return fmt.Errorf("delete blob %s of %s: %w", d, repo, err)
	}
	return nil
}

// MountBlob asks the registry to give repo the blob that from has. False means
// that it did not, for whatever reason that an upload gets around.
func (r *Registry) MountBlob(ctx context.Context, repo, from string, d digest.Digest) (bool, error) {
	ok, err := r.mountBlob(ctx, repo, from, d)
	if err != nil {
		return false, fmt.Errorf("mount blob %s of %s in %s: %w", d, from, repo, err)
	}
	return ok, nil
}

func (r *Registry) mountBlob(ctx context.Context, repo, from string, d digest.Digest) (bool, error) {
	name, err := r.repository(repo)
	if err != nil {
		return false, err
	}
	source, err := r.repository(from)
	if err != nil {
		return false, err
	}
	if err := d.Validate(); err != nil {
		return false, fmt.Errorf("%w: %w", image.ErrBlobUnknown, err)
	}
	u := r.url(name + "/blobs/uploads/")
	u.RawQuery = "mount=" + d.String() + "&from=" + strings.ReplaceAll(source, "/", "%2F")
	resp, err := r.do(ctx, &request{method: http.MethodPost, url: u, scopes: append(scopePush(name), scopePull(source)...), patient: true})
	if err != nil {
		return false, err
	}
	defer drain(resp.Body)
	switch {
	case resp.StatusCode == http.StatusCreated:
		return true, nil
	case resp.StatusCode == http.StatusAccepted: // it began an upload instead
		if state, err := newUpload(r.base, resp, 0); err == nil {
			_ = r.CancelUpload(ctx, repo, state.String()) // else the registry drops it in time
		}
		return false, nil
	case resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
		// No right to read the source, or no mounting at all: some registries
		// refuse where others begin an upload.
		return false, nil
	}
	return false, r.answerError(resp, nil)
}
