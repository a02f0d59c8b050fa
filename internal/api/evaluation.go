package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gate"
)

// evaluate answers Anchore's policy check: records by digest and full tag, in
// the nesting that its clients take apart. With a tag there is one record,
// without one for every tag of the image. Nothing is kept of it.
//
// An admission controller lets in what passes here, so what the gate refuses
// for another reason than policy (a gap, data too old) fails here too.
func (a *API) evaluate(w http.ResponseWriter, r *http.Request) error {
	d, err := parseDigest(mux.Vars(r)["digest"])
	if err != nil {
		return err
	}
	holders, err := a.holders(r.Context(), d)
	if err != nil {
		return err
	}
	asked, err := a.asked(holders, d, r.URL.Query().Get("tag"))
	if err != nil {
		return err
	}
	b, own, err := a.bundle(r.Context(), r.URL.Query().Get("policyId"))
	if err != nil {
		return err
	}
	byTag := map[string][]map[string]any{}
	for _, k := range asked {
		e, err := a.evaluation(r.Context(), k, b, own)
		if err != nil {
			return err
		}
		byTag[k.fullTag] = []map[string]any{e.record(flag(r, "detail", true))}
	}
	writeJSON(w, http.StatusOK, []map[string]any{{d.String(): byTag}})
	return nil
}

// asked is one question of a policy check.
type asked struct {
	gate.Question
	manifest *image.Manifest
	fullTag  string // as the client wrote it, or as policies know it
}

func (a *API) asked(holders []holder, d digest.Digest, tag string) ([]asked, error) {
	var all []asked
	if tag != "" {
		ref, err := image.ParseReference(tag)
		if err != nil {
			return nil, err
		}
		for _, h := range holders {
			if a.known(h, tag, ref) {
				q := gate.Question{Target: h.target, Tag: ref.Tag}
				if !slices.Contains(h.tags, ref.Tag) {
					q.Tag = "" // a tag that is only typed chooses no rules
				}
				return []asked{{q, h.manifest, tag}}, nil
			}
		}
		return nil, refuse(http.StatusNotFound, "could not find any evaluations for input images: no repository of this name has the image")
	}
	for _, h := range holders {
		name := h.target.Name()
		if len(h.target.Upstream.Hostnames) > 0 {
			name = h.target.Upstream.Hostnames[0] + "/" + h.target.Repository
		}
		for _, t := range h.tags {
			all = append(all, asked{gate.Question{Target: h.target, Tag: t}, h.manifest, name + ":" + t})
		}
		if len(h.tags) == 0 {
			all = append(all, asked{gate.Question{Target: h.target}, h.manifest, name + "@" + d.String()})
		}
	}
	return all, nil
}

// bundle returns the bundle to judge by: the active one, which is also the
// gate's own, or a stored one.
func (a *API) bundle(ctx context.Context, id string) (b *bundle.Bundle, own bool, err error) {
	active, err := a.Gate.ActivePolicy()
	if err == nil && (id == "" || id == active.ID) {
		return active, true, nil
	}
	if id == "" {
		return nil, false, refuse(http.StatusServiceUnavailable, "no policy is active")
	}
	stored, err := a.Catalog.Bundle(ctx, id)
	if err != nil {
		return nil, false, err
	}
	b, err = bundle.Parse(stored.Raw)
	return b, false, err
}

// evaluation is one evaluation, before it is put into Anchore's words.
type evaluation struct {
	fullTag   string
	bundle    *bundle.Bundle
	selection bundle.Selection
	verdict   policy.Verdict // without rows when nothing could be evaluated
	action    policy.Action  // what clients are to act on
	problems  []policy.Problem
	imageID   string
	at        string
}

