package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
)

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
	announced, err := announcedAlgorithm(query)
	if err != nil {
		return err
	}
	u, err := p.uploads.start(r.Context(), p.Gate, q, p.Now())
	if err != nil {
		return err
	}
	u.announce(announced)
	if text := query.Get("digest"); text != "" {
		u.single = true
		return p.finish(w, r, q, u, text)
	}
	defer u.unlock()
	u.accepted(w, q)
	return nil
}

// announcedAlgorithm is that of the digest that the client means to give at the
// end, if it says so.
func announcedAlgorithm(query url.Values) (digest.Algorithm, error) {
	switch a := digest.Algorithm(query.Get("digest-algorithm")); a {
	case "":
		return digest.Digest(query.Get("digest") + ":").Algorithm(), nil
	case digest.SHA256, digest.SHA512:
		return a, nil
	}
	return "", refuse(http.StatusBadRequest, "DIGEST_INVALID", "digest-algorithm is neither sha256 nor sha512")
}

// mount takes a blob over from another repository of the same upstream, if the
// caller could have pulled it there. Anything that speaks against it makes an
// ordinary upload of it, as the specification wants.
func (p *Proxy) mount(ctx context.Context, q request, from, text string) (bool, error) {
	d, err := parseDigest(text)
	if err != nil {
		return false, err
	}
	if from == "" {
		return false, nil
	}
	source, err := p.Upstreams.Lookup(from, "")
	if err != nil || source.Upstream != q.target.Upstream || !p.pulls(q, from, source) {
		return false, nil
	}
	decision, err := p.Gate.Blob(ctx, gate.Question{Target: source, Principal: q.caller.Name}, d, gate.Read, q.caller.Can(auth.Push, from, source.Name()))
	if err != nil || decision.Outcome != gate.Served || decision.Pass != nil {
		return false, nil
	}
	mounted, err := q.target.Upstream.Registry.MountBlob(ctx, q.target.Repository, source.Repository, d)
	if notFound(err) || errors.Is(err, image.ErrUnsupported) {
		return false, nil
	}
	if err != nil || !mounted {
		return false, err
	}
	known, err := p.Gate.Canonical(ctx, d)
	if err != nil {
		return false, err
	}
	return true, p.Catalog.Mounted(context.WithoutCancel(ctx), q.target.Key(), known, q.caller.Name, p.Now())
}

// pulls reports whether the caller may pull from another repository than the one
// that its request is about. Who has no name may without a token what everybody
// may: a token for something else takes nothing away.
func (p *Proxy) pulls(q request, typed string, t gate.Target) bool {
	return q.caller.Can(auth.Pull, typed, t.Name()) || q.caller.Anonymous() && p.Auth.May(auth.Anonymous, auth.Pull, t.Name())
}

// uploadChunk answers PATCH: the next bytes, of a known length or not.
func (p *Proxy) uploadChunk(w http.ResponseWriter, r *http.Request, q request) error {
	u, err := p.resume(w, r, q)
	if err != nil {
		return err
	}
	if err := p.stream(w, r, u); err != nil {
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
	u.announce(d.Algorithm())
	if r.ContentLength != 0 {
		if err := p.stream(w, r, u); err != nil {
			return err
		}
	}
	if got := u.digest(d.Algorithm()); got != "" && got != d {
		p.uploads.drop(r.Context(), u)
		return refuse(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the uploaded bytes have the digest %s, not %s", got, d))
	}
	// From here on the client may go: what the upstream has is to be noted.
	ctx := context.WithoutCancel(r.Context())
	if err := u.commit(ctx, d); err != nil {
		p.uploads.drop(ctx, u)
		return err
	}
	known := u.digest(digest.SHA256)
	defer p.uploads.end(u, known)
	if err := p.learn(ctx, q, u, d); err != nil {
		return err
	}
	if err := p.Catalog.Uploaded(ctx, q.target.Key(), known, q.caller.Name, p.Now()); err != nil {
		return err
	}
	created(w, q, d)
	return nil
}

// learn notes under which sha256 the gate knows a blob that came under another
// digest. Where the client did not announce that digest, the bytes were not
// hashed for it on their way, and are read back.
func (p *Proxy) learn(ctx context.Context, q request, u *upload, d digest.Digest) error {
	known := u.digest(digest.SHA256)
	if d == known {
		return nil
	}
	if u.digest(d.Algorithm()) == d {
		return p.Catalog.PutAlias(ctx, d, known)
	}
	got, err := p.Gate.Learn(ctx, q.target, d)
	if err == nil && got != known {
		err = fmt.Errorf("blob %s: %w", d, image.ErrDigestInvalid)
	}
	return err
}

// stream sends the body of a request upstream, and by a tee to the hash and the
// analysis. An upload that got out of step with the upstream is given up.
func (p *Proxy) stream(w http.ResponseWriter, r *http.Request, u *upload) error {
	body := r.Body
	if p.MaxBlob > 0 {
		body = http.MaxBytesReader(w, body, max(p.MaxBlob-u.offset, 0))
	}
	err := u.append(r.Context(), body, p.Now())
	if err == nil {
		return nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		p.uploads.drop(r.Context(), u)
		return refuse(http.StatusRequestEntityTooLarge, "SIZE_INVALID", fmt.Sprintf("blobs are taken up to %d bytes (registry.max_blob)", p.MaxBlob))
	}
	if u.consistent() && !u.single && !errors.Is(err, image.ErrQuotaExceeded) {
		u.park()
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
