package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
)

// maxPasses is how many break-glass grants a list has.
const maxPasses = 200

// passRequest asks for a break-glass grant.
type passRequest struct {
	Repository string `json:"repository"`          // as it is pulled, without host and tag
	Principal  string `json:"principal,omitempty"` // who is to have it; default: who asks
	Reason     string `json:"reason"`
	For        string `json:"for"` // "45m", at most 4h
}

// passAnswer is a break-glass grant.
type passAnswer struct {
	ID         string    `json:"id"`
	Principal  string    `json:"principal"`
	Repository string    `json:"repository"`
	Reason     string    `json:"reason"`
	GrantedBy  string    `json:"granted_by"`
	Granted    time.Time `json:"granted"`
	Until      time.Time `json:"until"`
	Live       bool      `json:"live"`
}

// name gives a repository's name as it is pulled.
func (a *API) name(repo catalog.Repository) string {
	if u := a.Gate.Upstreams.Named(repo.Upstream); u != nil {
		return gate.Target{Upstream: u, Repository: repo.Name}.Name()
	}
	return repo.Upstream + " (no longer configured): " + repo.Name
}

func (a *API) passAnswer(p catalog.Pass) passAnswer {
	return passAnswer{p.ID, p.Principal, a.name(p.Repository), p.Reason, p.GrantedBy, p.Granted, p.Until, a.now().Before(p.Until)}
}

// grantPass lets somebody pull what is refused in one repository for a while.
// The right break-glass gives it to oneself; to others it takes admin as well.
func (a *API) grantPass(w http.ResponseWriter, r *http.Request) error {
	var ask passRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	ctx, me := r.Context(), who(r.Context()).name
	t, err := a.Gate.Upstreams.Lookup(ask.Repository, "")
	if err != nil {
		return err
	}
	if err := a.need(ctx, auth.BreakGlass, t.Name()); err != nil {
		return err
	}
	if ask.Principal != "" && ask.Principal != me {
		if err := a.need(ctx, auth.Admin, t.Name()); err != nil {
			return err
		}
	} else {
		ask.Principal = me
	}
	lasting, err := time.ParseDuration(ask.For)
	if err != nil {
		return refuse(http.StatusBadRequest, "for: want a time like 45m or 2h")
	}
	p, err := a.Gate.GrantPass(ctx, t, ask.Principal, me, ask.Reason, lasting)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if err := a.note(ctx, catalog.AuditEntry{Kind: audit.PassGranted, Repository: t.Name(), Reference: p.ID,
		Message: p.Principal + " until " + p.Until.Format(time.RFC3339) + ": " + p.Reason}); err != nil {
		_, ended := a.Catalog.EndPass(context.WithoutCancel(ctx), p.ID, a.now()) // no grant without an entry
		return errors.Join(err, ended)
	}
	writeJSON(w, http.StatusOK, a.passAnswer(p))
	return nil
}

// listPasses answers the grants that the sender could have made.
func (a *API) listPasses(w http.ResponseWriter, r *http.Request) error {
	passes, err := a.Catalog.Passes(r.Context(), a.now(), maxPasses)
	if err != nil {
		return err
	}
	all := []passAnswer{}
	for _, p := range passes {
		answer := a.passAnswer(p)
		if a.handles(r.Context(), answer.Repository) {
			all = append(all, answer)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"grants": all})
	return nil
}

// endPass ends a grant before its time.
func (a *API) endPass(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), mux.Vars(r)["id"]
	p, err := a.Catalog.Pass(ctx, id)
	if err != nil {
		return err
	}
	if p == nil || !a.handles(ctx, a.name(p.Repository)) {
		return refuse(http.StatusNotFound, "there is no break-glass grant with this id")
	}
	if _, err := a.Catalog.EndPass(ctx, id, a.now()); err != nil {
		return err
	}
	answer := a.passAnswer(*p)
	answer.Live, answer.Until = false, a.now().UTC().Truncate(time.Second)
	if err := a.note(ctx, catalog.AuditEntry{Kind: audit.PassEnded, Repository: answer.Repository, Reference: id, Message: p.Principal}); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// handles reports whether the sender may see and end grants on a repository.
func (a *API) handles(ctx context.Context, repository string) bool {
	return a.may(ctx, auth.Admin, repository) || a.may(ctx, auth.BreakGlass, repository)
}

// holdAnswer is a tag in quarantine.
type holdAnswer struct {
	Repository string    `json:"repository"`
	Tag        string    `json:"tag"`
	Digest     string    `json:"digest"`
	Principal  string    `json:"principal"` // who pushed it
	Added      time.Time `json:"added"`
	Reason     string    `json:"reason"`
	Report     string    `json:"report"`
}

// listHolds answers the tags that wait for their image to be allowed.
func (a *API) listHolds(w http.ResponseWriter, r *http.Request) error {
	holds, err := a.Catalog.Holds(r.Context())
	if err != nil {
		return err
	}
	all := []holdAnswer{}
	for _, h := range holds {
		if name := a.name(h.Repository); a.may(r.Context(), auth.Pull, name) {
			all = append(all, holdAnswer{name, h.Tag, h.Manifest.String(), h.Principal, h.Added, h.Reason, a.Gate.Report(h.Manifest)})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"quarantined": all})
	return nil
}

// endHold moves a tag out of quarantine: to its image, whatever the gate thinks,
// or to nowhere. Pulls stay gated.
func (a *API) endHold(w http.ResponseWriter, r *http.Request) error {
	var ask struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
	}
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	ctx := r.Context()
	t, err := a.Gate.Upstreams.Lookup(ask.Repository, "")
	if err != nil {
		return err
	}
	if err := a.need(ctx, auth.Admin, t.Name()); err != nil {
		return err
	}
	h, err := a.Catalog.Hold(ctx, t.Key(), ask.Tag)
	if err != nil {
		return err
	}
	if h == nil {
		return refuse(http.StatusNotFound, "%s:%s is not in quarantine", t.Name(), ask.Tag)
	}
	done := false
	if mux.Vars(r)["what"] == "release" {
		done, err = a.Gate.Release(ctx, *h, who(ctx).name)
	} else if done, err = a.Gate.DropHold(ctx, *h); done && err == nil {
		err = a.note(ctx, catalog.AuditEntry{Kind: audit.Dropped, Repository: t.Name(), Reference: h.Tag, Digest: h.Manifest.String()})
	}
	if err != nil {
		return err
	}
	if !done {
		return refuse(http.StatusConflict, "%s:%s has been pushed again or deleted a moment ago: look at the quarantine again", t.Name(), ask.Tag)
	}
	writeJSON(w, http.StatusOK, holdAnswer{t.Name(), h.Tag, h.Manifest.String(), h.Principal, h.Added, h.Reason, a.Gate.Report(h.Manifest)})
	return nil
}

// collect runs a garbage collection now, and answers what it has removed.
func (a *API) collect(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Admin, ""); err != nil {
		return err
	}
	done, err := a.Collect(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, done)
	return nil
}

// readJSON reads a small document strictly.
func readJSON(w http.ResponseWriter, r *http.Request, doc any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(doc); err != nil {
		return refuse(http.StatusBadRequest, "the body is not the JSON that is wanted here: %v", err)
	}
	return nil
}
