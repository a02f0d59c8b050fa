package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// assessor makes standings, whatever it is that knows the facts.
type assessor struct {
	known knowledge
	rules *rules
	now   func() time.Time
}

// knowledge has the facts about images: the catalog of a Gate, or Redis.
type knowledge interface {
	// fact returns what is known of a manifest of the repository, or nil.
	fact(ctx context.Context, t Target, d digest.Digest) (*fact, error)
	// tags are those that the repository binds to the digest, or to an index
	// above it.
	tags(ctx context.Context, t Target, d digest.Digest) ([]string, error)
	// verdict is the one in force, resting on data that are recent enough;
	// errPending when there is none.
	verdict(ctx context.Context, d digest.Digest, sel bundle.Selection, req bundle.Request) (*policy.Verdict, error)
}

// rules are what a standing is decided by.
type rules struct {
	bundle    func(ctx context.Context, id string) (*bundle.Bundle, error) // "" for the active one
	beside    *bundle.Exceptions
	config    Config
	upstreams Upstreams
	hosts     []string // of the proxy itself, as clusters write them
	report    string   // address of the pages
}

// fact is what a standing needs to know of a manifest.
type fact struct {
	Kind     inventory.Kind `json:"kind,omitempty"` // none: an index, or not analysed
	Reason   string         `json:"reason,omitempty"`
	Digests  []string       `json:"digests"`            // sha256 and sha512
	ImageID  string         `json:"image_id,omitempty"` // where policy may trust it
	Index    bool           `json:"index,omitempty"`
	Children []childFact    `json:"children,omitempty"`
}

// childFact is one entry of an index, as the index claims it.
type childFact struct {
	Digest digest.Digest `json:"digest"`
	// Platform is "" where the index leaves a part of it open: nodes then look into
	// its configuration, or take what they are for what is missing.
	Platform string `json:"platform,omitempty"`
	// Picky ones demand more of a machine than a platform, so it may not suit.
	Picky bool `json:"picky,omitempty"`
}

// errUnmapped: no upstream, or no mapping of the policy, is for the image.
var errUnmapped = errors.New("unmapped")

// place finds the repository that a reference means, whoever's host stands in
// front of it.
func (r *rules) place(reference string) (Target, image.Reference, error) {
	ref, err := image.ParseReference(reference)
	if err != nil {
		return Target{}, ref, err
	}
	if slices.Contains(r.hosts, ref.Registry) {
		t, err := r.upstreams.Lookup(ref.Repository, "")
		return t, ref, err
	}
	if t, err := r.upstreams.Lookup(ref.Registry+"/"+ref.Repository, ""); err == nil {
		return t, ref, nil
	}
	t, err := r.upstreams.within(ref.Repository, ref.Registry)
	return t, ref, err
}

// question is what is asked about one manifest.
type question struct {
	target Target
	policy *bundle.Bundle
	from   Inquiry
	tags   []string // under which it is judged; none: by rules for any tag
}

// standing answers an inquiry.
func (a *assessor) standing(ctx context.Context, i Inquiry) Standing {
	q, err := a.question(ctx, i)
	if err != nil {
		return cannotSay(i.Digest, err)
	}
	s := a.manifest(ctx, q, i.Digest, i.Platforms, 0)
	s.Policy = q.policy.ID
	return s
}

func (a *assessor) question(ctx context.Context, i Inquiry) (question, error) {
	t, ref, err := a.rules.place(i.Reference)
	if err != nil {
		return question{}, fmt.Errorf("%w: %w", errUnmapped, err)
	}
	b, err := a.rules.bundle(ctx, i.Policy)
	if err != nil {
		return question{}, err
	}
	q := question{target: t, policy: b, from: i}
	if ref.Digest == "" { // what the tag stands for has just been asked
		q.tags = []string{ref.Tag}
		return q, nil
	}
	if q.tags, err = a.known.tags(ctx, t, i.Digest); err != nil {
		return q, err
	}
	if slices.Contains(q.tags, ref.Tag) {
		q.tags = []string{ref.Tag}
	}
	return q, nil // a tag that is only typed beside a digest chooses no rules
}

func (a *assessor) manifest(ctx context.Context, q question, d digest.Digest, platforms []string, depth int) Standing {
	f, err := a.known.fact(ctx, q.target, d)
	switch {
	case err != nil:
		return cannotSay(d, err)
	case f == nil:
		return Standing{State: StateUnknown, Digest: d, Message: fmt.Sprintf("%s@%s has not been analysed", q.target.Name(), d)}
	case f.Index:
		return a.index(ctx, q, d, f, platforms, depth)
	}
	return a.image(ctx, q, d, f)
}

