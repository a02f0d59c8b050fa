package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
)

// policyRecord is Anchore's PolicyBundleRecord.
type policyRecord struct {
	PolicyID    string          `json:"policyId"`
	Active      bool            `json:"active"`
	UserID      string          `json:"userId"`
	Source      string          `json:"policy_source"`
	CreatedAt   string          `json:"created_at"`
	LastUpdated string          `json:"last_updated"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Bundle      json.RawMessage `json:"policybundle"`
}

// account is the one account that there is, by Anchore's name.
const account = "admin"

// record describes a stored bundle, with its text if detail is wanted. A bundle
// is kept as it was last stored, so both times are that of the last change.
func record(p gate.Policy, detail bool) policyRecord {
	at := p.Updated.UTC().Format(time.RFC3339)
	rec := policyRecord{
		PolicyID: p.ID, Active: p.Active, UserID: account, Source: "local", CreatedAt: at, LastUpdated: at, Name: p.Name, Bundle: json.RawMessage("{}"),
	}
	if b, err := bundle.Parse(p.Raw); err == nil {
		rec.Description = b.Description
	}
	if detail {
		rec.Bundle = p.Raw
	}
	return rec
}

func (a *API) listPolicies(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Pull, ""); err != nil { // they name any repository
		return err
	}
	policies, err := a.Gate.Policies(r.Context())
	if err != nil {
		return err
	}
	detail, records := flag(r, "detail", false), []policyRecord{}
	for _, p := range policies {
		records = append(records, record(p, detail))
	}
	writeJSON(w, http.StatusOK, records)
	return nil
}

func (a *API) getPolicy(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Pull, ""); err != nil {
		return err
	}
	p, err := a.policy(r.Context(), mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, []policyRecord{record(p, flag(r, "detail", true))})
	return nil
}

func (a *API) policy(ctx context.Context, id string) (gate.Policy, error) {
	policies, err := a.Gate.Policies(ctx)
	if err != nil {
		return gate.Policy{}, err
	}
	for _, p := range policies {
		if p.ID == id {
			return p, nil
		}
	}
	return gate.Policy{}, catalog.ErrBundleUnknown
}

// addPolicy stores a bundle and leaves the active one as it is. It answers one
// record, not an array: Anchore's clients count on that.
func (a *API) addPolicy(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Admin, ""); err != nil {
		return err
	}
	raw, err := readBody(w, r)
	if err != nil {
		return err
	}
	p, err := a.store(r.Context(), raw, "")
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, record(p, true))
	return nil
}

// store checks and stores a bundle, under its own id, else the one given, else a
// new one.
func (a *API) store(ctx context.Context, raw []byte, id string) (gate.Policy, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return gate.Policy{}, err
	}
	if b.ID == "" {
		if id == "" {
			id = rand.Text()
		}
		if raw, err = withID(raw, id); err != nil {
			return gate.Policy{}, err
		}
	} else if id != "" && b.ID != id {
		return gate.Policy{}, refuse(http.StatusBadRequest, "the bundle has the id %q, the address another", b.ID)
	}
	p, err := a.Gate.AddPolicy(ctx, raw)
	if err != nil {
		return p, err
	}
	what := "stored"
	if p.Active {
		what = "stored, and in force"
	}
	return p, a.policyChanged(ctx, p.ID, what)
}

func withID(raw []byte, id string) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("give the bundle an id: %w", err)
	}
	quoted, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	doc["id"] = quoted
	return json.Marshal(doc)
}

// changePolicy takes Anchore's record: a changed bundle, and active to put it in
// force. Clients say active in the body, in the query, or in both.
func (a *API) changePolicy(w http.ResponseWriter, r *http.Request) error {
	id := mux.Vars(r)["id"]
	raw, err := readBody(w, r)
	if err != nil {
		return err
	}
	if err := a.need(r.Context(), auth.Admin, ""); err != nil {
		return err
	}
	var change struct {
		Active *bool           `json:"active"`
		Bundle json.RawMessage `json:"policybundle"`
	}
	if len(raw) > 0 && json.Unmarshal(raw, &change) != nil {
		return refuse(http.StatusBadRequest, "the body is no policy record")
	}
	p, err := a.policy(r.Context(), id)
	if err != nil {
		return err
	}
	active := flag(r, "active", change.Active != nil && *change.Active)
	if !active && p.Active && (change.Active != nil || r.URL.Query().Has("active")) {
		return refuse(http.StatusConflict, "cannot deactivate an active policy: activate another one instead")
	}
	if hasBundle(change.Bundle) {
		if p, err = a.store(r.Context(), change.Bundle, id); err != nil {
			return err
		}
	}
	if active && !p.Active {
		if p, err = a.Gate.Activate(r.Context(), id); err != nil {
			return err
		}
		if err := a.policyChanged(r.Context(), id, "in force"); err != nil {
			return err
		}
	}
	if p, err = a.policy(r.Context(), id); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, []policyRecord{record(p, true)})
	return nil
}

// hasBundle reports whether a record brings a bundle: lists without detail give
// an empty one, which is not meant to replace anything.
func hasBundle(raw json.RawMessage) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(raw, &fields) == nil && len(fields) > 0
}

// readBody reads a body of at most the size of a bundle and what a record adds.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bundle.MaxSize+64<<10))
	var large *http.MaxBytesError
	if err == nil || errors.As(err, &large) {
		return raw, err
	}
	return nil, refuse(http.StatusBadRequest, "the body could not be read to its end")
}
