package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/license"
	"github.com/pratique/pratique/engine/misconfig"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/gate"
)

// maxNames bounds the names under which one report tells how an image stands.
const maxNames = 50

// imageReport is all that is known of a manifest, for a page or as JSON.
type imageReport struct {
	Digest    digest.Digest   `json:"digest"`
	MediaType string          `json:"media_type"`
	Kind      string          `json:"kind"` // image, index, artifact, unscannable, or pending
	Reason    string          `json:"reason,omitempty"`
	Standings []standing      `json:"standings"`
	MoreNames int             `json:"more_names,omitempty"` // names beyond those told
	Image     *imageFacts     `json:"image,omitempty"`
	Upgrades  []upgrade       `json:"upgrades"`
	Reasons   []policy.Row    `json:"reasons"` // of the first refusal, else of the first verdict
	Findings  []judged        `json:"findings"`
	Gaps      []inventory.Gap `json:"gaps"`
	// Secrets, Misconfig and Malware are of the image; no policy needs to ask for
	// them.
	Secrets   []inventory.Secret           `json:"secrets,omitempty"`
	Misconfig []inventory.Misconfiguration `json:"misconfigurations,omitempty"`
	Malware   []inventory.Malware          `json:"malware,omitempty"`
	Children  []childReport                `json:"children,omitempty"`
	Exception *exception                   `json:"exception,omitempty"`
	Data      *dataState                   `json:"data,omitempty"`
	Verdict   *verdictFacts                `json:"verdict,omitempty"`

	lead *standing // the one that the report explains
}

// imageFacts are what the analysis found the image to be.
type imageFacts struct {
	ID       digest.Digest      `json:"image_id"`
	Platform inventory.Platform `json:"platform"`
	Distro   inventory.Distro   `json:"distribution"`
	Packages int                `json:"packages"`
	Locked   int                `json:"locked,omitempty"` // named by lock files alone
	Licenses []licenseCount     `json:"licenses,omitempty"`
	Layers   int                `json:"layers"`
	Size     int64              `json:"size"` // bytes, compressed
}

// licenseCount is how many packages say that they have a licence.
type licenseCount struct {
	License  string `json:"license"` // an SPDX expression
	Packages int    `json:"packages"`
}

// childReport is one entry of an index.
type childReport struct {
	Digest   digest.Digest `json:"digest"`
	Platform string        `json:"platform"`
	Known    bool          `json:"known"` // the image was pushed or pulled here
	Kind     string        `json:"kind"`
	Outcome  string        `json:"outcome,omitempty"`
	Message  string        `json:"message,omitempty"`
}

// verdictFacts say what the verdict rests on.
type verdictFacts struct {
	Data        uint64    `json:"data_sequence"`
	Engine      int       `json:"engine"`
	EvaluatedAt time.Time `json:"evaluated_at"`
}

// report answers with a page, or with the same facts as JSON.
func (a *API) report(w http.ResponseWriter, r *http.Request) error {
	d, err := parseDigest(mux.Vars(r)["digest"])
	var rep *imageReport
	if err == nil {
		rep, err = a.gather(r.Context(), d)
	}
	switch told := explained(err); {
	case err == nil && wantsJSON(r):
		writeJSON(w, http.StatusOK, rep)
		return nil
	case err == nil:
		a.writePage(w, http.StatusOK, "report", rep)
		return nil
	case wantsJSON(r) || told == nil:
		return err
	case errors.Is(err, image.ErrManifestUnknown):
		a.writePage(w, told.status, "unknown", string(d))
	default:
		a.writePage(w, told.status, "problem", problemPage{Title: http.StatusText(told.status), Message: told.message})
	}
	return nil
}

