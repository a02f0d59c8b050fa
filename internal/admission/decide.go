package admission

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
)

const (
	// imagesAtOnce bounds what one object may have looked up at a time.
	imagesAtOnce = 8
	// standingTime bounds one look-up, whoever waits for it.
	standingTime = 10 * time.Second
	// lenientTime is how long an object waits for what cannot refuse it.
	lenientTime = time.Second
)

// question is one object to judge.
type question struct {
	subject
	images []slot
	dryRun bool // of the request: nothing is asked for in consequence
	soft   bool // refusing would change nothing: a mirror pod runs already
}

// decision is the answer to a question: the worst of its outcomes.
type decision struct {
	answer   string
	outcomes []outcome
	note     string // why nothing was judged, or what annotations lack
}

// outcome is how one image stands, and what follows.
type outcome struct {
	pull
	paths    []string // where the object names it
	digest   digest.Digest
	state    gate.State
	standing gate.Standing
	settings settings
	by       string  // the answer by state alone
	answer   string  // the answer after dry run and break-glass
	breach   *breach // what turned a refusal
	hint     string  // for the person: what happens now
	ending   bool    // it is let in by an exception that runs out soon
}

// ranks orders answers. A refusal outranks a failure: what is known to be bad is
// not let in because something else is not known.
var ranks = []string{Allow, Warn, Fail, Deny}

func worse(a, b string) bool { return rank(a) > rank(b) }

// rank takes what is no answer for a failure.
func rank(answer string) int {
	if i := slices.Index(ranks, answer); i >= 0 {
		return i
	}
	return slices.Index(ranks, Fail)
}

// decide judges all images of an object at the same time. It returns when ctx
// ends, whatever is not known by then.
func (w *Webhook) decide(ctx context.Context, r *rules, q *question) decision {
	if r.exempt(q.namespace) {
		return decision{answer: Allow, note: "namespace " + q.namespace + " is exempt"}
	}
	broken, lacking := r.BreakGlass.annotated(q.annotations, q.user, w.now())
	d := decision{answer: Allow, note: lacking, outcomes: r.distinct(q.images)}
	from := sources(q)
	var work errgroup.Group
	work.SetLimit(imagesAtOnce)
	for i := range d.outcomes {
		o := &d.outcomes[i]
		work.Go(func() error {
			defer w.survive(o)
			w.judge(ctx, r, q, o, from[o.paths[0]])
			w.forgive(r, q, o, broken)
			return nil
		})
	}
	_ = work.Wait() // none returns an error: they are outcomes
	slices.SortStableFunc(d.outcomes, func(a, b outcome) int { return rank(b.answer) - rank(a.answer) })
	if len(d.outcomes) > 0 {
		d.answer = d.outcomes[0].answer
	}
	return d
}

// survive makes a failure of what broke down, instead of the end of the webhook.
func (w *Webhook) survive(o *outcome) {
	if p := recover(); p != nil {
		w.log.Error("judging broke down", "image", o.full, "panic", p, "stack", string(debug.Stack()))
		o.state, o.by, o.answer = gate.StateError, Fail, Fail
		o.standing = gate.Standing{State: gate.StateError, Message: "the check broke down; the log of pratique says where"}
	}
}

// distinct gives one outcome for each image that is pulled with the same
// credentials.
func (r *rules) distinct(images []slot) []outcome {
	type key struct {
		image string
		from  pullFrom
	}
	at := map[key]int{}
	var all []outcome
	for _, s := range images {
		k := key{s.image, s.from}
		i, ok := at[k]
		if !ok {
			i = len(all)
			at[k] = i
			all = append(all, outcome{pull: r.parse(s.image)})
		}
		all[i].paths = append(all[i].paths, s.path)
	}
	return all
}

// sources tells by path where the credentials for an image come from.
func sources(q *question) map[string]PullSource {
	all := map[string]PullSource{}
	for _, s := range q.images {
		all[s.path] = s.from.in(q.namespace)
	}
	return all
}

func (f pullFrom) in(namespace string) PullSource {
	p := PullSource{Namespace: namespace, ServiceAccount: f.serviceAccount}
	if f.secrets != "" {
		p.Secrets = strings.Split(f.secrets, ",")
	}
	return p
}

// judge finds the settings for an image, how it stands, and the answer to that.
func (w *Webhook) judge(ctx context.Context, r *rules, q *question, o *outcome, from PullSource) {
	chosen, matched, err := r.choose(ctx, &q.subject, o.pull)
	o.settings = chosen
	switch {
	case err != nil:
		w.log.Warn("selector not found out", "image", o.full, "error", err)
		o.state, o.by = gate.StateError, Fail
		o.standing = gate.Standing{State: gate.StateError, Message: reasonOf(err, "which selector holds could not be found out")}
		return
	case !matched:
		o.by = r.NoSelector
		o.standing.Message = "no selector of admission.selectors matches the image"
		return
	}
	wait := ctx
	if chosen.lenient() || q.soft {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, lenientTime)
		defer cancel()
	}
	o.standing = w.stand(wait, r, q, o, from)
	o.state = chosen.state(o.standing)
	o.by = chosen.answers[o.state]
	end := o.standing.Expires
	passes := o.state == gate.StatePass || o.state == gate.StateWarn
	o.ending = passes && !end.IsZero() && end.Sub(w.now()) < r.ExceptionWarning
	w.want(ctx, r, q, o)
}