func (a *API) evaluation(ctx context.Context, k asked, b *bundle.Bundle, own bool) (*evaluation, error) {
	m := a.worst(ctx, k)
	if m == nil {
		return nil, notAnalyzed()
	}
	e := &evaluation{fullTag: k.fullTag, bundle: b, imageID: m.Config.Digest.Encoded(), at: a.now().UTC().Format("2006-01-02T15:04:05Z")}
	d := a.Gate.Known(ctx, k.Question, m)
	_, analysed := a.Gate.Subject(ctx, k.Target, m)
	if d.Outcome == gate.Pending || (!analysed && d.Outcome == gate.Served) {
		return nil, notAnalyzed()
	}
	e.verdict.Reason, e.action = policy.ReasonEvaluation, policy.Go
	sel, isImage := a.selection(ctx, k.Question, m, b)
	if isImage {
		e.selection = sel
		if v := a.judge(ctx, m.Digest, sel); v != nil {
			e.verdict, e.action = *v, v.Action
			e.problems = append(e.problems, v.Problems...)
		} else if !own {
			e.stop("there is nothing to judge by: no vulnerability data")
		}
	}
	switch {
	case d.Outcome == gate.Refused && (own || !isImage):
		e.stop(d.Message)
	case !own && isImage:
		e.hold(a.Gate.Config().For(k.Target.Name()))
	}
	return e, nil
}

// hold applies what the gate holds against any image to one that was judged by
// another bundle than the gate's.
func (e *evaluation) hold(settings gate.Settings) {
	blind := (&inventory.Image{Gaps: e.verdict.Gaps}).Blind()
	if len(blind) > 0 && settings.OnGap != gate.Allow && e.verdict.Reason != policy.ReasonWhitelisted {
		e.stop("the image is not understood: " + blind[0].Detail)
	}
	if !e.selection.Mapped && e.selection.Listed == "" && settings.Unmapped != gate.Allow {
		e.stop(fmt.Sprintf("no mapping of policy %q matches", e.bundle.Name))
	}
}

// stop makes the result fail for a reason that is not among the policy's rows.
func (e *evaluation) stop(why string) {
	if e.action == policy.Stop {
		return
	}
	e.action = policy.Stop
	e.problems = append(e.problems, policy.Problem{Severity: "error", ProblemType: "GateRefusal", Details: why})
}

func notAnalyzed() error {
	return refuse(http.StatusNotFound, "image is not analyzed - analysis_status: not_analyzed")
}

// worst is the image that an answer about a manifest speaks of: itself, or of an
// index the first image that does not pass, else the first. Nil when none has
// been analysed.
func (a *API) worst(ctx context.Context, k asked) *image.Manifest {
	if !k.manifest.Index {
		return k.manifest
	}
	var first *image.Manifest
	for _, c := range a.images(ctx, k.Question, k.manifest, 0) {
		if _, ok := a.Gate.Request(ctx, k.Question, c.manifest); !ok {
			continue
		}
		if a.Gate.Known(ctx, k.Question, c.manifest).Outcome == gate.Refused {
			return c.manifest
		}
		if first == nil {
			first = c.manifest
		}
	}
	return first
}

// record writes the evaluation in Anchore's shape.
func (e *evaluation) record(detail bool) map[string]any {
	status := "pass"
	if e.action != policy.Go && e.action != policy.Warn {
		status = "fail"
	}
	rec := map[string]any{"policyId": e.bundle.ID, "status": status, "last_evaluation": e.at, "detail": map[string]any{}}
	if !detail {
		return rec
	}
	problems := e.problems
	if problems == nil {
		problems = []policy.Problem{}
	}
	var mapping any = false
	if e.selection.Mapped {
		mapping = e.selection.Mapping.JSON
	}
	rec["detail"] = map[string]any{"policy": json.RawMessage(e.bundle.Raw), "result": map[string]any{
		"user_id": account, "image_id": e.imageID, "tag": e.fullTag, "bundle": json.RawMessage(e.bundle.Raw),
		"matched_mapping_rule":            mapping,
		"matched_whitelisted_images_rule": ruleOrFalse(e.selection.Whitelisted),
		"matched_blacklisted_images_rule": ruleOrFalse(e.selection.Blacklisted),
		"final_action":                    e.action, "final_action_reason": e.verdict.Reason,
		"created_at": e.at, "last_modified": e.at, "evaluation_problems": problems,
		"result": bundle.Table(e.verdict, e.imageID, e.fullTag),
	}}
	return rec
}

func ruleOrFalse(r *bundle.Rule) any {
	if r == nil {
		return false
	}
	return r.JSON
}