// gather collects what is known. It analyses nothing.
func (a *API) gather(ctx context.Context, d digest.Digest) (*imageReport, error) {
	holders, err := a.holders(ctx, d)
	if err != nil {
		return nil, err
	}
	e, err := a.Gate.Explain(ctx, d)
	if err != nil {
		return nil, err
	}
	rep := &imageReport{Digest: d, MediaType: e.MediaType, Kind: kind(e), Reason: e.Subject.Reason, Gaps: e.Gaps, Data: a.data()}
	a.standings(ctx, rep, holders)
	rep.lead = leading(rep.Standings)
	var v *policy.Verdict
	if rep.lead != nil && !e.Index {
		v = rep.lead.verdict
	}
	rep.Findings = judgeFindings(e.Findings, v)
	rep.Upgrades = upgrades(rep.Findings)
	rep.Reasons = []policy.Row{}
	if v != nil {
		rep.Reasons, rep.Verdict = reasons(v), &verdictFacts{v.Data.Sequence, v.Engine, v.EvaluatedAt}
		rep.Exception = a.exception(rep.lead, rep.Reasons)
	}
	if im := e.Image; im != nil {
		rep.Secrets, rep.Misconfig, rep.Malware = im.Secrets, slices.Concat(im.Misconfig, misconfig.Tags(tags(holders))), im.Malware
		rep.Image = factsOf(im)
	}
	if e.Index {
		rep.Children = a.children(ctx, holders[0])
	}
	return rep, nil
}

func factsOf(im *inventory.Image) *imageFacts {
	f := &imageFacts{
		ID: im.Config, Platform: im.Platform, Distro: im.Distro, Packages: len(im.Packages), Locked: len(im.Locked), Layers: len(im.Layers), Size: im.Size,
	}
	said, counts := map[string]int{}, map[string]int{}
	for _, p := range im.Packages {
		said[p.License]++
	}
	for text, n := range said {
		if expression, _ := license.Normalize(text); expression != "" {
			counts[expression] += n
		}
	}
	for expression, n := range counts {
		f.Licenses = append(f.Licenses, licenseCount{expression, n})
	}
	slices.SortFunc(f.Licenses, func(a, b licenseCount) int {
		return cmp.Or(cmp.Compare(b.Packages, a.Packages), cmp.Compare(a.License, b.License))
	})
	return f
}

func kind(e *gate.Explanation) string {
	switch {
	case e.Index:
		return "index"
	case e.Subject.Kind == "":
		return pending
	}
	return string(e.Subject.Kind)
}

func (a *API) standings(ctx context.Context, rep *imageReport, holders []holder) {
	rep.Standings = []standing{}
	for _, h := range holders {
		tags := h.tags
		if len(tags) == 0 {
			tags = []string{""}
		}
		for _, t := range tags {
			if len(rep.Standings) == maxNames {
				rep.MoreNames++
				continue
			}
			q := gate.Question{Target: h.target, Tag: t}
			rep.Standings = append(rep.Standings, a.stand(ctx, q, h.manifest, a.Gate.Known(ctx, q, h.manifest)))
		}
	}
}

// leading is the name that a report explains: the first refused one, else the
// first with a verdict, else the first.
func leading(all []standing) *standing {
	for _, fits := range []func(standing) bool{
		func(s standing) bool { return s.Outcome == refused },
		func(s standing) bool { return s.Warning != "" },
		func(s standing) bool { return s.verdict != nil },
		func(standing) bool { return true },
	} {
		if i := slices.IndexFunc(all, fits); i >= 0 {
			return &all[i]
		}
	}
	return nil
}

func (a *API) children(ctx context.Context, h holder) []childReport {
	all := []childReport{}
	q := gate.Question{Target: h.target}
	for _, d := range h.manifest.Manifests {
		c := childReport{Digest: d.Digest, Platform: platformName(d.Platform), Kind: "image"}
		m, err := a.Gate.Manifest(ctx, h.target, d)
		if err != nil || m == nil {
			all = append(all, c)
			continue
		}
		decision := a.Gate.Known(ctx, q, m)
		c.Known, c.Outcome, c.Message = true, outcome(decision), decision.Message
		if m.Index {
			c.Kind = "index"
		} else if s, ok := a.Gate.Subject(ctx, h.target, m); ok {
			c.Kind = string(s.Kind)
		}
		all = append(all, c)
	}
	return all
}
