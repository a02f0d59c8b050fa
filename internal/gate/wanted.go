package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// Bounds of what is analysed because admission wants it.
const (
	maxFulfilling = 8 // at the same time; layers have bounds of their own
	fulfilTimeout = 30 * time.Minute
	queuePause    = 2 * time.Second // after a queue that did not answer
)

// Standing says how an image stands, by what the catalog knows. An image that
// has been analysed and was never judged by this policy is judged now, which
// takes milliseconds.
func (g *Gate) Standing(ctx context.Context, i Inquiry) Standing {
	return g.assessor().standing(ctx, i)
}

// Place returns the repository that a reference means: that of an upstream, with
// the upstream's host in front or the proxy's own.
func (g *Gate) Place(reference string) (Target, error) {
	t, _, err := g.rules().place(reference)
	return t, err
}

func (g *Gate) assessor() *assessor {
	return &assessor{known: catalogued{g, false}, rules: g.rules(), now: g.Now}
}

func (g *Gate) rules() *rules {
	return &rules{bundle: g.bundle, beside: g.Beside(), config: g.Config(), upstreams: g.Upstreams, hosts: g.Hosts, report: g.ReportURL}
}

// bundle returns the active bundle, or a stored one.
func (g *Gate) bundle(ctx context.Context, id string) (*bundle.Bundle, error) {
	active, err := g.ActivePolicy()
	if err != nil || id == "" || id == active.ID {
		return active, err
	}
	stored, err := g.Catalog.Bundle(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", errPolicyUnknown, id)
	}
	return bundle.Parse(stored.Raw)
}

// catalogued is what a gate knows.
type catalogued struct {
	*Gate
	share bool // what is found, also with those who have Redis alone
}

func (c catalogued) fact(ctx context.Context, t Target, d digest.Digest) (*fact, error) {
	m, err := c.Manifest(ctx, t, image.Descriptor{Digest: d})
	if err != nil || m == nil {
		return nil, err
	}
	return c.factOf(ctx, t, m)
}

// factOf puts together what is known of a manifest.
func (g *Gate) factOf(ctx context.Context, t Target, m *image.Manifest) (*fact, error) {
	f := &fact{Digests: digestsOf(m), Index: m.Index}
	if m.Index {
		for _, d := range m.Manifests {
			f.Children = append(f.Children, childOf(d))
		}
		return f, nil
	}
	s, err := g.subject(ctx, t, m, never)
	if errors.Is(err, errPending) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f.Kind, f.Reason = s.Kind, s.Reason
	f.ImageID, err = g.imageID(ctx, m, s)
	return f, err
}

func (c catalogued) tags(ctx context.Context, t Target, d digest.Digest) ([]string, error) {
	return c.Catalog.TagsOf(ctx, t.Key(), d)
}

func (c catalogued) verdict(ctx context.Context, d digest.Digest, sel bundle.Selection, req bundle.Request) (*policy.Verdict, error) {
	v, err := c.Gate.verdict(ctx, d, sel, req)
	if err == nil && c.share {
		c.Verdicts.Share(ctx, v)
	}
	return v, err
}

// Want begins to analyse and judge an image, unless that is under way.
func (g *Gate) Want(_ context.Context, i Inquiry) error {
	k := wish(i)
	if !g.wishes.begin(k) {
		return nil
	}
	started := g.crew.start(func(ctx context.Context) {
		defer g.wishes.end(k)
		g.fulfil(ctx, i)
	})
	if !started {
		g.wishes.end(k)
	}
	return nil
}

// wishes are the inquiries being fulfilled, each once, and at most
// maxFulfilling: who asked for one more asks again.
type wishes struct {
	mu    sync.Mutex
	under map[string]struct{}
	freed chan struct{} // one that has ended
}

func newWishes() *wishes {
	return &wishes{under: map[string]struct{}{}, freed: make(chan struct{}, 1)}
}

