package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/verdicts"
)

// Admitted is an image that the admission of a cluster let in: what later runs
// there is held against it.
type Admitted struct {
	Cluster   string        `json:"cluster"`
	Namespace string        `json:"namespace"`
	Reference string        `json:"reference"` // in full, as an image that runs is named
	Digest    digest.Digest `json:"digest"`
	State     State         `json:"state"`
	Answer    string        `json:"answer"` // allow, or warn
	At        time.Time     `json:"at"`
}

// AdmittedFor is how long what does not run any more is remembered.
const AdmittedFor = 14 * 24 * time.Hour

// Admissions remembers what was let in. A Gate does, in the catalog; a Remote
// does, in Redis. Both are safe for concurrent use.
type Admissions interface {
	NoteAdmitted(ctx context.Context, list []Admitted) error
	// StillRuns keeps what Admitted returned from being forgotten.
	StillRuns(ctx context.Context, a Admitted) error
	// Admitted returns the image if it was let in, alone or as one of an index;
	// else the one that was let in last under the same name in the same namespace;
	// nil for none.
	Admitted(ctx context.Context, a Admitted) (*Admitted, error)
}

// NoteAdmitted is part of Admissions.
func (g *Gate) NoteAdmitted(ctx context.Context, list []Admitted) error {
	rows := make([]catalog.Admitted, len(list))
	for i, a := range list {
		doc, err := json.Marshal(a)
		if err != nil {
			return err
		}
		rows[i] = catalog.Admitted{Cluster: a.Cluster, Namespace: a.Namespace, Reference: a.Reference, Digest: a.Digest, At: a.At, Doc: doc}
	}
	return g.Catalog.PutAdmitted(ctx, rows, g.Now())
}

// StillRuns is part of Admissions.
func (g *Gate) StillRuns(ctx context.Context, a Admitted) error {
	return g.NoteAdmitted(ctx, []Admitted{a})
}

// Admitted is part of Admissions.
func (g *Gate) Admitted(ctx context.Context, a Admitted) (*Admitted, error) {
	doc, err := g.Catalog.Admitted(ctx, a.Cluster, a.Namespace, a.Reference, a.Digest)
	if err != nil || doc == nil {
		return nil, err
	}
	found := new(Admitted)
	if err := json.Unmarshal(doc, found); err != nil {
		return nil, fmt.Errorf("read what was admitted: %w", err)
	}
	return g.assessor().unfold(ctx, found, a.Digest), nil
}

// NoteAdmitted is part of Admissions.
func (r *Remote) NoteAdmitted(ctx context.Context, list []Admitted) error {
	var failed []error
	for _, a := range list {
		failed = append(failed, r.shared.PutFact(ctx, a.fact(), a), r.shared.PutFact(ctx, a.exact(), a))
	}
	return errors.Join(failed...)
}

// StillRuns is part of Admissions.
func (r *Remote) StillRuns(ctx context.Context, a Admitted) error {
	return r.shared.PutFact(ctx, a.exact(), a)
}

// Admitted is part of Admissions.
func (r *Remote) Admitted(ctx context.Context, a Admitted) (*Admitted, error) {
	found, err := verdicts.Fact[Admitted](ctx, r.shared, a.exact())
	if err != nil || found != nil {
		return found, err
	}
	if found, err = verdicts.Fact[Admitted](ctx, r.shared, a.fact()); err != nil || found == nil {
		return nil, err
	}
	in, err := r.assessor(ctx)
	if err != nil {
		return nil, err
	}
	return in.unfold(ctx, found, a.Digest), nil
}

// unfold takes an index that was let in for the image of it that runs: some nodes
// report the one, some the other.
func (a *assessor) unfold(ctx context.Context, found *Admitted, d digest.Digest) *Admitted {
	t, _, err := a.rules.place(found.Reference)
	if err != nil || found.Digest == d {
		return found
	}
	f, err := a.known.fact(ctx, t, found.Digest)
	if err != nil || f == nil || !slices.ContainsFunc(f.Children, func(c childFact) bool { return c.Digest == d }) {
		return found
	}
	child := *found
	child.Digest = d
	return &child
}

func (a Admitted) fact() string {
	return "admitted:" + a.Cluster + "/" + a.Namespace + "/" + a.Reference
}

func (a Admitted) exact() string { return a.fact() + " " + a.Digest.String() }
