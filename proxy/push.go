package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// maxTags is how many tags one push of a manifest may name; the specification
// wants 10 at least.
const maxTags = 32

// pushManifest is the commit point of a push: parse, judge if pushes are gated,
// put upstream, record, judge, and only then answer.
func (p *Proxy) pushManifest(w http.ResponseWriter, r *http.Request, q request) error {
	ref := q.vars["reference"]
	d, tag, err := parseReference(ref)
	if err != nil {
		return err
	}
	tags, err := tagParameters(r, tag)
	if err != nil {
		return err
	}
	m, err := readManifest(w, r)
	if err != nil {
		return err
	}
	named := m.Digest // the digest that the client knows it by
	if d != "" {
		if named = d; d != m.Digest && d != m.SHA512 {
			return refuse(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the manifest's digest is %s, not the one it was sent under", m.Digest))
		}
	}
	serve.Note(r.Context(), "", slog.String("digest", m.Digest.String()))
	if err := p.mayPush(r.Context(), q, tags, m); err != nil {
		return err
	}
	decision, err := p.store(r.Context(), q, named, tags, m)
	if err != nil {
		return err
	}
	warn(w, decision)
	h := w.Header()
	h.Set("Location", "/v2/"+q.name+"/manifests/"+named.String())
	h.Set("Docker-Content-Digest", named.String())
	if d != "" && len(tags) > 0 {
		h.Set("OCI-Tag", strings.Join(tags, ", "))
	}
	if m.Subject != nil {
		h.Set("OCI-Subject", m.Subject.Digest.String())
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// tagParameters are the tags that a push is to move: that of the path, or, when
// the path has a digest, those of the query.
func tagParameters(r *http.Request, tag string) ([]string, error) {
	if tag != "" {
		return []string{tag}, nil
	}
	var tags []string
	for _, t := range r.URL.Query()["tag"] {
		if !image.ValidTag(t) {
			return nil, refuse(http.StatusBadRequest, "TAG_INVALID", "a tag is not one that the specification allows")
		}
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	if len(tags) > maxTags {
		return nil, refuse(http.StatusRequestURITooLong, "TAG_INVALID", fmt.Sprintf("at most %d tags can be pushed at once", maxTags))
	}
	return tags, nil
}

// mayPush asks the gate about every name that the manifest is to get.
func (p *Proxy) mayPush(ctx context.Context, q request, tags []string, m *image.Manifest) error {
	names := tags
	if len(names) == 0 {
		names = []string{""}
	}
	for _, tag := range names {
		if decision := p.Gate.Push(ctx, q.question(tag), m); decision.Outcome != gate.Served {
			return denied(decision, audit.PushRefused, m.Digest)
		}
	}
	return nil
}

// store puts the manifest upstream, under its tags one after the other. What
// has been acknowledged upstream is recorded, also when the client has gone.
func (p *Proxy) store(ctx context.Context, q request, named digest.Digest, tags []string, m *image.Manifest) (gate.Decision, error) {
	ctx = context.WithoutCancel(ctx)
	if len(tags) == 0 || named != m.Digest {
		if err := p.Gate.Store(ctx, q.question(""), named, m); err != nil {
			return gate.Decision{}, err
		}
	}
	if len(tags) == 0 {
		decision := p.Gate.Observe(ctx, q.question(""), m)
		return decision, p.note(ctx, q, audit.Pushed, named.String(), m.Digest, decision.Warning)
	}
	var said gate.Decision
	for _, tag := range tags {
		decision, held, err := p.Gate.Tag(ctx, q.question(tag), m)
		if err == nil {
			err = p.Gate.SetName(ctx, q.question(tag), m, named)
		}
		if err != nil {
			return gate.Decision{}, err
		}
		kind := audit.Pushed
		if held {
			kind = audit.Quarantined
		}
		if err := p.note(ctx, q, kind, tag, m.Digest, decision.Warning); err != nil {
			return gate.Decision{}, err
		}
		if said.Warning == "" {
			said = decision
		}
	}
	return said, nil
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