func (w *wishes) begin(k string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.under[k]; ok || len(w.under) >= maxFulfilling {
		return false
	}
	w.under[k] = struct{}{}
	return true
}

func (w *wishes) end(k string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.under, k)
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// room waits until one more can be fulfilled, or ctx ends.
func (w *wishes) room(ctx context.Context) {
	for {
		w.mu.Lock()
		full := len(w.under) >= maxFulfilling
		w.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-w.freed:
		case <-ctx.Done():
			return
		}
	}
}

// fulfilLoop takes what other processes want out of the queue in Redis, until
// ctx ends.
func (g *Gate) fulfilLoop(ctx context.Context) {
	for ctx.Err() == nil {
		g.wishes.room(ctx)
		var i Inquiry
		switch found, err := g.Verdicts.Shared.Wanted(ctx, &i); {
		case err != nil:
			select { // Redis is away; whoever wants something asks again
			case <-ctx.Done():
			case <-time.After(queuePause):
			}
		case found:
			_ = g.Want(ctx, i)
		}
	}
}

// fulfil analyses what an inquiry is about, judges it, and lets the processes
// that have Redis alone know.
func (g *Gate) fulfil(ctx context.Context, i Inquiry) {
	ctx, cancel := context.WithTimeout(ctx, fulfilTimeout)
	defer cancel()
	t, ref, err := g.rules().place(i.Reference)
	if err == nil {
		err = g.look(ctx, t, ref, i)
	}
	if err != nil && ctx.Err() == nil {
		g.Log.Warn("wanted image not judged", "reference", clean(i.Reference), "digest", i.Digest, "error", err)
	}
}

// look fetches the manifest, and what is in it, and analyses the images.
func (g *Gate) look(ctx context.Context, t Target, ref image.Reference, i Inquiry) error {
	q := Question{Target: t, Principal: g.Nobody}
	if ref.Digest == "" { // so that the tag is on record
		q.Tag = ref.Tag
		before, err := g.Bound(ctx, q)
		if err != nil {
			return err
		}
		m, err := g.Fetch(ctx, q, ref.Tag)
		if err == nil {
			err = g.Bind(ctx, q, m, before)
		}
		if err != nil {
			return err
		}
	}
	q.Tag = ""
	if err := g.lookInto(ctx, q, i.Digest, i.Platforms, 0); err != nil {
		return err
	}
	a := g.assessor()
	a.known = catalogued{g, true}
	s := a.standing(ctx, i) // judges what has not been judged by this policy
	g.Log.Info("wanted image judged", "reference", clean(i.Reference), "digest", i.Digest, "state", s.State)
	return nil
}

func (g *Gate) lookInto(ctx context.Context, q Question, d digest.Digest, platforms []string, depth int) error {
	m, err := g.Manifest(ctx, q.Target, image.Descriptor{Digest: d})
	if err == nil && m == nil {
		m, err = g.Fetch(ctx, q, d.String())
	}
	if err != nil {
		return err
	}
	if !m.Index {
		_, err := g.subjectInTime(ctx, q.Target, m)
		g.inform(ctx, q.Target, m)
		return err
	}
	g.inform(ctx, q.Target, m)
	f, err := g.factOf(ctx, q.Target, m)
	if err != nil || depth >= maxNesting || len(f.Children) > maxChildren {
		return err
	}
	for _, c := range running(f.Children, platforms) {
		err := g.lookInto(ctx, q, c.Digest, platforms, depth+1)
		if err != nil && !errors.Is(err, image.ErrManifestUnknown) { // a sparse index
			return err
		}
	}
	return nil
}

// subjectInTime waits for an analysis as long as ctx lets it.
func (g *Gate) subjectInTime(ctx context.Context, t Target, m *image.Manifest) (inventory.Subject, error) {
	for {
		s, err := g.subject(ctx, t, m, forWait)
		if !errors.Is(err, errPending) || ctx.Err() != nil {
			return s, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
