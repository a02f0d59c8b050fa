package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/verdicts"
)

// Outcome is what the gate answers. The zero value is a refusal.
type Outcome int

const (
	Refused Outcome = iota
	Served
	Pending // not known yet: come back
)

// Decision is an answer of the gate. It explains itself: Message is complete
// for a person who sees nothing else.
type Decision struct {
	Outcome Outcome
	Message string          // why it is refused or pending
	Warning string          // of what is served: what would have been refused, and why
	Verdict *policy.Verdict // the verdict behind it, if there is one
	// Pass is the break-glass grant by which it is served, if by one.
	Pass   *catalog.Pass
	dryRun bool // served, because the mapping is in dry run
	// artifact: it is about what has no runnable layer.
	artifact bool
}

// Question is what the gate is asked about a manifest.
type Question struct {
	Target Target
	Tag    string // "" when the manifest was asked for by digest
	// Above is a tag that is about to stand for an index above the manifest.
	Above     string
	Principal string
}

// Pull decides whether a manifest may be served. Its membership in the
// repository must have been recorded. It waits at most gate.wait for a first
// analysis.
func (g *Gate) Pull(ctx context.Context, q Question, m *image.Manifest) Decision {
	d := g.breakGlass(ctx, q, g.decide(ctx, q, m, forWait))
	if d.dryRun {
		g.event(ctx, EventDryRun, map[string]any{"manifest": m.Digest, "repository": q.Target.Name(), "tag": q.Tag, "message": d.Warning})
	}
	return d
}

// Known decides like Pull, but from what is known already: what has not been
// analysed is pending.
func (g *Gate) Known(ctx context.Context, q Question, m *image.Manifest) Decision {
	return g.decide(ctx, q, m, never)
}

func (g *Gate) decide(ctx context.Context, q Question, m *image.Manifest, p patience) Decision {
	settings := g.Config().For(q.Target.Name())
	if settings.Mode == ModePassive {
		g.analyseLater(ctx, q.Target, m)
		return Decision{Outcome: Served}
	}
	if m.Index {
		return g.begun(settings, g.tour(q, settings).index(ctx, m, 0))
	}
	return g.image(ctx, q, settings, m, p)
}

// image decides about one image manifest. Before the date from which refusals
// begin, one is a warning.
func (g *Gate) image(ctx context.Context, q Question, settings Settings, m *image.Manifest, p patience) Decision {
	return g.begun(settings, g.judged(ctx, q, settings, m, p))
}

func (g *Gate) begun(settings Settings, d Decision) Decision {
	if begin, err := settings.from(); err == nil && d.Outcome == Refused && g.Now().Before(begin) {
		d.Outcome, d.Warning = Served, fmt.Sprintf("from %s on this will be refused: %s", settings.From, d.Message)
	}
	return d
}

func (g *Gate) judged(ctx context.Context, q Question, settings Settings, m *image.Manifest, p patience) Decision {
	s, err := g.subject(ctx, q.Target, m, p)
	if err != nil {
		return g.unable(settings, q, m, err)
	}
	switch s.Kind {
	case inventory.KindArtifact:
		d := answer(settings.Artifacts, "artifacts (what has no runnable layer) are not served here: gate.artifacts is deny")
		d.Warning, d.artifact = "", true
		return d
	case inventory.KindUnscannable:
		return answer(settings.Unscannable, unreadable(settings, s.Reason))
	}
	req, err := g.request(ctx, q, m, s)
	if err != nil {
		return g.unable(settings, q, m, err)
	}
	selections, err := g.selections(ctx, q, m, req)
	if err != nil {
		return g.unable(settings, q, m, err)
	}
	var refusal *Decision
	for _, sel := range selections {
		d := g.bySelection(ctx, q, settings, m, sel, req)
		if d.Outcome == Served {
			return d // one allowing tag suffices
		}
		if refusal == nil || d.Outcome == Pending {
			refusal = &d
		}
	}
	return *refusal
}

// selections are the rules that apply: those of the tag that was asked for, or
// of every tag that the repository binds to the digest or to an index above it.
func (g *Gate) selections(ctx context.Context, q Question, m *image.Manifest, req bundle.Request) ([]bundle.Selection, error) {
	active := g.active.Load()
	if active == nil {
		return nil, errors.New("no policy bundle is active")
	}
	if q.Tag != "" {
		return []bundle.Selection{active.Select(req, g.Beside())}, nil
	}
	tags, err := g.Catalog.TagsOf(ctx, q.Target.Key(), m.Digest)
	if err != nil {
		return nil, err
	}
	if q.Above != "" && !slices.Contains(tags, q.Above) {
		tags = append(tags, q.Above)
	}
	return active.SelectAny(req, tags, g.Beside()), nil
}