// index stands as the worst of the platforms that count.
func (a *assessor) index(ctx context.Context, q question, d digest.Digest, f *fact, platforms []string, depth int) Standing {
	if depth >= maxNesting || len(f.Children) > maxChildren {
		return Standing{State: StateFail, Digest: d, Message: "the index is too large, or indexes lie too deep in each other"}
	}
	var worst *Standing
	for _, c := range running(f.Children, platforms) {
		if ctx.Err() != nil {
			break
		}
		s := a.manifest(ctx, q, c.Digest, platforms, depth+1)
		if c.Platform != "" {
			s.Message = c.Platform + ": " + s.Message
		}
		if worst == nil || severity(s.State) > severity(worst.State) {
			worst = &s
		}
	}
	switch {
	case ctx.Err() != nil:
		return cannotSay(d, ctx.Err())
	case worst == nil:
		return Standing{State: StateUnknown, Digest: d, Message: fmt.Sprintf("the index has no image for %v", platforms)}
	}
	return *worst
}

// severity orders states: the worse, the higher.
func severity(s State) int {
	return slices.Index([]State{StatePass, StateWarn, StateUnmapped, StateUnknown, StatePending, StateError, StateFail}, s)
}

func (a *assessor) image(ctx context.Context, q question, d digest.Digest, f *fact) Standing {
	settings := a.rules.config.For(q.target.Name())
	switch f.Kind {
	case inventory.KindArtifact:
		return a.bySetting(settings.Artifacts, d, "artifacts (what has no runnable layer) are not admitted: gate.artifacts is deny")
	case inventory.KindUnscannable:
		return a.bySetting(settings.Unscannable, d, unreadable(settings, f.Reason))
	case inventory.KindImage:
	default:
		return cannotSay(d, errPending)
	}
	req := q.target.request(f.Digests, f.ImageID)
	req.Cluster, req.Namespace = q.from.Cluster, q.from.Namespace
	var best *Standing
	for _, sel := range q.policy.SelectAny(req, q.tags, a.rules.beside) { // one allowing tag suffices
		s := a.bySelection(ctx, settings, d, sel, req)
		s.Analysed = true
		if best == nil || severity(s.State) < severity(best.State) {
			best = &s
		}
	}
	return *best
}

func (a *assessor) bySelection(ctx context.Context, settings Settings, d digest.Digest, sel bundle.Selection, req bundle.Request) Standing {
	if unmapped(settings, sel) {
		return Standing{State: StateUnmapped, Digest: d, Message: fmt.Sprintf("no mapping of policy %q matches it", sel.BundleName)}
	}
	v, err := a.known.verdict(ctx, d, sel, req)
	if err != nil {
		return cannotSay(d, err)
	}
	s := Standing{Digest: d, Report: reportPage(a.rules.report, d), Evaluated: v.EvaluatedAt, Data: v.Data.Sequence, Expires: runsOut(v)}
	s.State, s.Message = stateOf(settings, sel, v, s.Report)
	if begin, err := settings.from(); err == nil && s.State == StateFail && a.now().Before(begin) {
		s.State, s.Message = StateWarn, fmt.Sprintf("from %s on this will be refused: %s", settings.From, s.Message)
	}
	return s
}

// runsOut is when the first of the exceptions runs out that a verdict rests on.
func runsOut(v *policy.Verdict) (first time.Time) {
	for _, r := range v.Rows {
		if r.Whitelist == nil || r.Whitelist.Expires.IsZero() {
			continue
		}
		if at := r.Whitelist.Expires; first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// stateOf puts a verdict into a word. The mode is not the gate's but that of who
// asks.
func stateOf(settings Settings, sel bundle.Selection, v *policy.Verdict, report string) (State, string) {
	word, message := weigh(settings, sel, v, report)
	switch {
	case word == passes && v.Action == policy.Warn:
		return StateWarn, fmt.Sprintf("passed policy %q with warnings: %s", sel.BundleName, warnReasons(v))
	case word == passes:
		return StatePass, fmt.Sprintf("passed policy %q", sel.BundleName)
	case word == unread:
		return StateError, message
	case word == stops && sel.DryRun:
		return StateWarn, "dry run, would be " + message
	}
	return StateFail, message
}

func (a *assessor) bySetting(setting string, d digest.Digest, message string) Standing {
	if setting == Allow {
		return Standing{State: StatePass, Digest: d, Message: "has no runnable layer, or may be run unread", Analysed: true}
	}
	return Standing{State: StateFail, Digest: d, Message: message, Analysed: true}
}

// cannotSay is the standing when something cannot be said.
func cannotSay(d digest.Digest, err error) Standing {
	switch {
	case errors.Is(err, errPending):
		return Standing{State: StatePending, Digest: d, Message: "is being analysed for the first time: try again in a moment"}
	case errors.Is(err, errUnmapped):
		why := strings.TrimPrefix(err.Error(), errUnmapped.Error()+": ")
		return Standing{State: StateUnmapped, Digest: d, Message: clean(strings.TrimPrefix(why, image.ErrNameUnknown.Error()+": "))}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Standing{State: StateError, Digest: d, Message: "the answer did not come in time"}
	}
	return Standing{State: StateError, Digest: d, Message: "cannot be judged: " + explain(err)}
}