// lenient reports whether nothing is refused, whatever is found.
func (s settings) lenient() bool { return s.mode == gate.ModePassive || s.dryRun }

// state reads a standing in the light of the mode. In mode analysis it is asked
// whether the image was analysed, and nothing else.
func (s settings) state(st gate.Standing) gate.State {
	if s.mode == gate.ModeAnalysis {
		verdict := st.State == gate.StatePass || st.State == gate.StateWarn || st.State == gate.StateFail
		switch {
		case !st.Analysed && verdict:
			return gate.StateUnknown
		case st.Analysed && (st.State == gate.StateUnmapped || st.State == gate.StateError):
			return gate.StatePass
		}
	}
	return st.State
}

// stand asks how an image stands, by the digest that will run. What is not
// answered in time is an error, never a pass.
func (w *Webhook) stand(ctx context.Context, r *rules, q *question, o *outcome, from PullSource) gate.Standing {
	if o.err != nil {
		return gate.Standing{State: gate.StateUnknown, Message: clean(o.err.Error())}
	}
	d, err := w.resolutions.resolve(ctx, o.pull, from, r.Resolutions)
	switch {
	case errors.Is(err, image.ErrManifestUnknown), errors.Is(err, image.ErrNameUnknown):
		return gate.Standing{State: gate.StateUnknown, Message: "the registry has no such image"}
	case err != nil:
		w.log.Warn("image not resolved", "image", o.full, "error", err)
		return gate.Standing{State: gate.StateError, Message: reasonOf(err, "its digest could not be found out")}
	}
	o.digest = d
	inquiry := r.inquiry(w, q, o)
	key := fmt.Sprintf("%s %s %s %q %q", inquiry.Namespace, inquiry.Reference, d, inquiry.Policy, inquiry.Platforms)
	st, landed := w.flights.do(ctx, key, func(ctx context.Context) gate.Standing {
		begun := time.Now()
		st := w.standings.Standing(ctx, inquiry)
		if ctx.Err() != nil {
			st = gate.Standing{State: gate.StateError, Message: "how it stands was not answered in time"}
		}
		w.figures.call("standing", time.Since(begun), errOfState(st))
		return st
	})
	if !landed {
		return gate.Standing{State: gate.StateError, Message: "how it stands was not answered in time"}
	}
	return understood(st)
}

// understood takes an answer that is none of the known ones for no answer.
func understood(st gate.Standing) gate.Standing {
	if _, known := (&Answers{}).byState()[st.State]; !known {
		return gate.Standing{State: gate.StateError, Message: fmt.Sprintf("the gate's answer %q is not understood", st.State)}
	}
	return st
}

// reasonOf tells a person why something failed, without what is inside errors.
func reasonOf(err error, what string) string {
	var upstream *image.UpstreamError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return what + " in time"
	case errors.As(err, &upstream):
		return what + ": the registry does not answer as it should"
	}
	return what + ": the log of pratique says why"
}

func (r *rules) inquiry(w *Webhook, q *question, o *outcome) gate.Inquiry {
	return gate.Inquiry{Reference: o.ref.String(), Digest: o.digest, Policy: o.settings.policy, Cluster: r.Cluster, Namespace: q.namespace, Platforms: w.platformsBy(r)}
}

// Platforms are those that an image is judged for: of the configuration in force,
// else of the cluster's nodes; none for all that the image has.
func (w *Webhook) Platforms() []string { return w.platformsBy(w.rules.Load()) }

func (w *Webhook) platformsBy(r *rules) []string {
	if len(r.Platforms) > 0 || w.platforms == nil {
		return r.Platforms
	}
	return w.platforms()
}

// want asks for the analysis of what is not known, and tells the person.
func (w *Webhook) want(ctx context.Context, r *rules, q *question, o *outcome) {
	wanting := o.state == gate.StateUnknown || o.state == gate.StatePending
	switch {
	case !wanting || o.digest == "":
	case q.dryRun:
		o.hint = "a dry run asks for no analysis"
	case !o.settings.analyse:
		o.hint = "no analysis is asked for here (admission.request_analysis)"
	default:
		if err := w.standings.Want(ctx, r.inquiry(w, q, o)); err != nil {
			w.log.Warn("analysis not asked for", "image", o.full, "digest", o.digest, "error", err)
			w.figures.want("failed")
			o.hint = "its analysis could not be asked for"
			return
		}
		w.figures.want("asked")
		o.hint = "its analysis has been asked for: try again in a minute"
	}
}

// forgive turns a refusal into a warning where that is said.
func (w *Webhook) forgive(r *rules, q *question, o *outcome, broken *breach) {
	o.answer = o.by
	if !worse(o.by, Warn) {
		return
	}
	if o.settings.lenient() || q.soft {
		o.answer = Warn
		return
	}
	if broken == nil {
		broken = granted(w.allGrants(r), q.namespace, o.full, w.now())
	}
	if broken != nil {
		o.breach, o.answer = broken, Warn
	}
}

func (w *Webhook) allGrants(r *rules) []Grant {
	if w.grants == nil {
		return r.BreakGlass.Grants
	}
	return slices.Concat(r.BreakGlass.Grants, w.grants())
}
