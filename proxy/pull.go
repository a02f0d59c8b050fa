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
	"github.com/pratique/pratique/internal/audit"
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
		return p.refuseTag(w, r, q, tag, err)
	}
	serve.Note(r.Context(), "", slog.String("digest", m.Digest.String()))
	named := d
	if tag != "" {
		if named, err = p.Gate.Name(r.Context(), ask, m); err != nil {
			return err
		}
	}
	decision := p.decide(r, ask, m)
	switch {
	case decision.Outcome == gate.Served:
		p.Gate.Grant(ask, m, decision)
	case decision.Outcome != gate.Served && p.buries(q, tag): // nobody pushes through a mirror
		return p.refuseTag(w, r, q, tag, denied(decision, audit.PullRefused, m.Digest))
	case decision.Outcome == gate.Refused && p.keeps(r, q, tag, m):
		decision.Warning = "pulls are refused: " + decision.Message
	case decision.Outcome == gate.Refused && p.mayKeep(r, q):
		return &challenge{scopes: scopesFor(auth.Push, q.name)}
	default:
		return denied(decision, audit.PullRefused, m.Digest)
	}
	if err := p.pulled(r, q, m, decision); err != nil {
		return err
	}
	warn(w, decision)
	return writeManifest(w, r, m, named)
}

// decide waits for a first analysis, unless the client asks with "Prefer: wait=0"
// only what a tag stands for: admission does, which has seconds.
// https://www.rfc-editor.org/rfc/rfc7240#section-4.3
func (p *Proxy) decide(r *http.Request, ask gate.Question, m *image.Manifest) gate.Decision {
	if r.Method == http.MethodHead && r.Header.Get("Prefer") == "wait=0" {
		return p.Gate.Known(r.Context(), ask, m)
	}
	return p.Gate.Pull(r.Context(), ask, m)
}

// keeps reports whether a refused manifest is shown to somebody who is to
// overwrite, sign or delete it, which is their right. HEAD is for those who may
// push or delete: containerd and oras give up when it fails. The document itself, which
// names what is refused and has nothing of it, is for those whose token is for
// deleting (skopeo reads what it deletes) and, by digest, for those who may push
// and have a name (cosign reads what it signs, with a token for pull alone).
func (p *Proxy) keeps(r *http.Request, q request, tag string, m *image.Manifest) bool {
	if r.Method == http.MethodHead {
		return p.pushes(q) || q.may(auth.Delete)
	}
	return !m.HasData() && (q.may(auth.Delete) || tag == "" && !q.caller.Anonymous() && p.pushes(q))
}

// mayKeep reports whether a client that came without a token could get one that
// shows it may push. containerd and oras begin with HEAD and no token at all.
func (p *Proxy) mayKeep(r *http.Request, q request) bool {
	return r.Method == http.MethodHead && !q.caller.Token && p.Auth.May(auth.Anonymous, auth.Push, q.target.Name())
}

// pulled notes what is to be known of a manifest that is about to be answered.
func (p *Proxy) pulled(r *http.Request, q request, m *image.Manifest, decision gate.Decision) error {
	if r.Method == http.MethodHead {
		if !p.pushes(q) {
			return nil
		}
		return p.Gate.Touch(r.Context(), q.target, m)
	}
	if decision.Pass == nil {
		return nil
	}
	return p.note(r.Context(), q, audit.PassUsed, q.vars["reference"], m.Digest, decision.Warning)
}

// resolve finds the manifest that a tag or digest stands for, and records that
// the repository has it.
func (p *Proxy) resolve(ctx context.Context, ask gate.Question, d digest.Digest) (*image.Manifest, error) {
	if ask.Tag == "" {
		if stone := p.stones.text(d); stone != "" {
			return nil, refuse(http.StatusForbidden, "DENIED", stone)
		}
	}
	before, err := p.Gate.Bound(ctx, ask)
	if err != nil {
		return nil, err
	}
	if ask.Tag != "" {
		if d, err = p.Gate.Resolve(ctx, ask.Target, ask.Tag); err != nil {
			return nil, err
		}
	}
	m, err := p.Gate.Manifest(ctx, ask.Target, image.Descriptor{Digest: d})
	if m == nil && err == nil {
		m, err = p.Gate.Fetch(ctx, ask, d.String())
	}
	if errors.Is(err, image.ErrManifestInvalid) {
		return nil, &failure{status: http.StatusForbidden, code: "DENIED", audit: audit.PullRefused, digest: d, message: "pratique: refused, because the manifest cannot be read without doubt: " + err.Error()}
	}
	if err != nil {
		return nil, err
	}
	return m, p.Gate.Bind(ctx, ask, m, before)
}

// writeManifest answers the bytes that were judged, under the digest by which the
// client knows them.
func writeManifest(w http.ResponseWriter, r *http.Request, m *image.Manifest, named digest.Digest) error {
	h := w.Header()
	h.Set("Docker-Content-Digest", named.String())
	h.Set("Etag", `"`+named.String()+`"`)
	h.Set("Vary", "Accept")
	if notModified(r, named) {
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
		decision := p.Gate.Pull(r.Context(), ask, m)
		if decision.Outcome != gate.Served {
			return denied(decision, audit.PullRefused, m.Digest)
		}
		if err := p.pulled(r, q, m, decision); err != nil {
			return err
		}
		warn(w, decision)
		return writeManifest(w, r, m, d)
	}
	access := gate.Read
	if r.Method == http.MethodHead {
		access = gate.Exists
	}
	decision, err := p.Gate.Blob(r.Context(), ask, d, access, p.pushes(q))
	if err != nil {
		return err
	}
	switch {
	case decision.Outcome == gate.Refused && p.mayKeep(r, q):
		return &challenge{scopes: scopesFor(auth.Push, q.name)}
	case decision.Outcome != gate.Served:
		return denied(decision, audit.PullRefused, d)
	case decision.Pass != nil && access == gate.Read:
		if err := p.note(r.Context(), q, audit.PassUsed, d.String(), d, decision.Warning); err != nil {
			return err
		}
	}
	warn(w, decision)
	return p.writeBlob(w, r, q, d)
}

// pushes reports whether the caller pushes to the repository: its token says so,
// or, of one with a name of its own, the rules do. Clients read back what they
// have just uploaded with tokens for pull alone.
func (p *Proxy) pushes(q request) bool {
	return q.may(auth.Push) || !q.caller.Anonymous() && p.Auth.May(q.caller.Name, auth.Push, q.target.Name())
}

func (p *Proxy) writeBlob(w http.ResponseWriter, r *http.Request, q request, d digest.Digest) error {
	h := w.Header()
	reg, repo := q.target.Upstream.Registry, q.target.Repository
	var span byteRange
	if wanted := wantedRange(r, d); r.Method == http.MethodHead || wanted != "" {
		size, err := reg.StatBlob(r.Context(), repo, d)
		if err != nil {
			return err
		}
		if span, err = parseRange(wanted, size); err != nil {
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
