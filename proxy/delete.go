package proxy

import (
	"context"
	"net/http"

	"github.com/pratique/pratique/internal/audit"
)

// deleteManifest answers DELETE of a tag, or of a manifest with its tags. It goes
// on when the client has gone: half a delete helps nobody.
func (p *Proxy) deleteManifest(w http.ResponseWriter, r *http.Request, q request) error {
	d, tag, err := parseReference(q.vars["reference"])
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	if tag != "" {
		err = p.Gate.DeleteTag(ctx, q.target, tag)
	} else {
		err = p.Gate.DeleteManifest(ctx, q.target, d)
	}
	if err == nil {
		err = p.note(ctx, q, audit.Deleted, q.vars["reference"], d, "")
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// deleteBlob answers DELETE of a blob. What manifests name it stays known: who
// asks for it is told that it is not there.
func (p *Proxy) deleteBlob(w http.ResponseWriter, r *http.Request, q request) error {
	d, err := parseDigest(q.vars["digest"])
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	if err := q.target.Upstream.Registry.DeleteBlob(ctx, q.target.Repository, d); err != nil {
		return err
	}
	if err := p.note(ctx, q, audit.Deleted, d.String(), d, "blob"); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
