package api

import (
	"context"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
)

// checkAnswer is the answer to "may this image be pulled, and why not".
type checkAnswer struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"media_type"`
	Allowed   bool          `json:"allowed"`
	standing
	Reasons   []policy.Row       `json:"reasons"` // what stops and what warns, the worst first
	Gaps      []inventory.Gap    `json:"gaps"`
	Platforms []platformAnswer   `json:"platforms"`
	Report    string             `json:"report"`
	Data      *advisory.Revision `json:"data,omitempty"` // that the verdict rests on
}

// platformAnswer is the answer for one image: the only one, or one of an index.
type platformAnswer struct {
	Platform string        `json:"platform"`
	Digest   digest.Digest `json:"digest"`
	Outcome  string        `json:"outcome"`
	Action   policy.Action `json:"action"`
	Message  string        `json:"message,omitempty"`
	Report   string        `json:"report"`
}

// check resolves a reference and decides as for a pull: it may fetch and analyse
// what was never seen. Of an index, every image must pass.
func (a *API) check(w http.ResponseWriter, r *http.Request) error {
	typed := r.URL.Query().Get("reference")
	if typed == "" {
		return refuse(http.StatusBadRequest, "the query parameter reference is missing")
	}
	q, m, d, err := a.Gate.Find(r.Context(), typed, a.RegistryHost, func(t gate.Target) error { return a.need(r.Context(), auth.Pull, t.Name()) })
	if err != nil {
		return err
	}
	if a.Gate.Config().For(q.Target.Name()).Mode == gate.ModePassive {
		d = a.observed(r.Context(), q, m)
	}
	answer := checkAnswer{
		Digest: m.Digest, MediaType: m.MediaType, Allowed: d.Outcome == gate.Served, standing: a.stand(r.Context(), q, m, d),
		Reasons: []policy.Row{}, Gaps: []inventory.Gap{}, Report: a.Gate.Report(m.Digest), Platforms: a.platforms(r.Context(), q, m, d),
	}
	if v := answer.verdict; v != nil {
		answer.Reasons, answer.Data = reasons(v), &v.Data
		answer.Gaps = append(answer.Gaps, v.Gaps...)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// observed is the decision in passive mode, which serves without looking: the
// image is looked at here, for the one who asks.
func (a *API) observed(ctx context.Context, q gate.Question, m *image.Manifest) gate.Decision {
	d := a.Gate.Observe(ctx, q, m)
	if d.Verdict != nil && d.Verdict.Action == policy.Stop {
		d.Warning = "gate.mode is passive, so this is served although policy says stop"
	}
	return d
}

// reasons are the rows that stop, then those that warn, in the policy's order.
func reasons(v *policy.Verdict) []policy.Row {
	rows := []policy.Row{}
	for _, action := range []policy.Action{policy.Stop, policy.Warn} {
		for _, row := range v.Rows {
			if row.Action == action {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// platforms tells of each image behind a reference.
func (a *API) platforms(ctx context.Context, q gate.Question, m *image.Manifest, d gate.Decision) []platformAnswer {
	all := []platformAnswer{}
	if !m.Index {
		p := platformAnswer{Digest: m.Digest, Outcome: outcome(d), Message: d.Message, Report: a.Gate.Report(m.Digest)}
		if im, err := a.Gate.Inventory(ctx, m.Digest); err == nil {
			p.Platform = im.Platform.String()
		}
		if d.Verdict != nil {
			p.Action = d.Verdict.Action
		}
		return append(all, p)
	}
	q.Tag = ""
	for _, c := range a.images(ctx, q, m, 0) {
		child := a.platforms(ctx, q, c.manifest, a.Gate.Known(ctx, q, c.manifest))[0]
		if child.Platform == "" {
			child.Platform = c.platform
		}
		all = append(all, child)
	}
	return all
}

// indexed is an image of an index, with the platform that the index claims.
type indexed struct {
	manifest *image.Manifest
	platform string
}

// maxNesting is how deep indexes in indexes are followed; the gate refuses what
// is deeper.
const maxNesting = 4

// images are the images of an index that the repository is known to have,
// without what is known to be no image (signatures, attestations).
func (a *API) images(ctx context.Context, q gate.Question, m *image.Manifest, depth int) []indexed {
	var all []indexed
	for _, d := range m.Manifests {
		child, err := a.Gate.Manifest(ctx, q.Target, d)
		if err != nil || child == nil {
			continue
		}
		if child.Index {
			if depth < maxNesting {
				all = append(all, a.images(ctx, q, child, depth+1)...)
			}
			continue
		}
		if s, ok := a.Gate.Subject(ctx, q.Target, child); ok && s.Kind == inventory.KindArtifact {
			continue
		}
		all = append(all, indexed{child, platformName(d.Platform)})
	}
	return all
}

func platformName(p *image.Platform) string {
	if p == nil {
		return ""
	}
	return inventory.Printable(inventory.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}.String())
}
