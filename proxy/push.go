package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// pushManifest is the commit point of a push: parse, judge if pushes are gated,
// put upstream, record, judge, and only then answer.
func (p *Proxy) pushManifest(w http.ResponseWriter, r *http.Request, q request) error {
	ref := q.vars["reference"]
	d, tag, err := parseReference(ref)
	if err != nil {
		return err
	}
	m, err := readManifest(w, r)
	if err != nil {
		return err
	}
	if d != "" && d != m.Digest {
		return refuse(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the manifest's digest is %s, not the one it was sent under", m.Digest))
	}
	ask := q.question(tag)
	serve.Note(r.Context(), "", slog.String("digest", m.Digest.String()))
	if decision := p.Gate.Push(r.Context(), ask, m); decision.Outcome != gate.Served {
		return denied(decision)
	}
	if err := q.target.Upstream.Registry.PutManifest(r.Context(), q.target.Repository, ref, m.MediaType, m.Raw); err != nil {
		return err
	}
	if err := p.Gate.Record(r.Context(), ask, m); err != nil {
		return err
	}
	warn(w, p.Gate.Observe(r.Context(), ask, m))
	h := w.Header()
	h.Set("Location", "/v2/"+q.name+"/manifests/"+m.Digest.String())
	h.Set("Docker-Content-Digest", m.Digest.String())
	if m.Subject != nil {
		h.Set("OCI-Subject", m.Subject.Digest.String())
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func readManifest(w http.ResponseWriter, r *http.Request) (*image.Manifest, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, image.MaxManifestSize))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, refuse(http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", fmt.Sprintf("manifests are read up to %d bytes", image.MaxManifestSize))
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "MANIFEST_INVALID", "the manifest did not arrive whole")
	}
	return image.ParseManifest(raw, contentType(r))
}

// contentType is what the client calls its manifest; "" when it says nothing
// that a manifest could be called.
func contentType(r *http.Request) string {
	name, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || name == "application/json" || name == "application/octet-stream" {
		return ""
	}
	return name
}

// startUpload answers POST: a mount, a blob in one request, or an upload that
// goes on with PATCH and PUT.
func (p *Proxy) startUpload(w http.ResponseWriter, r *http.Request, q request) error {
	query := r.URL.Query()
	if mount := query.Get("mount"); mount != "" {
		mounted, err := p.mount(r.Context(), q, query.Get("from"), mount)
		if err != nil {
			return err
		}
		if mounted {
			created(w, q, digest.Digest(mount))
			return nil
		}
	}
	u, err := p.uploads.start(r.Context(), p.Gate, q, p.Now())
	if err != nil {
		return err
	}
	if text := query.Get("digest"); text != "" {
		u.single = true
		return p.finish(w, r, q, u, text)
	}
	defer u.unlock()
	u.accepted(w, q)
	return nil
}

// mount takes a blob over from another repository of the same upstream, if the
// caller could have pulled it there. Anything that speaks against it makes an
// ordinary upload of it, as the specification wants.
func (p *Proxy) mount(ctx context.Context, q request, from, text string) (bool, error) {
	d, err := parseDigest(text)
	if err != nil {
		return false, err
	}
	if from == "" || !q.caller.Can(auth.Pull, from) {
		return false, nil
	}
	source, err := p.Upstreams.Lookup(from, "")
	if err != nil || source.Upstream != q.target.Upstream {
		return false, nil
	}
	decision, err := p.Gate.Blob(ctx, gate.Question{Target: source, Principal: q.caller.Name}, d, gate.Read, q.caller.Can(auth.Push, from))
	if err != nil || decision.Outcome != gate.Served {
		return false, nil
	}
	mounted, err := q.target.Upstream.Registry.MountBlob(ctx, q.target.Repository, source.Repository, d)
	if notFound(err) || errors.Is(err, image.ErrUnsupported) {
		return false, nil
	}
	return mounted, err
}

// uploadChunk answers PATCH: the next bytes, of a known length or not.
func (p *Proxy) uploadChunk(w http.ResponseWriter, r *http.Request, q request) error {
	u, err := p.resume(w, r, q)
	if err != nil {
		return err
	}
	if err := p.stream(r, u); err != nil {
		return err
	}
	defer u.unlock()
	u.accepted(w, q)
	return nil
}

// resume returns the upload that a request goes on with, locked. A client that
// would go on elsewhere is told where the upload is.
func (p *Proxy) resume(w http.ResponseWriter, r *http.Request, q request) (*upload, error) {
	u, err := p.uploads.lock(r.Context(), q, p.Now())
	if err != nil {
		return nil, err
	}
	if err := u.checkRange(r); err != nil {
		defer u.unlock()
		u.setRange(w, q)
		return nil, err
	}
	return u, nil
}

// finishUpload answers PUT: the last bytes, if any, and the digest.
func (p *Proxy) finishUpload(w http.ResponseWriter, r *http.Request, q request) error {
	u, err := p.resume(w, r, q)
	if err != nil {
		return err
	}
	return p.finish(w, r, q, u, r.URL.Query().Get("digest"))
}

// finish streams what the request carries, checks the digest of all bytes, and
// commits. The upload has ended when it returns.
func (p *Proxy) finish(w http.ResponseWriter, r *http.Request, q request, u *upload, text string) error {
	d, err := parseDigest(text)
	if err != nil {
		p.uploads.drop(r.Context(), u)
		return err
	}
	if r.ContentLength != 0 {
		if err := p.stream(r, u); err != nil {
			return err
		}
	}
	if got := digest.NewDigest(digest.SHA256, u.hash); got != d {
		p.uploads.drop(r.Context(), u)
		return refuse(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the uploaded bytes have the digest %s, not %s", got, d))
	}
	// From here on the client may go: what the upstream has is to be noted.
	ctx := context.WithoutCancel(r.Context())
	if err := u.commit(ctx, d); err != nil {
		p.uploads.drop(ctx, u)
		return err
	}
	defer p.uploads.end(u, d)
	if err := p.Catalog.Uploaded(ctx, q.target.Key(), d, q.caller.Name, p.Now()); err != nil {
		return err
	}
	created(w, q, d)
	return nil
}

// stream sends the body of a request upstream, and by a tee to the hash and the
// analysis. An upload that got out of step with the upstream is given up.
func (p *Proxy) stream(r *http.Request, u *upload) error {
	err := u.append(r.Context(), r.Body, p.Now())
	if err == nil {
		return nil
	}
	if u.consistent() && !u.single {
		u.unlock() // the client may ask how far it got, and go on
	} else {
		p.uploads.drop(r.Context(), u)
	}
	if r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "the upload was cut")
	}
	return err
}

func created(w http.ResponseWriter, q request, d digest.Digest) {
	h := w.Header()
	h.Set("Location", "/v2/"+q.name+"/blobs/"+d.String())
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

func (p *Proxy) uploadStatus(w http.ResponseWriter, r *http.Request, q request) error {
	u, err := p.uploads.lock(r.Context(), q, p.Now())
	if err != nil {
		return err
	}
	defer u.unlock()
	u.setRange(w, q)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (p *Proxy) cancelUpload(w http.ResponseWriter, r *http.Request, q request) error {
	u, err := p.uploads.lock(r.Context(), q, p.Now())
	if err != nil {
		return err
	}
	p.uploads.drop(r.Context(), u)
	w.Header().Set("Content-Length", strconv.Itoa(0))
	w.WriteHeader(http.StatusNoContent)
	return nil
}