func (g *Gate) bySelection(ctx context.Context, q Question, settings Settings, m *image.Manifest, sel bundle.Selection, req bundle.Request) Decision {
	if unmapped(settings, sel) && settings.Mode == ModePolicy {
		return Decision{Message: fmt.Sprintf("no mapping of policy %q matches %s; gate.unmapped is deny", sel.BundleName, describe(q, m))}
	}
	v, err := g.verdict(ctx, m.Digest, sel, req)
	if err != nil {
		return g.unable(settings, q, m, err)
	}
	return g.weigh(settings, sel, v)
}

// weigh turns a verdict into an answer by the mode and the settings at the time
// of reading: neither is part of the verdict.
func (g *Gate) weigh(settings Settings, sel bundle.Selection, v *policy.Verdict) Decision {
	d := Decision{Verdict: v}
	word, message := weigh(settings, sel, v, g.Report(v.Manifest))
	switch {
	case word == passes:
		d.Outcome = Served
	case word != stops:
		d.Message = message
	case settings.Mode == ModeAnalysis:
		d.Outcome, d.Warning = Served, "gate.mode is analysis, so this is served: "+message
	case sel.DryRun:
		d.Outcome, d.Warning = Served, "dry run, would be "+message
		d.dryRun = true
	default:
		d.Message = message
	}
	return d
}

// word is what a verdict comes to, before mode and dry run are looked at.
type word int

const (
	unread  word = iota // policy gave none
	blinded             // what was not understood counts for more
	passes
	stops
)

// weigh reads a verdict by the settings, and says why it does not pass.
func weigh(settings Settings, sel bundle.Selection, v *policy.Verdict, report string) (word, string) {
	blind := (&inventory.Image{Gaps: v.Gaps}).Blind()
	switch {
	case len(blind) > 0 && settings.OnGap != Allow && v.Reason != policy.ReasonWhitelisted:
		return blinded, gapMessage(report, blind)
	case v.Action == policy.Go || v.Action == policy.Warn:
		return passes, ""
	case v.Action == policy.Stop:
		return stops, stopMessage(report, sel, v)
	}
	return unread, fmt.Sprintf("policy %q gave no verdict", sel.BundleName)
}

// unmapped reports whether no rule of the bundle speaks of the image, and that
// is not to be let pass.
func unmapped(settings Settings, sel bundle.Selection) bool {
	return !sel.Mapped && sel.Listed == "" && settings.Unmapped != Allow
}

// unreadable says why what may be runnable cannot be judged.
func unreadable(settings Settings, reason string) string {
	return fmt.Sprintf("the image cannot be read: %s; gate.unscannable is %s", clean(reason), settings.Unscannable)
}

// unable answers when analysis or data are not to be had.
func (g *Gate) unable(settings Settings, q Question, m *image.Manifest, err error) Decision {
	if errors.Is(err, errPending) {
		return Decision{Outcome: Pending, Message: fmt.Sprintf("%s is being analysed for the first time: try again in a moment", describe(q, m))}
	}
	syncing := errors.Is(err, ErrNoData) && g.Syncing() != ""
	g.Log.Warn("image not judged", "manifest", m.Digest, "repository", q.Target.Name(), "error", err)
	d := answer(settings.OnError, fmt.Sprintf("%s cannot be judged: %s; gate.on_error is %s", describe(q, m), explain(err), settings.OnError))
	if syncing && d.Outcome == Refused {
		d.Outcome = Pending
	}
	return d
}

// explain gives an error's words to a client: those that are written for it,
// and no others.
func explain(err error) string {
	var upstream *image.UpstreamError
	switch {
	case errors.Is(err, ErrNoData), errors.Is(err, errPolicyUnknown), errors.Is(err, errNothingPublished), errors.Is(err, verdicts.ErrUnreachable):
		return clean(err.Error())
	case errors.Is(err, image.ErrBlobUnknown):
		return "the registry does not have a layer or the config that the manifest names"
	case errors.Is(err, image.ErrDigestInvalid):
		return "a blob in the registry is not what its digest says"
	case errors.As(err, &upstream):
		return "the upstream registry does not answer as it should; the log of pratique says more"
	}
	return "the analysis failed; the log of pratique says why"
}

// answer serves or refuses by a setting that is allow or deny.
func answer(setting, message string) Decision {
	if setting == Allow {
		return Decision{Outcome: Served, Warning: message}
	}
	return Decision{Message: message}
}

func describe(q Question, m *image.Manifest) string {
	if q.Tag != "" {
		return q.Target.Name() + ":" + q.Tag
	}
	return q.Target.Name() + "@" + shortDigest(m.Digest)
}

func shortDigest(d digest.Digest) string {
	s := d.String()
	return s[:min(len(s), 19)]
}
