package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Asking how far a broken upload got.
const (
	statusTimeout = 10 * time.Second
	statusPause   = 100 * time.Millisecond
)

// upload is what a caller keeps between the requests of one upload. It comes
// back from the caller, who must not take it from a client unprotected: it says
// where bytes are sent.
type upload struct {
	Location string `json:"l"`
	Offset   int64  `json:"o"`
}

// newUpload reads the Location of an answer to a request to from.
func newUpload(from *url.URL, resp *http.Response, offset int64) (upload, error) {
	u, err := resolve(from, resp.Header.Get("Location"))
	if err != nil {
		return upload{}, err
	}
	return upload{Location: u.String(), Offset: offset}, nil
}

func (u upload) String() string {
	b, _ := json.Marshal(u) // a string and a number always encode
	return string(b)
}

// parseUpload reads a state and checks that the request goes on at its end.
func parseUpload(state string, offset int64) (upload, *url.URL, error) {
	var u upload
	if err := json.Unmarshal([]byte(state), &u); err != nil {
		return upload{}, nil, image.ErrUploadUnknown
	}
	target, err := url.Parse(u.Location)
	if err != nil || target.Host == "" || target.User != nil || (target.Scheme != "https" && target.Scheme != "http") {
		return upload{}, nil, image.ErrUploadUnknown
	}
	if offset != u.Offset {
		return upload{}, nil, fmt.Errorf("upload is at %d, not at %d: %w", u.Offset, offset, image.ErrRangeInvalid)
	}
	return u, target, nil
}

// StartUpload begins the upload of a blob.
func (r *Registry) StartUpload(ctx context.Context, repo string) (string, error) {
	name, err := r.repository(repo)
	if err != nil {
		return "", err
	}
	target := r.url(name + "/blobs/uploads/")
	resp, err := r.do(ctx, &request{method: http.MethodPost, url: target, scopes: scopePush(name)})
	if err != nil {
		return "", fmt.Errorf("start upload to %s: %w", repo, err)
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("start upload to %s: %w", repo, r.answerError(resp, image.ErrNameUnknown))
	}
	u, err := newUpload(target, resp, 0)
	if err != nil {
		return "", fmt.Errorf("start upload to %s: %w", repo, r.broken(err))
	}
	return u.String(), nil
}

// AppendUpload streams body to the registry in one request. When it returns,
// body is no longer read; for that it waits for a Read that is under way. After
// an error the state and the count are what the registry says it has, or, when
// it does not say, nothing written.
func (r *Registry) AppendUpload(ctx context.Context, repo, state string, offset int64, body io.Reader) (string, int64, error) {
	u, target, err := parseUpload(state, offset)
	if err != nil {
		return state, 0, fmt.Errorf("append to upload to %s: %w", repo, err)
	}
	counted := &counter{Reader: body}
	resp, err := r.stream(ctx, repo, http.MethodPatch, target, counted, streamShape{length: -1})
	if err == nil {
		defer drain(resp.Body)
		switch resp.StatusCode { // 201 is ECR's
		case http.StatusAccepted, http.StatusCreated, http.StatusOK, http.StatusNoContent:
			next := upload{Location: u.Location, Offset: offset + counted.n}
			if resp.Header.Get("Location") != "" {
				next, err = newUpload(target, resp, next.Offset)
			}
			if err != nil {
				return state, 0, fmt.Errorf("append to upload to %s: %w", repo, r.broken(err))
			}
			return next.String(), counted.n, nil
		}
		err = r.answerError(resp, image.ErrUploadUnknown)
	}
	next := u
	if !errors.Is(err, image.ErrUploadUnknown) {
		next = r.uploadStatus(ctx, repo, u)
	}
	return next.String(), next.Offset - offset, fmt.Errorf("append to upload to %s: %w", repo, err)
}

// uploadStatus asks how far a broken upload got; it returns u when that is not
// to be known. It is asked after the client may have gone. The registry may
// still be writing what it received, so the answer counts when it comes twice.
func (r *Registry) uploadStatus(ctx context.Context, repo string, u upload) upload {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	last := upload{Offset: -1}
	for {
		next, ok := r.askUpload(ctx, repo, u)
		if !ok {
			return u
		}
		if next.Offset == last.Offset {
			return next
		}
		last = next
		select {
		case <-ctx.Done():
			return u
		case <-time.After(statusPause):
		}
	}
}

