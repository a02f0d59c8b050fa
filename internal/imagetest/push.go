package imagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Registry is where to push.
type Registry struct {
	URL    string       // "http://127.0.0.1:5000", no slash at the end
	Client *http.Client // nil: http.DefaultClient
	Header http.Header  // sent with every request: Authorization, Cookie
}

// StatusError is an answer other than the one that was hoped for.
type StatusError struct {
	Request string // "PUT /v2/app/manifests/1"
	Status  int
	Body    string
}

// Error tells request, status and body.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: HTTP %d: %s", e.Request, e.Status, e.Body)
}

// Push sends blobs and manifest; reference is a tag or the image's digest.
func (r Registry) Push(ctx context.Context, repository, reference string, im Image) error {
	if err := r.PushBlobs(ctx, repository, im); err != nil {
		return err
	}
	return r.PutManifest(ctx, repository, reference, image.MediaTypeManifest, im.Manifest)
}

// PushIndex sends the images by digest, then the index.
func (r Registry) PushIndex(ctx context.Context, repository, reference string, x Index) error {
	for _, im := range x.Images {
		if err := r.Push(ctx, repository, im.Digest().String(), im); err != nil {
			return err
		}
	}
	return r.PutManifest(ctx, repository, reference, image.MediaTypeIndex, x.Raw)
}

// PushBlobs sends config and layers alone.
func (r Registry) PushBlobs(ctx context.Context, repository string, im Image) error {
	for d, blob := range im.Blobs() {
		if err := r.PushBlob(ctx, repository, d, blob); err != nil {
			return err
		}
	}
	return nil
}

// PushBlob sends one blob: POST for a session, PUT with all bytes.
func (r Registry) PushBlob(ctx context.Context, repository string, d digest.Digest, blob []byte) error {
	answer, err := r.send(ctx, http.MethodPost, r.URL+"/v2/"+repository+"/blobs/uploads/", "", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	base, err := url.Parse(r.URL)
	if err != nil {
		return err
	}
	session, err := base.Parse(answer.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := session.Query()
	query.Set("digest", d.String())
	session.RawQuery = query.Encode()
	_, err = r.send(ctx, http.MethodPut, session.String(), "application/octet-stream", blob, http.StatusCreated)
	return err
}

// PutManifest sends a manifest or index.
func (r Registry) PutManifest(ctx context.Context, repository, reference, mediaType string, raw []byte) error {
	_, err := r.send(ctx, http.MethodPut, r.URL+"/v2/"+repository+"/manifests/"+reference, mediaType, raw, http.StatusCreated)
	return err
}

func (r Registry) send(ctx context.Context, method, target, mediaType string, body []byte, want int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	client := r.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != want {
		return nil, &StatusError{Request: method + " " + req.URL.Path, Status: answer.StatusCode, Body: string(text)}
	}
	return answer, nil
}
