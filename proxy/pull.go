package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// pullManifest answers GET and HEAD of a manifest. The tag is resolved once; the
// bytes that are judged are the bytes that are served; policy comes before
// anything conditional.
func (p *Proxy) pullManifest(w http.ResponseWriter, r *http.Request, q request) error {
	d, tag, err := parseReference(q.vars["reference"])
	if err != nil {
		return err
	}
	ask := q.question(tag)
	m, err := p.resolve(r.Context(), ask, d)
	if err != nil {
		return err
	}
	serve.Note(r.Context(), "", slog.String("digest", m.Digest.String()))
	decision := p.Gate.Pull(r.Context(), ask, m)
	if decision.Outcome != gate.Served {
		if r.Method != http.MethodHead || decision.Outcome == gate.Pending || !q.may(auth.Push) {
			return denied(decision)
		}
		// Whoever may push must be able to overwrite or sign what is refused:
		// containerd and oras give up when HEAD fails. No byte is given away.
		decision.Warning = "pulls are refused: " + decision.Message
	} else {
		p.Gate.Grant(ask, m, decision)
	}
	warn(w, decision)
	return p.writeManifest(w, r, m)
}

// resolve finds the manifest that a tag or digest stands for, and records that
// the repository has it.
func (p *Proxy) resolve(ctx context.Context, ask gate.Question, d digest.Digest) (*image.Manifest, error) {
	if ask.Tag != "" {
		var err error
		if d, err = p.Gate.Resolve(ctx, ask.Target, ask.Tag); err != nil {
			return nil, err
		}
	}
	m, err := p.Gate.Manifest(ctx, ask.Target, image.Descriptor{Digest: d})
	if err != nil {
		return nil, err
	}
	if m != nil {
		return m, p.Gate.Bind(ctx, ask, m)
	}
	m, err = p.Gate.Fetch(ctx, ask, d.String())
	if errors.Is(err, image.ErrManifestInvalid) {
		return nil, &failure{status: http.StatusForbidden, code: "DENIED", message: "pratique: refused, because the manifest cannot be read without doubt: " + err.Error()}
	}
	return m, err
}

func (p *Proxy) writeManifest(w http.ResponseWriter, r *http.Request, m *image.Manifest) error {
	h := w.Header()
	h.Set("Docker-Content-Digest", m.Digest.String())
	h.Set("Etag", `"`+m.Digest.String()+`"`)
	h.Set("Vary", "Accept")
	if notModified(r, m.Digest) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", m.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(m.Raw)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		// A client that has gone away needs no error.
		_, _ = w.Write(m.Raw)
	}
	return nil
}

func notModified(r *http.Request, d digest.Digest) bool {
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`); tag == d.String() || tag == "*" {
			return true
		}
	}
	return false
}

// warn adds what the gate has to say about something that it serves.
// https://www.rfc-editor.org/rfc/rfc7234#section-5.5
func warn(w http.ResponseWriter, d gate.Decision) {
	if d.Warning != "" {
		text := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ", "\r", " ").Replace("pratique: " + brief(d.Warning))
		w.Header().Set("Warning", `299 - "`+text+`"`)
	}
}

// pullBlob answers GET, also of a range, and HEAD of a blob.
func (p *Proxy) pullBlob(w http.ResponseWriter, r *http.Request, q request) error {
	d, err := parseDigest(q.vars["digest"])
	if err != nil {
		return err
	}
	ask := q.question("")
	// A manifest is a manifest by whatever route it is asked for.
	m, err := p.Gate.Manifest(r.Context(), q.target, image.Descriptor{Digest: d})
	if err != nil {
		return err
	}
	if m != nil {
		if decision := p.Gate.Pull(r.Context(), ask, m); decision.Outcome != gate.Served {
			return denied(decision)
		}
		return p.writeManifest(w, r, m)
	}
	access := gate.Read
	if r.Method == http.MethodHead {
		access = gate.Exists
	}
	decision, err := p.Gate.Blob(r.Context(), ask, d, access, q.may(auth.Push))
	if err != nil {
		return err
	}
	if decision.Outcome != gate.Served {
		return denied(decision)
	}
	warn(w, decision)
	return p.writeBlob(w, r, q, d)
}

func (p *Proxy) writeBlob(w http.ResponseWriter, r *http.Request, q request, d digest.Digest) error {
	h := w.Header()
	reg, repo := q.target.Upstream.Registry, q.target.Repository
	var span byteRange
	if r.Method == http.MethodHead || r.Header.Get("Range") != "" {
		size, err := reg.StatBlob(r.Context(), repo, d)
		if err != nil {
			return err
		}
		if span, err = parseRange(r.Header.Get("Range"), size); err != nil {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			return refuse(http.StatusRequestedRangeNotSatisfiable, "UNSUPPORTED", "the range lies outside of the blob")
		}
	} else {
		span = byteRange{length: -1}
	}
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Etag", `"`+d.String()+`"`)
	h.Set("Accept-Ranges", "bytes")
	if notModified(r, d) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		span.writeHeader(w)
		return nil
	}
	body, size, err := reg.Blob(r.Context(), repo, d, span.start, span.length)
	if err != nil {
		return err
	}
	if span.length < 0 {
		span = byteRange{length: size, size: size}
	}
	span.writeHeader(w)
	_, err = io.Copy(w, body)
	if err = errors.Join(err, body.Close()); err != nil {
		// The status has been sent. The body is shorter than Content-Length
		// says, so the server cuts the connection and the client knows.
		serve.Note(r.Context(), "", slog.String("cut", err.Error()))
	}
	return nil
}

func (p *Proxy) deleteManifest(w http.ResponseWriter, r *http.Request, q request) error {
	d, tag, err := parseReference(q.vars["reference"])
	if err != nil {
		return err
	}
	reg, repo := q.target.Upstream.Registry, q.target.Repository
	ctx := context.WithoutCancel(r.Context())
	if tag != "" {
		err = reg.DeleteTag(ctx, repo, tag)
	} else {
		err = reg.DeleteManifest(ctx, repo, d)
	}
	if err != nil && !notFound(err) {
		return err
	}
	// What the upstream no longer has is forgotten, also when an earlier delete
	// was cut between the two.
	var forgot error
	if tag != "" {
		forgot = p.Gate.ForgetTag(ctx, q.target, tag)
	} else {
		forgot = p.Gate.ForgetManifest(ctx, q.target, d)
	}
	if err = errors.Join(err, forgot); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (p *Proxy) deleteBlob(w http.ResponseWriter, r *http.Request, q request) error {
	d, err := parseDigest(q.vars["digest"])
	if err != nil {
		return err
	}
	if err := q.target.Upstream.Registry.DeleteBlob(r.Context(), q.target.Repository, d); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