func (r *Registry) askUpload(ctx context.Context, repo string, u upload) (upload, bool) {
	name, err := r.repository(repo)
	if err != nil {
		return u, false
	}
	target, err := url.Parse(u.Location)
	if err != nil {
		return u, false
	}
	resp, err := r.do(ctx, &request{method: http.MethodGet, url: target, scopes: scopePush(name)})
	if err != nil {
		return u, false
	}
	defer drain(resp.Body)
	_, last, ok := strings.Cut(resp.Header.Get("Range"), "-")
	end, err := strconv.ParseInt(last, 10, 64)
	if resp.StatusCode != http.StatusNoContent || !ok || err != nil {
		return u, false
	}
	next := upload{Location: u.Location, Offset: end + 1}
	if end == 0 { // said of an empty upload and of a single byte
		next.Offset = 0
	}
	if resp.Header.Get("Location") != "" {
		next, err = newUpload(target, resp, next.Offset)
	}
	return next, err == nil && next.Offset >= u.Offset
}

// CommitUpload sends the rest of the blob, if body is not nil, and makes the
// registry store it as d. When the answer is lost, the registry is asked whether
// the blob is there.
func (r *Registry) CommitUpload(ctx context.Context, repo, state string, offset int64, d digest.Digest, body io.Reader, size int64) error {
	_, target, err := parseUpload(state, offset)
	if err == nil {
		if invalid := d.Validate(); invalid != nil {
			err = fmt.Errorf("%w: %w", image.ErrDigestInvalid, invalid)
		}
	}
	if err != nil {
		return fmt.Errorf("commit upload to %s: %w", repo, err)
	}
	err = r.commit(ctx, repo, target, offset, d, body, size)
	if err != nil && isLost(ctx, err) {
		if _, gone := r.statBlob(ctx, repo, d); gone == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("commit upload to %s as %s: %w", repo, d, err)
	}
	return nil
}

func (r *Registry) commit(ctx context.Context, repo string, target *url.URL, offset int64, d digest.Digest, body io.Reader, size int64) error {
	withDigest := *target
	if withDigest.RawQuery != "" { // the registry's own parameters stay as they are
		withDigest.RawQuery += "&"
	}
	withDigest.RawQuery += "digest=" + url.QueryEscape(d.String())
	shape := streamShape{length: size, offset: offset}
	if body == nil {
		body, shape.length = http.NoBody, 0
	}
	resp, err := r.stream(ctx, repo, http.MethodPut, &withDigest, body, shape)
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	switch resp.StatusCode {
	case http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent:
	default:
		return r.answerError(resp, image.ErrUploadUnknown)
	}
	stored := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if stored.Validate() == nil && stored.Algorithm() == d.Algorithm() && stored != d {
		return fmt.Errorf("registry %s stored %s: %w", r.name, stored, image.ErrDigestInvalid)
	}
	return nil
}

// streamShape is what is known of a stream before it is sent.
type streamShape struct {
	length int64 // bytes, -1 when not known
	offset int64 // in the blob
}

// stream sends body to an upload's location, once.
func (r *Registry) stream(ctx context.Context, repo, method string, target *url.URL, body io.Reader, shape streamShape) (*http.Response, error) {
	name, err := r.repository(repo)
	if err != nil {
		return nil, err
	}
	q := &request{
		method: method, url: target, scopes: scopePush(name), patient: true,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		stream: body, length: shape.length,
	}
	if shape.length > 0 && shape.offset > 0 {
		q.header.Set("Content-Range", fmt.Sprintf("%d-%d", shape.offset, shape.offset+shape.length-1))
	}
	if sameOrigin(target, r.base) && r.auth.unchallenged() {
		// Better asked now than after the stream is gone.
		probe := &request{method: http.MethodGet, url: target, scopes: q.scopes}
		resp, err := r.do(ctx, probe)
		if err != nil {
			return nil, err
		}
		drain(resp.Body)
	}
	return r.do(ctx, q)
}

// CancelUpload drops the upload.
func (r *Registry) CancelUpload(ctx context.Context, repo, state string) error {
	var u upload
	if json.Unmarshal([]byte(state), &u) != nil {
		return fmt.Errorf("cancel upload to %s: %w", repo, image.ErrUploadUnknown)
	}
	_, target, err := parseUpload(state, u.Offset)
	if err != nil {
		return fmt.Errorf("cancel upload to %s: %w", repo, err)
	}
	name, err := r.repository(repo)
	if err != nil {
		return err
	}
	resp, err := r.do(ctx, &request{method: http.MethodDelete, url: target, scopes: scopePush(name)})
	if err != nil {
		return fmt.Errorf("cancel upload to %s: %w", repo, err)
	}
	defer drain(resp.Body)
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusOK, http.StatusAccepted:
		return nil
	}
	return fmt.Errorf("cancel upload to %s: %w", repo, r.answerError(resp, image.ErrUploadUnknown))
}
